// SPDX-License-Identifier: Apache-2.0
#include "controller/statistics/trend.h"

#include <algorithm>

#include "controller/measure/without_fault.h"
#include "controller/statistics/fault_label.h"
#include "controller/statistics/survival.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

// Whether one of the expected alerts may have fired without our knowing, so that a time in which
// none did says nothing.
bool MayHaveFired(const v1::Run& run) {
  return std::any_of(run.alerts().begin(), run.alerts().end(), [&](const v1::AlertResult& alert) {
    return ExpectsFiring(run.experiment(), alert.expected()) &&
           (alert.outcome() == v1::DETECTION_OUTCOME_ALREADY_FIRING ||
            alert.outcome() == v1::DETECTION_OUTCOME_UNKNOWN);
  });
}

v1::TrendPoint PointOf(const v1::Run& run) {
  v1::TrendPoint point;
  point.set_run_id(run.id());
  point.set_experiment(run.experiment().name());
  point.set_fault(FaultLabel(run.experiment()));
  *point.mutable_at() = run.created_at();
  point.set_verdict(run.verdict().verdict());
  point.set_detection(run.detection());
  point.set_recovery(run.recovery());
  // Whatever the verdict; runs of older versions have no such evidence.
  point.set_aborted(run.evidence().cut_short() || run.verdict().verdict() == v1::VERDICT_ABORTED);
  if (run.has_time_to_detect() && (!run.time_to_detect().censored() || !MayHaveFired(run))) {
    *point.mutable_time_to_detect() = run.time_to_detect();
  }
  if (run.has_time_to_recover()) *point.mutable_time_to_recover() = run.time_to_recover();
  return point;
}

Observation ObservationOf(const v1::Measure& measure) {
  return {FromProto(measure.value()), measure.censored()};
}

}  // namespace

v1::GetTrendResponse TrendOf(const std::vector<v1::Run>& runs) {
  v1::GetTrendResponse trend;
  std::vector<Observation> detected;
  std::vector<Observation> recovered;
  std::uint32_t detection_aborted = 0;
  std::uint32_t recovery_aborted = 0;
  for (const v1::Run& run : runs) {
    const v1::TrendPoint& point = *trend.add_points() = PointOf(run);
    if (point.aborted()) {
      // Only where there was something to wait for.
      const bool expected =
          std::any_of(run.alerts().begin(), run.alerts().end(), [&](const v1::AlertResult& alert) {
            return ExpectsFiring(run.experiment(), alert.expected());
          });
      detection_aborted += expected ? 1 : 0;
      recovery_aborted += run.indicators_size() > 0 ? 1 : 0;
      continue;
    }
    if (point.has_time_to_detect()) detected.push_back(ObservationOf(point.time_to_detect()));
    if (point.has_time_to_recover()) recovered.push_back(ObservationOf(point.time_to_recover()));
  }
  *trend.mutable_detection() = Estimate(std::move(detected), detection_aborted);
  *trend.mutable_recovery() = Estimate(std::move(recovered), recovery_aborted);
  return trend;
}

}  // namespace firedrill::controller
