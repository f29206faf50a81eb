// SPDX-License-Identifier: Apache-2.0
#include "controller/measure/measure.h"

#include <fmt/format.h>
#include <google/protobuf/util/field_mask_util.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <string_view>

#include "controller/measure/advice.h"
#include "controller/measure/evidence.h"
#include "controller/measure/parts.h"
#include "controller/measure/without_fault.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

constexpr std::string_view kWebhookSays = ": the webhook says it began to fire at ";
constexpr std::string_view kMoreSeries = " sets of labels in ALERTS: not all of them were kept";

bool IsMeasuredKind(v1::MarkKind kind) {
  return kind == v1::MARK_KIND_SLO_BREACHED || kind == v1::MARK_KIND_RECOVERED ||
         kind == v1::MARK_KIND_ALERT_PENDING || kind == v1::MARK_KIND_ALERT_FIRING ||
         kind == v1::MARK_KIND_NOTIFIED || kind == v1::MARK_KIND_ALERT_RESOLVED;
}

// All that is measured, besides marks and caveats: not all of these are. What `from` does not have
// is taken back in `to`.
void CopyMeasuredFields(const v1::Run& from, v1::Run& to) {
  static const google::protobuf::FieldMask kMeasured = [] {
    google::protobuf::FieldMask mask;
    google::protobuf::util::FieldMaskUtil::FromString(
        "alerts,indicators,detection,recovery,false_alarms,time_to_detect,time_to_notify,"
        "time_to_acknowledge,time_to_mitigate,time_to_recover,advice",
        &mask);
    return mask;
  }();
  google::protobuf::util::FieldMaskUtil::MergeOptions replacing;
  replacing.set_replace_message_fields(true);
  replacing.set_replace_repeated_fields(true);
  google::protobuf::util::FieldMaskUtil::MergeMessageTo(from, kMeasured, replacing, &to);
}

void SortByTime(std::vector<v1::Mark>& marks) {
  std::stable_sort(marks.begin(), marks.end(), [](const v1::Mark& left, const v1::Mark& right) {
    return FromProto(left.at()) < FromProto(right.at());
  });
}

// The first of `order` that is among the outcomes: the one that a summary must not hide.
template <typename Outcome>
Outcome Worst(const std::vector<Outcome>& outcomes, std::initializer_list<Outcome> order,
              Outcome none) {
  for (const Outcome candidate : order) {
    if (std::find(outcomes.begin(), outcomes.end(), candidate) != outcomes.end()) return candidate;
  }
  return none;
}

void SummariseDetection(Measures& measures) {
  std::vector<v1::DetectionOutcome> outcomes;
  for (const v1::AlertResult& alert : measures.alerts) {
    outcomes.push_back(alert.outcome());
    // What was expected to be silent has no time to detect, whatever it did.
    if (alert.outcome() == v1::DETECTION_OUTCOME_FALSE_ALARM) {
      measures.false_alarms += FalseAlarmsIn(alert);
      continue;
    }
    if (alert.has_time_to_notify()) {
      const v1::Measure& notify = alert.time_to_notify();
      std::optional<v1::Measure>& first = measures.time_to_notify;
      if (!first || FromProto(notify.value()) < FromProto(first->value())) first = notify;
    }
    if (!alert.has_time_to_detect()) continue;
    const v1::Measure& measure = alert.time_to_detect();
    std::optional<v1::Measure>& best = measures.time_to_detect;
    const bool sooner = best && FromProto(measure.value()) < FromProto(best->value());
    if (!best || (best->censored() && !measure.censored()) ||
        (best->censored() == measure.censored() && sooner)) {
      best = measure;
    }
  }
  measures.detection =
      Worst<v1::DetectionOutcome>(outcomes,
                                  {v1::DETECTION_OUTCOME_FALSE_ALARM, v1::DETECTION_OUTCOME_MISSED,
                                   v1::DETECTION_OUTCOME_ALREADY_FIRING,
                                   v1::DETECTION_OUTCOME_UNKNOWN, v1::DETECTION_OUTCOME_UNSPECIFIED,
                                   v1::DETECTION_OUTCOME_DETECTED, v1::DETECTION_OUTCOME_SILENT},
                                  v1::DETECTION_OUTCOME_UNSPECIFIED);
}

