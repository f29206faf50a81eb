// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "controller/cli/commands/arguments.h"
#include "controller/cli/commands/command.h"
#include "controller/cli/commands/completion.h"
#include "controller/cli/commands/settings.h"
#include "controller/cli/commands/subprocess.h"
#include "controller/cli/view/text_width.h"
#include "nlohmann/json.hpp"
#include "proto/support/field_rules.h"
#include "tests/unit/cli_command_fixture.h"

namespace firedrill::cli {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(CommandTest, EveryCommandHasHelpWithAnExample) {
  const std::vector<std::string> promised = {
      "validate", "plan",      "run",    "inject", "preview",  "apply",     "delete", "abort",
      "ack",      "mitigated", "halt",   "get",    "describe", "report",    "trend",  "compare",
      "measure",  "replay",    "doctor", "ca",     "version",  "completion"};
  std::vector<std::string> names;
  const std::string general = Run({"help"}).out;
  for (const Command& command : Commands()) {
    names.push_back(command.name);
    EXPECT_FALSE(command.examples.empty()) << command.name;
    EXPECT_THAT(general, HasSubstr("\n  " + command.name + " "));
    for (const std::vector<std::string>& ask :
         {std::vector<std::string>{"help", command.name}, {command.name, "--help"}}) {
      const Result help = Run(ask);
      EXPECT_EQ(help.code, 0);
      EXPECT_THAT(help.out, HasSubstr("usage: firedrill " + command.name));
      EXPECT_THAT(help.out, HasSubstr("examples\n  firedrill " + command.name));
    }
  }
  EXPECT_EQ(names, promised);
}

TEST_F(CommandTest, ExamplesAreUnderstood) {
  for (const Command& command : Commands()) {
    for (const Example& example : command.examples) {
      std::string line = example.command.substr(0, example.command.find_first_of(">|"));
      for (std::size_t at; (at = line.find("'")) != std::string::npos;) {
        const std::size_t end = line.find('\'', at + 1);
        line.replace(at, end - at + 1, "text");
      }
      const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
      ASSERT_EQ(words.at(0), command.name);
      const std::vector<std::string> rest(words.begin() + 1, words.end());
      std::vector<Option> options = command.options;
      if (command.more_options != nullptr) {
        const auto more = command.more_options(rest);
        options.insert(options.end(), more.begin(), more.end());
      }
      options.insert(options.end(), GlobalOptions().begin(), GlobalOptions().end());
      const auto arguments = ParseArguments(rest, options);
      ASSERT_TRUE(arguments.ok()) << example.command << ": " << arguments.status();
      EXPECT_GE(arguments->words.size(), command.least) << example.command;
      EXPECT_LE(arguments->words.size(), command.most) << example.command;
    }
  }
}

TEST_F(CommandTest, HelpListsTheExitCodes) {
  const std::string help = Run({"--help"}).out;
  for (const char* line : {"0  passed", "1  the hypothesis failed", "2  usage", "3  aborted",
                           "4  the controller", "5  a fault's end", "6  inconclusive"}) {
    EXPECT_THAT(help, HasSubstr(line));
  }
}

TEST_F(CommandTest, MistakesInTheCommandLineAreNamed) {
  const struct {
    std::vector<std::string> argv;
    const char* message;
  } mistakes[] = {
      {{}, "usage: firedrill COMMAND"},
      {{"vali"}, "unknown command \"vali\"; did you mean validate?"},
      {{"help", "rnu"}, "unknown command \"rnu\"; did you mean run?"},
      {{"validate"}, "validate needs FILE…"},
      {{"plan", "a", "b"}, "too many arguments, from \"b\" on"},
      {{"get", "runs", "--limt", "3"}, "unknown option --limt; did you mean --limit?"},
      {{"get", "runs", "--lim", "3"}, "unknown option --lim; did you mean --limit?"},
      {{"get", "runs", "--limit"}, "--limit needs a value"},
      {{"get", "runs", "--limit", "1", "--limit", "2"}, "--limit was given twice"},
      {{"get", "runs", "-o", "xml"}, "--output: found \"xml\"; allowed: table, json or yaml"},
      {{"get", "fault"}, "did you mean faults?"},
      {{"get", "run"}, "get run needs a RUN"},
      {{"get", "agents", "web1"}, "get agents takes no \"web1\""},
      {{"describe", "fault"}, "describe fault needs a name"},
      {{"describe", "fault", "loss"}, "did you mean packet_loss?"},
      {{"run"}, "run needs a FILE or --applied NAME, and not both"},
      {{"run", "a.yaml", "--applied", "b"}, "and not both"},
      {{"report", "x", "--format", "pdf"},
       "--format: found \"pdf\"; allowed: markdown, plain or json"},
      {{"mitigated"}, "mitigated needs --note TEXT: what was done"},
      {{"completion", "ksh"}, "allowed: bash, zsh or fish"},
      {{"ca", "isue"}, "did you mean issue?"},
      {{"ca", "issue", "agent"}, "needs a role"},
      {{"inject", "packet_los"}, "did you mean packet_loss?"},
      {{"get", "agents", "--controller", "host"},
       "--controller: found \"host\"; allowed: a host and a port"},
      {{"get", "agents"}, "--ca is missing"},
      {{"get", "agents", "--insecure", "--controller", "192.0.2.1:1"}, "works on loopback alone"},
  };
  for (const auto& mistake : mistakes) {
    const Result result = Run(mistake.argv);
    EXPECT_EQ(result.code, 2) << mistake.message;
    EXPECT_THAT(result.err, HasSubstr(mistake.message));
    EXPECT_THAT(result.out, IsEmpty());
  }
}

TEST_F(CommandTest, ValidateReportsPlacesAndGoesOn) {
  const std::string good = Write("good.yaml", kExperiment);
  const std::string bad = Write("bad.yaml", "name: x\nmethdo: []\n");
  const Result result = Run({"validate", bad, good, folder_.path() + "/none.yaml"});
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.out, good + ": good: cache-loss, 1 target, 1 step, 1m of faults\n");
  EXPECT_THAT(result.err, HasSubstr(bad + ":2:1: methdo: unknown field; did you mean method?"));
  EXPECT_THAT(result.err, HasSubstr("none.yaml: cannot be opened"));
  EXPECT_EQ(Run({"validate", good}).code, 0);

