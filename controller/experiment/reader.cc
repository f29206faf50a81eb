// SPDX-License-Identifier: Apache-2.0
#include "controller/experiment/reader.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <tuple>

#include "controller/experiment/rules.h"
#include "controller/experiment/yaml_walker.h"
#include "proto/support/status_macros.h"

namespace firedrill::controller {
namespace {

constexpr std::size_t kMostFindings = 100;

struct Close {
  void operator()(std::FILE* file) const {
    if (file != stdin) std::fclose(file);
  }
};

// What the file says of a field that the rule book takes for absent.
void SayWhatIsThere(const YamlWalker& walker, Problem* problem) {
  if (!problem->missing || problem->found != "missing" || !walker.Names(problem->field)) return;
  problem->found = "found nothing in it";
}

}  // namespace

Reading ReadExperiment(std::string_view text) {
  Reading reading;
  if (const std::optional<YamlRefusal> refusal = CheckYaml(text); refusal.has_value()) {
    reading.findings.push_back({refusal->place, {"", refusal->found, refusal->allowed, false}});
    return reading;
  }
  YamlWalker walker;
  try {
    walker.Read(YAML::Load(std::string(text)), &reading.experiment);
  } catch (const YAML::Exception& error) {
    reading.findings.push_back(
        {{error.mark.line + 1, error.mark.column + 1}, {"", error.msg, "", false}});
    return reading;
  }
  for (const auto& [place, problem] : walker.problems()) {
    reading.findings.push_back({place, problem});
  }
  // A file that is no map at all would only be told of every field that it lacks.
  const bool hopeless = std::any_of(reading.findings.begin(), reading.findings.end(),
                                    [](const Finding& f) { return f.problem.field.empty(); });
  if (hopeless) return reading;
  Problems problems;
  CheckExperiment(reading.experiment, &problems);
  for (Problem& problem : problems) {
    if (walker.Explains(problem)) continue;
    SayWhatIsThere(walker, &problem);
    const Place place = walker.Find(problem.field);
    reading.findings.push_back({place, std::move(problem)});
  }
  std::stable_sort(
      reading.findings.begin(), reading.findings.end(), [](const Finding& a, const Finding& b) {
        return std::tie(a.place.line, a.place.column) < std::tie(b.place.line, b.place.column);
      });
  return reading;
}

std::string ToString(const Finding& finding, const std::string& file) {
  std::string text = file;
  if (finding.place.line > 0) {
    text += fmt::format(":{}:{}", finding.place.line, finding.place.column);
  }
  return text + ": " + firedrill::ToString(finding.problem);
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const std::unique_ptr<std::FILE, Close> file(path == "-" ? stdin
                                                           : std::fopen(path.c_str(), "re"));
  const auto refuse = [&path](const std::string& why) {
    return absl::InvalidArgumentError(fmt::format("{}: {}", path, why));
  };
  if (!file) return refuse(fmt::format("cannot be opened: {}", std::strerror(errno)));
  std::string text(kLargestFile + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get()) != 0) {
    return refuse(fmt::format("cannot be read: {}", std::strerror(errno)));
  }
  if (text.size() > kLargestFile)
    return refuse("is larger than 1 MiB, the most for one experiment");
  return text;
}

absl::StatusOr<v1::Experiment> ReadExperimentFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  Reading reading = ReadExperiment(text);
  if (reading.findings.empty()) return std::move(reading.experiment);
  const std::string name = path == "-" ? "standard input" : path;
  std::string all;
  for (std::size_t i = 0; i < std::min(reading.findings.size(), kMostFindings); ++i) {
    all += (i == 0 ? "" : "\n") + ToString(reading.findings[i], name);
  }
  if (reading.findings.size() > kMostFindings) {
    all += fmt::format("\n{}: and {} more", name, reading.findings.size() - kMostFindings);
  }
  return absl::InvalidArgumentError(all);
}

}  // namespace firedrill::controller