void SummariseRecovery(Measures& measures) {
  std::vector<v1::RecoveryOutcome> outcomes;
  for (const v1::IndicatorResult& indicator : measures.indicators) {
    outcomes.push_back(indicator.outcome());
    if (!indicator.has_time_to_recover()) continue;
    const v1::Measure& measure = indicator.time_to_recover();
    std::optional<v1::Measure>& latest = measures.time_to_recover;
    const bool later = latest && FromProto(measure.value()) > FromProto(latest->value());
    if (!latest || (!latest->censored() && measure.censored()) ||
        (latest->censored() == measure.censored() && later)) {
      latest = measure;
    }
  }
  measures.recovery = Worst<v1::RecoveryOutcome>(
      outcomes,
      {v1::RECOVERY_OUTCOME_NOT_RECOVERED, v1::RECOVERY_OUTCOME_RELAPSED,
       v1::RECOVERY_OUTCOME_UNKNOWN, v1::RECOVERY_OUTCOME_UNSPECIFIED,
       v1::RECOVERY_OUTCOME_AFTER_END, v1::RECOVERY_OUTCOME_AFTER_RESPONDER,
       v1::RECOVERY_OUTCOME_SELF_RECOVERED, v1::RECOVERY_OUTCOME_ABSORBED},
      v1::RECOVERY_OUTCOME_UNSPECIFIED);
  // One that never recovered, or of which nothing is known, leaves the others' time saying nothing.
  // That one was not well yet when the watch was cut short says something.
  const bool open = measures.time_to_recover && measures.time_to_recover->censored();
  if (!open && (measures.recovery == v1::RECOVERY_OUTCOME_UNKNOWN ||
                measures.recovery == v1::RECOVERY_OUTCOME_UNSPECIFIED)) {
    measures.time_to_recover.reset();
  }
}

void SummarisePeople(const RunInstants& instants, Measures& measures) {
  if (!instants.first_impact) return;
  const Instant& impact = *instants.first_impact;
  if (instants.acknowledged && instants.acknowledged->at >= impact.at) {
    measures.time_to_acknowledge = MakeMeasure(
        v1::MARK_KIND_FIRST_IMPACT, impact, v1::MARK_KIND_ACKNOWLEDGED, *instants.acknowledged, "");
  }
  if (instants.responder && instants.responder->at >= impact.at) {
    measures.time_to_mitigate = MakeMeasure(v1::MARK_KIND_FIRST_IMPACT, impact,
                                            v1::MARK_KIND_MITIGATED, *instants.responder, "");
  }
}

// The first of several (`before` is less) or the last (greater), read from clocks of different ±:
// it may be any whose span overlaps that of the first or last.
template <typename Before>
std::optional<Instant> ExtremeOf(const std::vector<Instant>& all, Before before) {
  if (all.empty()) return std::nullopt;
  const auto extreme = [&](auto edge) {
    SystemTime best = edge(all.front());
    for (const Instant& one : all) best = before(edge(one), best) ? edge(one) : best;
    return best;
  };
  const SystemTime at = extreme([](const Instant& one) { return one.at; });
  const SystemTime from = extreme([](const Instant& one) { return one.at - one.uncertainty; });
  const SystemTime until = extreme([](const Instant& one) { return one.at + one.uncertainty; });
  return Instant{at, std::max(at - from, until - at)};
}

// Whether an indicator breached, from the marks; unknown if one's evidence does not say so and any
// other's end is open.
Breach BreachOf(const std::vector<Measured<v1::IndicatorResult>>& indicators) {
  Breach breach = indicators.empty() ? Breach::kUnknown : Breach::kNone;
  for (const Measured<v1::IndicatorResult>& indicator : indicators) {
    for (const v1::Mark& mark : indicator.marks) {
      if (mark.kind() == v1::MARK_KIND_SLO_BREACHED) return Breach::kBreached;
    }
    if (indicator.result.outcome() != v1::RECOVERY_OUTCOME_ABSORBED) breach = Breach::kUnknown;
  }
  return breach;
}

}  // namespace