  const auto json = nlohmann::json::parse(Run({"validate", "-o", "json", bad}).out);
  EXPECT_EQ(json[0]["findings"][0]["field"], "hypothesis");
  EXPECT_EQ(json[0]["valid"], false);
}

TEST_F(CommandTest, SettingsComeFromFlagThenEnvironmentThenFile) {
  Write(".config/firedrill/config", "controller = file:1\nca = ca.crt\ncert = /c.crt\nkey = k\n");
  const Environment environment = [this](const std::string& name) { return environment_[name]; };
  Arguments arguments;
  Settings settings = ReadSettings(arguments, environment).value();
  EXPECT_EQ(settings.connection.address, "file:1");
  EXPECT_EQ(settings.connection.credentials.ca, folder_.path() + "/.config/firedrill/ca.crt");
  EXPECT_EQ(settings.connection.credentials.cert, "/c.crt");
  environment_["FIREDRILL_CONTROLLER"] = "env:2";
  environment_["FIREDRILL_CA"] = "env.crt";
  settings = ReadSettings(arguments, environment).value();
  EXPECT_EQ(settings.connection.address, "env:2");
  EXPECT_EQ(settings.connection.credentials.ca, "env.crt");
  arguments.options["controller"] = {"flag:3"};
  EXPECT_EQ(ReadSettings(arguments, environment)->connection.address, "flag:3");
  arguments.options["insecure"] = {"true"};
  EXPECT_EQ(ReadSettings(arguments, environment)->connection.credentials.ca, "");
  environment_["NO_COLOR"] = "1";
  EXPECT_FALSE(ReadSettings(arguments, environment)->colours);

  environment_["FIREDRILL_CONFIG"] = folder_.path() + "/none";
  EXPECT_FALSE(ReadSettings(arguments, environment).ok());
  environment_["FIREDRILL_CONFIG"] = Write("bad", "controler = a:1\n");
  EXPECT_THAT(std::string(ReadSettings(arguments, environment).status().message()),
              HasSubstr("did you mean --controller?"));
}

TEST_F(CommandTest, WithoutSettingsTheControllerIsOnLoopback) {
  const auto settings = ReadSettings(Arguments(), [](const std::string&) { return std::string(); });
  EXPECT_EQ(settings->connection.address, "127.0.0.1:7443");
  EXPECT_FALSE(settings->controller_named);
}

