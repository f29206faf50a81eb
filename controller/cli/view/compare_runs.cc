// SPDX-License-Identifier: Apache-2.0
// The part of compare_view.h that compares.
#include <fmt/format.h>

#include <algorithm>

#include "controller/cli/view/compare_view.h"
#include "controller/cli/view/words.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

// `phase`: by so much two runs of the same system may differ that began at another place between
// two looks of Prometheus.
ComparedMeasure CompareMeasures(std::string name, std::string subject, const v1::Measure* first,
                                const v1::Measure* second, Nanoseconds phase) {
  ComparedMeasure compared;
  compared.name = std::move(name);
  compared.subject = std::move(subject);
  if (first != nullptr && first->has_value()) compared.first = *first;
  if (second != nullptr && second->has_value()) compared.second = *second;
  if (!compared.first || !compared.second) return compared;
  const Nanoseconds by = FromProto(second->value()) - FromProto(first->value());
  const Nanoseconds error = FromProto(first->uncertainty()) + FromProto(second->uncertainty());
  if (first->censored() || second->censored()) {
    // "> 60s" against 22s says more than 38s; against 70s it says nothing.
    const bool tells =
        first->censored() != second->censored() && (second->censored() ? by > error : -by > error);
    if (!tells) return compared;
    compared.difference = Difference::kAtLeast;
  } else {
    const Nanoseconds apart = std::chrono::abs(by);
    compared.difference = apart <= error           ? Difference::kWithinError
                          : apart <= error + phase ? Difference::kWithinPhase
                                                   : Difference::kBeyondError;
  }
  compared.by = by;
  return compared;
}

template <typename Results, typename Name>
auto Find(const Results& results, const Name& name_of, const std::string& name)
    -> decltype(&*results.begin()) {
  for (const auto& result : results) {
    if (name_of(result) == name) return &result;
  }
  return nullptr;
}

std::string AlertName(const v1::AlertResult& alert) { return alert.expected().alert(); }
std::string IndicatorName(const v1::IndicatorResult& result) { return result.indicator().name(); }

// Between two scrapes of what the alert's rule reads, and two evaluations.
Nanoseconds AlertPhase(const v1::Run& run, const std::string& name) {
  const auto& detection = run.experiment().detection();
  for (int i = 0; i < std::min(detection.size(), run.evidence().alerts_size()); ++i) {
    const v1::AlertRule& rule = run.evidence().alerts(i).rule();
    if (detection[i].alert() != name) continue;
    return FromProto(rule.scrape_interval()) + FromProto(rule.evaluation_interval());
  }
  return Nanoseconds(0);
}

Nanoseconds IndicatorPhase(const v1::Run& run, const std::string& name) {
  const auto& indicators = run.experiment().steady_state();
  for (int i = 0; i < std::min(indicators.size(), run.evidence().indicators_size()); ++i) {
    if (indicators[i].name() == name) return FromProto(run.evidence().indicators(i).interval());
  }
  return Nanoseconds(0);
}

