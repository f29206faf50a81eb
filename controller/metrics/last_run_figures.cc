// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "controller/measure/without_fault.h"
#include "controller/metrics/figures.h"
#include "controller/metrics/outcomes.h"
#include "controller/statistics/fault_label.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

// The alert that fired first: its stages add up to the run's time to detect.
const v1::AlertResult* FirstAlert(const v1::Run& run) {
  const v1::AlertResult* first = nullptr;
  for (const v1::AlertResult& alert : run.alerts()) {
    if (alert.stages().empty() || !alert.has_time_to_detect()) continue;
    if (first == nullptr ||
        FromProto(alert.time_to_detect().value()) < FromProto(first->time_to_detect().value())) {
      first = &alert;
    }
  }
  return first;
}

}  // namespace

void PutLastRun(const Page::Labels& labels, const v1::Run& run, Page& page) {
  const auto with = [&labels](const std::string& name, const std::string& value) {
    Page::Labels all = labels;
    all[name] = value;
    return all;
  };
  if (run.has_finished_at()) {
    page.Gauge("firedrill_last_run_timestamp_seconds", "When the last run was finished.", labels,
               Seconds(FromProto(run.finished_at()).time_since_epoch()));
  }
  Page::Labels outcome = labels;
  outcome["verdict"] = VerdictLabel(run.verdict().verdict());
  outcome["detection"] = DetectionLabel(run.detection());
  outcome["recovery"] = RecoveryLabel(run.recovery());
  page.Gauge("firedrill_last_run_info", "Always 1; what came of the last run is in the labels.",
             outcome, 1);
  for (const Timed& timed : kTimes) {
    if (const auto seconds = Happened(run, timed)) {
      page.Gauge(std::string("firedrill_last_time_to_") + timed.what + "_seconds",
                 std::string(timed.help) + ", in the last run; absent if it did not happen.",
                 labels, *seconds);
    }
  }
  if (run.detection() == v1::DETECTION_OUTCOME_MISSED && run.time_to_detect().censored()) {
    page.Gauge("firedrill_last_undetected_for_seconds",
               "How long the last run was watched for an alert in vain; absent if it was detected.",
               labels, Seconds(FromProto(run.time_to_detect().value())));
  }
  if (run.recovery() == v1::RECOVERY_OUTCOME_NOT_RECOVERED && run.time_to_recover().censored()) {
    page.Gauge("firedrill_last_unrecovered_for_seconds",
               "How long the last run was watched for recovery in vain; absent if it recovered.",
               labels, Seconds(FromProto(run.time_to_recover().value())));
  }
  if (const v1::AlertResult* alert = FirstAlert(run)) {
    std::map<std::string, double> stages;
    for (const v1::Stage& stage : alert->stages()) {
      stages[LabelOf(v1::StageKind_Name(stage.kind()), "STAGE_KIND_")] +=
          Seconds(FromProto(stage.value()));
    }
    for (const auto& [stage, seconds] : stages) {
      page.Gauge("firedrill_last_detection_stage_seconds",
                 "Parts of the last run's time to detect and, with grouping and delivery, to "
                 "notify; absent if it was not detected.",
                 with("stage", stage), seconds);
    }
  }
  for (const v1::AlertResult& alert : run.alerts()) {
    if (!alert.has_time_to_detect() || alert.time_to_detect().censored()) continue;
    page.Gauge("firedrill_last_alert_time_to_detect_seconds",
               "From the first impact to this alert's firing, in the last run.",
               with("alert", alert.expected().alert()),
               Seconds(FromProto(alert.time_to_detect().value())));
  }
  for (const v1::IndicatorResult& indicator : run.indicators()) {
    const Page::Labels of = with("indicator", indicator.indicator().name());
    if (indicator.has_lowest_quality()) {
      page.Gauge("firedrill_last_lowest_quality_ratio",
                 "The indicator's worst share of its baseline after the impact, in the last run.",
                 of, indicator.lowest_quality());
    }
    if (indicator.has_lost()) {
      page.Gauge("firedrill_last_lost_service_seconds",
                 "So much full service was lost in the last run: the area under the baseline.", of,
                 Seconds(FromProto(indicator.lost())));
    }
    if (indicator.has_budget_burned()) {
      page.Gauge("firedrill_last_budget_burned_ratio",
                 "Share of the objective's error budget that the last run burned.", of,
                 indicator.budget_burned());
    }
    if (indicator.has_floor_held()) {
      page.Gauge("firedrill_last_floor_held",
                 "1: the floor of graceful degradation held in the last run; 0: it did not.", of,
                 indicator.floor_held() ? 1 : 0);
    }
  }
}

void PutExperiment(const v1::Experiment& experiment, Page& page) {
  page.Gauge("firedrill_experiment_info", "Always 1; experiments that ran or are applied.",
             {{"experiment", experiment.name()},
              {"fault", FaultLabel(experiment)},
              {"environment", experiment.environment()}},
             1);
  std::map<std::string, double> objectives;
  for (const v1::Detection& detection : experiment.detection()) {
    if (!detection.has_within() || !ExpectsFiring(experiment, detection)) continue;
    const double within = Seconds(FromProto(detection.within()));
    const auto [found, fresh] = objectives.emplace(detection.alert(), within);
    if (!fresh) found->second = std::min(found->second, within);
  }
  for (const auto& [alert, within] : objectives) {
    page.Gauge("firedrill_detection_objective_seconds",
               "So soon after the first impact the experiment wants this alert to fire.",
               {{"experiment", experiment.name()}, {"alert", alert}}, within);
  }
}

}  // namespace firedrill::controller