RunInstants InstantsOf(const v1::Run& run) {
  RunInstants instants;
  const auto earlier = [](std::optional<Instant>& best, const Instant& other) {
    if (!best || other.at < best->at) best = other;
  };
  std::vector<Instant> impacts;
  std::vector<Instant> ends;
  std::set<std::string> ended;  // injections
  for (const v1::Mark& mark : run.marks()) {
    const Instant instant{FromProto(mark.at()), FromProto(mark.uncertainty())};
    if (mark.kind() == v1::MARK_KIND_FIRST_IMPACT) impacts.push_back(instant);
    if (mark.kind() == v1::MARK_KIND_ACKNOWLEDGED) earlier(instants.acknowledged, instant);
    if (mark.kind() == v1::MARK_KIND_MITIGATED) earlier(instants.responder, instant);
    if (mark.kind() == v1::MARK_KIND_ENDED) {
      ends.push_back(instant);
      ended.insert(mark.subject());
    }
  }
  instants.first_impact = ExtremeOf(impacts, std::less<>());
  bool over = run.injections_size() > 0;
  instants.event = run.injections_size() > 0;
  for (const v1::Injection& injection : run.injections()) {
    over = over && (injection.state() == v1::INJECTION_STATE_ENDED ||
                    injection.state() == v1::INJECTION_STATE_FAILED);
    instants.event = instants.event && !injection.has_duration();
    instants.end_unknown =
        instants.end_unknown ||
        (injection.state() == v1::INJECTION_STATE_ENDED && ended.count(injection.id()) == 0);
  }
  instants.end_unknown = instants.end_unknown && over;
  if (over && !instants.end_unknown) instants.ended = ExtremeOf(ends, std::greater<>());
  return instants;
}

Measures MeasureRun(const v1::Experiment& experiment, const Evidence& evidence) {
  Measures measures;
  measures.settled = evidence.instants.ended.has_value();
  std::vector<Measured<v1::IndicatorResult>> indicators;
  IndicatorEvidence no_indicator;
  no_indicator.status = absl::NotFoundError("nothing was asked of it");
  for (int i = 0; i < experiment.steady_state_size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    indicators.push_back(MeasureIndicator(
        experiment.steady_state(i),
        at < evidence.indicators.size() ? evidence.indicators[at] : no_indicator, evidence));
    const Measured<v1::IndicatorResult>& measured = indicators.back();
    measures.indicators.push_back(measured.result);
    measures.marks.insert(measures.marks.end(), measured.marks.begin(), measured.marks.end());
    measures.settled = measures.settled && measured.settled;
    if (measured.holding_until) {
      measures.holding_until = std::max(measures.holding_until, measured.holding_until);
    }
  }
  AlertEvidence no_alert;
  no_alert.status = absl::NotFoundError("nothing was asked of it");
  for (int i = 0; i < experiment.detection_size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    const AlertEvidence& alert = at < evidence.alerts.size() ? evidence.alerts[at] : no_alert;
    Measured<v1::AlertResult> measured =
        MeasureAlert(ExpectedOf(experiment, i), alert, evidence, BreachOf(indicators));
    *measured.result.mutable_expected() = experiment.detection(i);
    measures.alerts.push_back(measured.result);
    if (evidence.instants.first_impact) {
      const std::vector<v1::Advice> advice = AdviseOn(measured.result, alert);
      measures.advice.insert(measures.advice.end(), advice.begin(), advice.end());
    }
    measures.caveats.insert(measures.caveats.end(), measured.caveats.begin(),
                            measured.caveats.end());
    if (alert.series_left_out) {
      measures.caveats.push_back(SeriesLeftOut(experiment.detection(i).alert()));
    }
    measures.marks.insert(measures.marks.end(), measured.marks.begin(), measured.marks.end());
    measures.settled = measures.settled && measured.settled;
  }
  SortByTime(measures.marks);
  SummariseDetection(measures);
  SummariseRecovery(measures);
  SummarisePeople(evidence.instants, measures);
  return measures;
}