// The names that either has, in the order of the first.
template <typename Results, typename Name>
std::vector<std::string> Names(const Results& first, const Results& second, const Name& name_of) {
  std::vector<std::string> names;
  for (const Results* results : {&first, &second}) {
    for (const auto& result : *results) {
      const std::string name = name_of(result);
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

void CompareAlerts(const v1::Run& first, const v1::Run& second, RunComparison& comparison) {
  for (const std::string& name : Names(first.alerts(), second.alerts(), AlertName)) {
    const v1::AlertResult* before = Find(first.alerts(), AlertName, name);
    const v1::AlertResult* after = Find(second.alerts(), AlertName, name);
    comparison.outcomes.push_back({"alert " + name,
                                   before == nullptr ? "" : Word(before->outcome()),
                                   after == nullptr ? "" : Word(after->outcome())});
    const Nanoseconds phase = std::max(AlertPhase(first, name), AlertPhase(second, name));
    const auto add = [&](const char* what, const auto& get) {
      comparison.measures.push_back(
          CompareMeasures(what, name, before == nullptr ? nullptr : &get(*before),
                          after == nullptr ? nullptr : &get(*after), phase));
      comparison.measures.back().of_alert = true;
    };
    add(
        "time to detect", [](const auto& alert) -> auto& { return alert.time_to_detect(); });
    add(
        "time to notify", [](const auto& alert) -> auto& { return alert.time_to_notify(); });
    const auto stage_of = [](const v1::AlertResult* alert,
                             v1::StageKind kind) -> std::optional<Nanoseconds> {
      if (alert == nullptr || alert->stages().empty()) return std::nullopt;
      Nanoseconds sum{0};
      for (const v1::Stage& stage : alert->stages()) {
        if (stage.kind() == kind) sum += FromProto(stage.value());
      }
      return sum;
    };
    for (int kind = v1::STAGE_KIND_SCRAPE; kind <= v1::StageKind_MAX; ++kind) {
      const auto stage = static_cast<v1::StageKind>(kind);
      const auto was = stage_of(before, stage), is = stage_of(after, stage);
      if (was.value_or(Nanoseconds(0)).count() == 0 && is.value_or(Nanoseconds(0)).count() == 0) {
        continue;
      }
      comparison.stages.push_back({name, Word(stage), was, is});
    }
  }
}

void CompareIndicators(const v1::Run& first, const v1::Run& second, RunComparison& comparison) {
  const auto number = [](bool has, double value) {
    return has ? fmt::format("{:.4g}", value) : std::string();
  };
  for (const std::string& name : Names(first.indicators(), second.indicators(), IndicatorName)) {
    const v1::IndicatorResult* before = Find(first.indicators(), IndicatorName, name);
    const v1::IndicatorResult* after = Find(second.indicators(), IndicatorName, name);
    const auto add_outcome = [&](const std::string& what, const auto& text_of) {
      const std::string was = before == nullptr ? "" : text_of(*before);
      const std::string is = after == nullptr ? "" : text_of(*after);
      if (!was.empty() || !is.empty()) comparison.outcomes.push_back({what, was, is});
    };
    using Result = v1::IndicatorResult;
    add_outcome(name, [](const Result& result) { return Word(result.outcome()); });
    add_outcome(name + ": worst",
                [&](const Result& result) { return number(result.has_lowest(), result.lowest()); });
    add_outcome(name + ": lost", [](const Result& result) {
      return result.has_lost() ? FormatDuration(FromProto(result.lost())) : std::string();
    });
    add_outcome(name + ": budget burned", [&](const Result& result) {
      return number(result.has_budget_burned(), result.budget_burned());
    });
    const Nanoseconds phase = std::max(IndicatorPhase(first, name), IndicatorPhase(second, name));
    const auto add = [&](const char* what, const auto& get) {
      comparison.measures.push_back(
          CompareMeasures(what, name, before == nullptr ? nullptr : &get(*before),
                          after == nullptr ? nullptr : &get(*after), phase));
    };
    add(
        "time to breach", [](const auto& result) -> auto& { return result.time_to_breach(); });
    add(
        "time to recover", [](const auto& result) -> auto& { return result.time_to_recover(); });
    add(
        "time to recover from the end",
        [](const auto& result) -> auto& { return result.time_to_recover_from_end(); });
  }
}

// Rules and routes are not the experiment's, but they make the difference as often.
void CompareEvidence(const v1::Run& first, const v1::Run& second, RunComparison& comparison) {
  const auto evidence_of = [](const v1::Run& run, const std::string& alert) {
    const auto& detection = run.experiment().detection();
    for (int i = 0; i < std::min(detection.size(), run.evidence().alerts_size()); ++i) {
      if (detection[i].alert() == alert) return run.evidence().alerts(i);
    }
    return v1::AlertEvidence();
  };
  for (const std::string& name : Names(first.alerts(), second.alerts(), AlertName)) {
    const v1::AlertEvidence before = evidence_of(first, name), after = evidence_of(second, name);
    const auto take = [&](const google::protobuf::Message& was, const google::protobuf::Message& is,
                          const char* what) {
      for (Change& change : ChangesBetween(was, is, fmt::format("{}.{}", what, name))) {
        comparison.changes.push_back(std::move(change));
      }
    };
    if (before.has_rule() && after.has_rule()) take(before.rule(), after.rule(), "rule");
    if (before.has_route() && after.has_route()) take(before.route(), after.route(), "route");
  }
}

}  // namespace

RunComparison Compare(const v1::Run& first, const v1::Run& second) {
  RunComparison comparison;
  comparison.outcomes.push_back(
      {"verdict", Word(first.verdict().verdict()), Word(second.verdict().verdict())});
  comparison.outcomes.push_back({"detection", Word(first.detection()), Word(second.detection())});
  comparison.outcomes.push_back({"recovery", Word(first.recovery()), Word(second.recovery())});
  CompareAlerts(first, second, comparison);
  CompareIndicators(first, second, comparison);
  const auto add = [&](const char* what, const v1::Measure& was, const v1::Measure& is) {
    comparison.measures.push_back(CompareMeasures(what, "", &was, &is, Nanoseconds(0)));
  };
  add("time to acknowledge", first.time_to_acknowledge(), second.time_to_acknowledge());
  add("time to mitigate", first.time_to_mitigate(), second.time_to_mitigate());
  auto& measures = comparison.measures;
  measures.erase(std::remove_if(measures.begin(), measures.end(),
                                [](const auto& it) { return !it.first && !it.second; }),
                 measures.end());
  comparison.changes = ChangesBetween(first.experiment(), second.experiment());
  CompareEvidence(first, second, comparison);
  return comparison;
}

}  // namespace firedrill::cli
