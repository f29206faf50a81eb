// SPDX-License-Identifier: Apache-2.0
// What README.md and docs/ say is held to the tree: links lead somewhere, every kind of fault has
// its page and its row, and every example is one that the reader accepts.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "controller/experiment/reader.h"
#include "firedrill/v1/fault.pb.h"
#include "proto/support/fault_rules.h"

namespace firedrill::controller {
namespace {

namespace fs = std::filesystem;

fs::path Source() {
  const char* directory = std::getenv("FIREDRILL_SOURCE_DIR");
  return directory == nullptr ? fs::current_path() : fs::path(directory);
}

std::string Slurp(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<fs::path> Pages() {
  std::vector<fs::path> pages = {Source() / "README.md"};
  for (const auto& entry : fs::recursive_directory_iterator(Source() / "docs")) {
    if (entry.path().extension() == ".md") pages.push_back(entry.path());
  }
  return pages;
}

// The texts between ```yaml and ```.
std::vector<std::string> Examples(const std::string& page) {
  std::vector<std::string> examples;
  const std::string open = "```yaml\n";
  for (std::size_t at = page.find(open); at != std::string::npos; at = page.find(open, at)) {
    at += open.size();
    const std::size_t end = page.find("```", at);
    examples.push_back(page.substr(at, end - at));
  }
  return examples;
}

// By the options of the kind that the example names, or because its parameters say so.
bool LivesUntilAnEnd(const std::string& example) {
  const auto* kinds = v1::Fault::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < kinds->field_count(); ++i) {
    const auto* kind = kinds->field(i);
    const std::string name = kind->name() + ":";
    const std::size_t at = example.find(name);
    // The first word below fault, not a field of another kind.
    if (at == std::string::npos || example.find_first_not_of(" \n{", 6) != at) continue;
    return FaultRulesOf(static_cast<v1::Fault::KindCase>(kind->number())).needs_duration() ||
           example.find("repeat_every:") != std::string::npos ||
           example.find("until_down:") != std::string::npos;
  }
  return true;
}

// A fault alone, or a schedule alone, put into an experiment around it.
std::string Whole(const std::string& example) {
  if (example.find("name: ") == 0) return example;
  std::string text =
      "name: example\nhypothesis: h\nenvironment: staging\ntargets: {t: {labels: {role: x}}}\n";
  std::string step = "method:\n  - name: s\n    target: t\n";
  if (example.find("fault:") == 0) {
    std::string indented;
    for (std::size_t at = 0; at < example.size();) {
      const std::size_t end = example.find('\n', at);
      indented += "    " + example.substr(at, end - at) + "\n";
      at = end + 1;
    }
    const bool event = !LivesUntilAnEnd(example);
    text.replace(text.find("{t: "), 4, "{databases: {labels: {role: database}}, t: ");
    return text + step + (event ? "" : "    duration: 30s\n") + indented;
  }
  return text + example + step + "    duration: 30s\n    fault: {cpu: {percent: 50}}\n";
}

TEST(DocsTest, LinksLeadSomewhere) {
  const std::regex link(R"(\]\(([^)#\s]+)(#[^)]*)?\))");
  for (const fs::path& page : Pages()) {
    const std::string text = Slurp(page);
    for (std::sregex_iterator it(text.begin(), text.end(), link), end; it != end; ++it) {
      const std::string target = (*it)[1];
      if (target.find("://") != std::string::npos) continue;
      EXPECT_TRUE(fs::exists(page.parent_path() / target)) << page << " links to " << target;
    }
  }
}

// `PastTest.AlertOfOneSample` in a page is a test of ours, and `drill/halt` a scenario.
TEST(DocsTest, TestsThatPagesNameExist) {
  std::set<std::string> tests;
  const std::regex test(R"(\bTEST(_F|_P)?\(\s*(\w+),\s*(\w+)\s*\))");
  for (const auto& entry : fs::recursive_directory_iterator(Source() / "tests")) {
    if (entry.path().extension() != ".cc") continue;
    const std::string text = Slurp(entry.path());
    // A regular expression over all of it would take seconds.
    for (std::size_t at = text.find("\nTEST"); at != std::string::npos;
         at = text.find("\nTEST", at + 1)) {
      const std::string head = text.substr(at + 1, 300);
      std::smatch match;
      if (std::regex_search(head, match, test)) tests.insert(match.str(2) + "." + match.str(3));
    }
  }
  ASSERT_GT(tests.size(), 100u);
  const std::string scenarios = Slurp(Source() / "tests/system/CMakeLists.txt");
  const std::regex named(R"(`(([A-Z]\w*Test\.[A-Z]\w*)|drill/(\w+))`)");
  int found = 0;
  for (const fs::path& page : Pages()) {
    const std::string text = Slurp(page);
    for (std::sregex_iterator it(text.begin(), text.end(), named), end; it != end; ++it, ++found) {
      if ((*it)[2].matched) {
        EXPECT_EQ(tests.count((*it)[2]), 1u) << page << " names " << (*it)[2];
      } else {
        EXPECT_NE(scenarios.find((*it)[3]), std::string::npos) << page << " names " << (*it)[1];
      }
    }
  }
  EXPECT_GT(found, 0);
}

TEST(DocsTest, EveryFaultHasAPageAndARow) {
  const std::string readme = Slurp(Source() / "README.md");
  const std::string index = Slurp(Source() / "docs/faults/README.md");
  const auto* kinds = v1::Fault::descriptor()->FindOneofByName("kind");
  ASSERT_GT(kinds->field_count(), 0);
  for (int i = 0; i < kinds->field_count(); ++i) {
    const std::string& name = kinds->field(i)->name();
    const fs::path page = Source() / "docs/faults" / (name + ".md");
    EXPECT_TRUE(fs::exists(page)) << page;
    EXPECT_FALSE(Examples(Slurp(page)).empty()) << page << " has no example";
    EXPECT_NE(readme.find("[`" + name + "`](docs/faults/" + name + ".md)"), std::string::npos)
        << "README.md has no link to " << name;
    EXPECT_NE(index.find("| [`" + name + "`](" + name + ".md) |"), std::string::npos)
        << "docs/faults/README.md has no row for " << name;
    const auto* parameters = kinds->field(i)->message_type();
    for (int j = 0; j < parameters->field_count(); ++j) {
      EXPECT_NE(Slurp(page).find("`" + parameters->field(j)->name() + "`"), std::string::npos)
          << page << " does not name " << parameters->field(j)->name();
    }
  }
}

TEST(DocsTest, EveryWayToChoosePacketsIsOnItsPage) {
  const std::string page = Slurp(Source() / "docs/faults/traffic.md");
  for (const auto* message : {v1::Traffic::descriptor(), v1::TrafficExclusion::descriptor(),
                              v1::ProcessSelector::descriptor()}) {
    for (int i = 0; i < message->field_count(); ++i) {
      EXPECT_NE(page.find("`" + message->field(i)->name() + "`"), std::string::npos)
          << "traffic.md does not name " << message->field(i)->name();
    }
  }
}

TEST(DocsTest, EveryExampleIsAccepted) {
  int examples = 0;
  for (const fs::path& page : Pages()) {
    for (const std::string& example : Examples(Slurp(page))) {
      ++examples;
      const Reading reading = ReadExperiment(Whole(example));
      for (const Finding& finding : reading.findings) {
        ADD_FAILURE() << ToString(finding, page.filename().string()) << "\nin\n" << Whole(example);
      }
    }
  }
  EXPECT_GE(examples, 6);
}

}  // namespace
}  // namespace firedrill::controller