void WriteMeasures(const Measures& measures, v1::Run& run) {
  v1::Run part;
  *part.mutable_alerts() = {measures.alerts.begin(), measures.alerts.end()};
  *part.mutable_indicators() = {measures.indicators.begin(), measures.indicators.end()};
  part.set_detection(measures.detection);
  part.set_recovery(measures.recovery);
  part.set_false_alarms(measures.false_alarms);
  if (measures.time_to_detect) *part.mutable_time_to_detect() = *measures.time_to_detect;
  if (measures.time_to_notify) *part.mutable_time_to_notify() = *measures.time_to_notify;
  if (measures.time_to_acknowledge) {
    *part.mutable_time_to_acknowledge() = *measures.time_to_acknowledge;
  }
  if (measures.time_to_mitigate) *part.mutable_time_to_mitigate() = *measures.time_to_mitigate;
  if (measures.time_to_recover) *part.mutable_time_to_recover() = *measures.time_to_recover;
  *part.mutable_advice() = {measures.advice.begin(), measures.advice.end()};
  CopyMeasuredFields(part, run);

  std::vector<v1::Mark> marks;
  for (const v1::Mark& mark : run.marks()) {
    if (!IsMeasuredKind(mark.kind())) marks.push_back(mark);
  }
  marks.insert(marks.end(), measures.marks.begin(), measures.marks.end());
  SortByTime(marks);
  *run.mutable_marks() = {marks.begin(), marks.end()};
  std::vector<std::string> caveats;
  for (const std::string& caveat : run.caveats()) {
    if (!IsMeasuredCaveat(caveat)) caveats.push_back(caveat);
  }
  caveats.insert(caveats.end(), measures.caveats.begin(), measures.caveats.end());
  *run.mutable_caveats() = {caveats.begin(), caveats.end()};
}

v1::Run MeasuredPart(const v1::Run& run) {
  v1::Run part;
  CopyMeasuredFields(run, part);
  for (const v1::Mark& mark : run.marks()) {
    if (IsMeasuredKind(mark.kind())) *part.add_marks() = mark;
  }
  for (const std::string& caveat : run.caveats()) {
    if (IsMeasuredCaveat(caveat)) part.add_caveats(caveat);
  }
  return part;
}

v1::Mark MakeMark(v1::MarkKind kind, const Instant& instant, v1::MarkSource source,
                  const std::string& subject, const std::string& detail) {
  v1::Mark mark;
  mark.set_kind(kind);
  *mark.mutable_at() = ToProto(instant.at);
  mark.set_source(source);
  *mark.mutable_uncertainty() = ToProto(instant.uncertainty);
  mark.set_subject(subject);
  mark.set_detail(detail);
  return mark;
}

v1::Measure MakeMeasure(v1::MarkKind from_kind, const Instant& from, v1::MarkKind to_kind,
                        const Instant& to, const std::string& subject) {
  v1::Measure measure;
  *measure.mutable_value() = ToProto(std::max(Nanoseconds(0), to.at - from.at));
  *measure.mutable_uncertainty() = ToProto(from.uncertainty + to.uncertainty);
  measure.set_from(from_kind);
  measure.set_to(to_kind);
  measure.set_subject(subject);
  return measure;
}

v1::Measure MakeCensored(v1::MarkKind from_kind, const Instant& from, v1::MarkKind to_kind,
                         SystemTime watched, const std::string& subject) {
  v1::Measure measure = MakeMeasure(from_kind, from, to_kind, {watched}, subject);
  measure.set_censored(true);
  return measure;
}

std::string Disagreement(const std::string& alert, SystemTime webhook, SystemTime sample) {
  return fmt::format("alert {}{}{}, the samples {}", alert, kWebhookSays, FormatTime(webhook),
                     FormatTime(sample));
}

std::string SeriesLeftOut(const std::string& alert) {
  return fmt::format("alert {} had over {}{}", alert, kMostAlertSets, kMoreSeries);
}

bool IsMeasuredCaveat(const std::string& caveat) {
  return caveat.find(kWebhookSays) != std::string::npos ||
         caveat.find(kMoreSeries) != std::string::npos;
}

std::string AfterImpact(const Instant& instant, const Instant& impact) {
  return FormatDuration(std::max(Nanoseconds(0), instant.at - impact.at)) +
         " after the first impact";
}

}  // namespace firedrill::controller
