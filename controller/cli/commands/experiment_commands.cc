// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "controller/cli/commands/runners.h"
#include "controller/cli/view/table.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/words.h"
#include "controller/experiment/reader.h"
#include "controller/experiment/steps.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

std::string Counted(int count, const char* one, const char* many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

std::string GoodText(const v1::Experiment& experiment) {
  std::string length;
  if (const auto steps = controller::TimeSteps(experiment); steps.ok()) {
    const Nanoseconds all = controller::MethodLength(*steps);
    length = all > Nanoseconds(0) ? ", " + FormatDuration(all) + " of faults" : "";
  }
  return fmt::format("{}, {}, {}{}", experiment.name(),
                     Counted(experiment.targets_size(), "target", "targets"),
                     Counted(experiment.method_size(), "step", "steps"), length);
}

// Findings of one file, for an editor or a pipeline.
nlohmann::ordered_json ToJson(const std::string& file, const controller::Reading& reading) {
  nlohmann::ordered_json findings = nlohmann::ordered_json::array();
  for (const controller::Finding& finding : reading.findings) {
    findings.push_back({{"line", finding.place.line},
                        {"column", finding.place.column},
                        {"field", finding.problem.field},
                        {"found", finding.problem.found},
                        {"allowed", finding.problem.allowed}});
  }
  return {{"file", file}, {"valid", reading.findings.empty()}, {"findings", findings}};
}

std::string PlanTable(const v1::Plan& plan, const Style& style) {
  Table table({"STARTS", "FOR", "HOST", "STEP", "FAULT"});
  std::vector<v1::PlannedInjection> in_time(plan.injections().begin(), plan.injections().end());
  std::stable_sort(in_time.begin(), in_time.end(),
                   [](const v1::PlannedInjection& a, const v1::PlannedInjection& b) {
                     return FromProto(a.starts_at()) < FromProto(b.starts_at());
                   });
  for (const v1::PlannedInjection& injection : in_time) {
    table.Add(
        {injection.has_starts_at() ? "+" + FormatDuration(FromProto(injection.starts_at())) : "?",
         injection.has_duration() ? FormatDuration(FromProto(injection.duration())) : "at once",
         Clean(injection.host()), Clean(injection.step()), Clean(injection.fault())});
  }
  return table.empty() ? "" : table.Render(style);
}

}  // namespace

ExitCode RunValidate(Invocation& invocation) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  bool good = true;
  const bool people = invocation.settings.format == Format::kTable;
  for (const std::string& file : invocation.arguments.words) {
    const absl::StatusOr<std::string> text = controller::ReadFile(file);
    if (!text.ok()) {
      invocation.Fail(text.status());
      good = false;
      continue;
    }
    const controller::Reading reading = controller::ReadExperiment(*text);
    good = good && reading.findings.empty();
    if (!people) {
      all.push_back(ToJson(file, reading));
    } else if (reading.findings.empty()) {
      invocation.context.out << file << ": good: " << GoodText(reading.experiment) << "\n";
    }
    if (!people) continue;
    for (const controller::Finding& finding : reading.findings) {
      invocation.context.err << Clean(controller::ToString(finding, file)) << "\n";
    }
    if (!reading.findings.empty()) {
      invocation.context.err << fmt::format(
          "{}: {}; firedrill describe experiment shows every field\n", file,
          Counted(static_cast<int>(reading.findings.size()), "mistake", "mistakes"));
    }
  }
  if (!people) invocation.context.out << SerializeJson(all.dump(), invocation.settings.format);
  return good ? ExitCode::kPassed : ExitCode::kUsage;
}

ExitCode RunPlan(Invocation& invocation) {
  const auto experiment = controller::ReadExperimentFile(invocation.arguments.words[0]);
  if (!experiment.ok()) return invocation.Fail(experiment.status());
  const absl::StatusOr<Client*> client = invocation.Controller();
  if (!client.ok()) return invocation.Fail(client.status());
  const absl::StatusOr<v1::Plan> plan = (*client)->Plan(*experiment);
  if (!plan.ok()) return invocation.Fail(plan.status());
  bool fatal = false;
  for (const v1::PlanProblem& problem : plan->problems()) fatal = fatal || problem.fatal();
  const ExitCode code = fatal ? ExitCode::kUsage : ExitCode::kPassed;
  if (invocation.PrintForPrograms(*plan)) return code;

  std::ostream& out = invocation.context.out;
  const Style& style = invocation.style;
  out << style(Colour::kBold, Clean(experiment->name())) << "  " << Clean(experiment->hypothesis())
      << "\n\n"
      << PlanTable(*plan, style);
  std::set<std::string> effects;
  for (const v1::PlannedInjection& injection : plan->injections()) {
    for (const std::string& effect : injection.effects()) effects.insert(Clean(effect));
  }
  for (const std::string& effect : effects) out << "\nfelt:   " << effect;
  if (!effects.empty()) out << "\n";
  for (const std::string& guard : plan->guards()) out << "\nguard:  " << Clean(guard);
  if (plan->guards_size() > 0) out << "\n";
  for (const v1::PlanProblem& problem : plan->problems()) {
    out << "\n"
        << (problem.fatal() ? style(Colour::kBad, "would not start: ")
                            : style(Colour::kWarning, "note: "))
        << Clean(problem.message());
  }
  if (plan->problems_size() > 0) out << "\n";
  out << fmt::format("\nThe method takes {}. Nothing was changed.\n",
                     FormatDuration(FromProto(plan->length())));
  return code;
}

ExitCode RunApply(Invocation& invocation) {
  // All are read first: a mistake in the last leaves the first where it was.
  std::vector<v1::Experiment> experiments;
  absl::Status bad;
  for (const std::string& file : invocation.arguments.words) {
    absl::StatusOr<v1::Experiment> experiment = controller::ReadExperimentFile(file);
    if (experiment.ok()) {
      experiments.push_back(*std::move(experiment));
    } else {
      bad = experiment.status();
      invocation.Fail(bad);
    }
  }
  if (!bad.ok()) return ExitCodeOf(bad);
  const absl::StatusOr<Client*> client = invocation.Controller();
  if (!client.ok()) return invocation.Fail(client.status());
  for (const v1::Experiment& experiment : experiments) {
    const auto response = (*client)->ApplyExperiment(experiment);
    if (!response.ok()) return invocation.Fail(response.status());
    if (invocation.PrintForPrograms(*response)) continue;
    invocation.context.out << fmt::format(
        "{} {}{}\n", Clean(experiment.name()), response->created() ? "stored" : "replaced",
        response->applied().has_next_run_at()
            ? "; runs next at " + DateText(response->applied().next_run_at())
            : "");
  }
  return ExitCode::kPassed;
}

ExitCode RunDelete(Invocation& invocation) {
  const absl::StatusOr<Client*> client = invocation.Controller();
  if (!client.ok()) return invocation.Fail(client.status());
  for (const std::string& name : invocation.arguments.words) {
    const absl::Status deleted = (*client)->DeleteExperiment(name);
    if (!deleted.ok()) return invocation.Fail(deleted);
    if (invocation.settings.format == Format::kTable) {
      invocation.context.out << Clean(name) << " deleted; its past runs stay\n";
    }
  }
  return ExitCode::kPassed;
}

}  // namespace firedrill::cli