TEST_F(CommandTest, DescribesFaultsAndTheFileWithoutAController) {
  const std::string faults = Run({"get", "faults"}).out;
  for (int i = 0; i < v1::Fault::descriptor()->field_count(); ++i) {
    const std::string name = v1::Fault::descriptor()->field(i)->name();
    EXPECT_THAT(faults, HasSubstr(name));
    EXPECT_EQ(Run({"describe", "fault", name}).code, 0);
  }
  EXPECT_THAT(Run({"describe", "fault", "packet_loss"}).out,
              HasSubstr("percent  percentage, 0.0001 to 100 %\n    Share of packets"));
  EXPECT_THAT(Run({"describe", "experiment"}).out, HasSubstr("targets.NAME.pick  count, share or "
                                                             "all; left out: 1\n"));
  EXPECT_EQ(nlohmann::json::parse(Run({"get", "faults", "-o", "json"}).out)[3]["reversible"],
            false);
}

TEST_F(CommandTest, DescribeExplainsTheValuesOfAnEnum) {
  const std::string text = Run({"describe", "fault", "packet_loss"}).out;
  EXPECT_THAT(text, HasSubstr("counting  fast|exact; left out: fast\n    What is one packet\n      "
                              "fast: once for what the kernel hands over"));
  EXPECT_THAT(text, HasSubstr("throughput; needs delay_line"));
  EXPECT_THAT(text, HasSubstr("needs traffic_owner of the host\n"));
  EXPECT_THAT(Run({"describe", "fault", "bandwidth"}).out,
              HasSubstr("rate  rate, 8kbit to 100Gbit, needed"));
  const auto json =
      nlohmann::json::parse(Run({"describe", "fault", "packet_loss", "-o", "json"}).out);
  bool found = false;
  for (const auto& field : json["fields"]) {
    if (field["field"] != "counting") continue;
    found = true;
    EXPECT_EQ(field["values"][1]["value"], "exact");
    EXPECT_EQ(field["values"][1]["needs"][0], "delay_line");
  }
  EXPECT_TRUE(found);
}

TEST_F(CommandTest, GetFaultsLeavesNoDefaultUnitOrNeedOut) {
  std::string faults = Run({"get", "faults"}).out;
  for (const absl::string_view line : absl::StrSplit(faults, '\n')) {
    EXPECT_LE(DisplayWidth(std::string(line)), 100) << std::string(line);
  }
  faults = absl::StrJoin(absl::StrSplit(faults, absl::ByAnyChar(" \n"), absl::SkipEmpty()), " ");
  for (int i = 0; i < v1::Fault::descriptor()->field_count(); ++i) {
    const auto& type = *v1::Fault::descriptor()->field(i)->message_type();
    for (int j = 0; j < type.field_count(); ++j) {
      const v1::FieldRules& rules = RulesOf(*type.field(j));
      if (!rules.unit().empty()) {
        EXPECT_THAT(faults, HasSubstr(type.field(j)->name() + " " + rules.unit()));
      }
      if (!rules.default_text().empty() && !rules.required()) {
        EXPECT_THAT(faults, HasSubstr("[" + rules.default_text() + "]"));
      }
    }
  }
  EXPECT_THAT(faults, HasSubstr("needs pidfd; some parameters also: task_events"));
  EXPECT_THAT(faults, HasSubstr("needs traffic; some parameters also: delay_line, traffic_owner"));
  EXPECT_THAT(faults, HasSubstr("needs a file that the host's owner has allowed (--allow-file)"));
}

TEST_F(CommandTest, DescribeSaysHowLongAFaultLivesAndWhatItNeeds) {
  const std::string reboot = Run({"describe", "fault", "reboot"}).out;
  EXPECT_THAT(reboot, HasSubstr("lives:     at once; no duration\n"));
  EXPECT_THAT(reboot, HasSubstr("needs:     cap_sys_boot (firedrill doctor)\n"));
  EXPECT_THAT(Run({"describe", "fault", "process_kill"}).out,
              HasSubstr("lives:     at once; a duration only where it repeats\n"));
  const std::string pids = Run({"describe", "fault", "pids"}).out;
  EXPECT_THAT(pids, HasSubstr("needs:     nothing special\n"));
  EXPECT_THAT(pids,
              HasSubstr("undone:    by Firedrill: at its end, and when any of its programs dies;\n"
                        "           what the kernel does not undo, by the next agent"));
  const std::string change = Run({"describe", "fault", "config_change"}).out;
  EXPECT_THAT(change,
              HasSubstr("needs:     a file that the host's owner has allowed (--allow-file)\n"));
  EXPECT_THAT(change, HasSubstr("then; \\1 is the pattern's first group"));
}

TEST_F(CommandTest, PreviewRefusesWhatCannotBeCountedBeforeItAsksForMore) {
  const std::string help = Run({"help", "preview"}).out;
  int refused = 0;
  for (int i = 0; i < v1::Fault::descriptor()->field_count(); ++i) {
    const std::string name = v1::Fault::descriptor()->field(i)->name();
    const Result result = Run({"preview", name});
    EXPECT_EQ(result.code, 2) << name;
    const std::string why = name + " cannot be counted: it has no choice of packets or processes";
    const bool counted = result.err.find(why) == std::string::npos;
    refused += counted ? 0 : 1;
    EXPECT_EQ(help.find(name) != std::string::npos, counted) << name;
  }
  EXPECT_EQ(refused, 9);
}

TEST_F(CommandTest, CompletesFromTheSameTable) {
  const auto words = [](const std::vector<std::string>& typed) {
    std::vector<std::string> found;
    for (const std::string& line :
         std::vector<std::string>(absl::StrSplit(Complete(typed), '\n', absl::SkipEmpty()))) {
      found.push_back(line.substr(0, line.find('\t')));
    }
    return found;
  };
  for (const Command& command : Commands()) EXPECT_THAT(words({""}), Contains(command.name));
  EXPECT_THAT(words({"de"}), ElementsAre("delete", "describe"));
  EXPECT_THAT(words({"get", "r"}), ElementsAre("runs", "run"));
  EXPECT_THAT(words({"describe", "fault", "pr"}), ElementsAre("process_kill", "process_pause"));
  EXPECT_THAT(words({"inject", "latency", "--kee"}), ElementsAre("--keep-order"));
  EXPECT_THAT(words({"inject", "packet_loss", "--dir"}), ElementsAre("--direction"));
  EXPECT_THAT(words({"inject", "packet_loss", "--direction", ""}),
              ElementsAre("egress", "ingress", "both"));
  EXPECT_THAT(words({"inject", "cpu", "--mo"}), ElementsAre("--mode"));
  EXPECT_THAT(words({"get", "runs", "-o", "y"}), ElementsAre("yaml"));
  EXPECT_THAT(words({"run", ""}), ElementsAre(":files"));
  EXPECT_THAT(words({"get", "runs", "--ca", ""}), ElementsAre(":files"));
  EXPECT_THAT(words({"nothing", ""}), IsEmpty());
  for (const char* shell : {"bash", "zsh", "fish"}) {
    EXPECT_THAT(Run({"completion", shell}).out, HasSubstr("firedrill __complete"));
  }
}

TEST_F(CommandTest, CaMakesFilesAndSaysWhatIsNext) {
  const std::string ca = folder_.path() + "/ca";
  const Result init = Run({"ca", "init", "--out", ca});
  EXPECT_EQ(init.code, 0) << init.err;
  EXPECT_THAT(init.out, HasSubstr("made " + ca + "/ca.key  secret, mode 0600"));
  EXPECT_THAT(init.out, HasSubstr("firedrill ca issue agent HOST --ca-dir " + ca));
  const Result issue = Run({"ca", "issue", "operator", "alice", "--ca-dir", ca, "-o", "json"});
  EXPECT_EQ(nlohmann::json::parse(issue.out)["certificate"], ca + "/alice.crt");
  const Result again = Run({"ca", "init", "--out", ca});
  EXPECT_EQ(again.code, 2);
  EXPECT_THAT(again.err, HasSubstr("exists already; --force replaces it"));
}

TEST(SubprocessTest, BoundsTimeAndTellsFailuresApart) {
  const Clock& clock = Clock::Real();
  EXPECT_EQ(*OutputOf({"/bin/echo", "hello"}, std::chrono::seconds(10), clock), "hello\n");
  EXPECT_EQ(OutputOf({"/nonexistent"}, std::chrono::seconds(10), clock).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(OutputOf({"/bin/false"}, std::chrono::seconds(10), clock).status().code(),
            absl::StatusCode::kInternal);
  EXPECT_EQ(OutputOf({"/bin/sleep", "60"}, std::chrono::milliseconds(50), clock).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace firedrill::cli
