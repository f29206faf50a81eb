// SPDX-License-Identifier: Apache-2.0
#include "controller/measure/without_fault.h"

#include <algorithm>

namespace firedrill::controller {

bool InjectsNothing(const v1::Experiment& experiment) {
  return !experiment.method().empty() &&
         std::all_of(experiment.method().begin(), experiment.method().end(),
                     [](const v1::Step& step) { return step.fault().has_none(); });
}

v1::Detection ExpectedOf(const v1::Experiment& experiment, int i) {
  v1::Detection expected = experiment.detection(i);
  if (InjectsNothing(experiment)) {
    expected.set_expect(v1::EXPECTATION_SILENT);
    expected.clear_within();
  }
  return expected;
}

bool ExpectsFiring(const v1::Experiment& experiment, const v1::Detection& detection) {
  return detection.expect() != v1::EXPECTATION_SILENT && !InjectsNothing(experiment);
}

std::uint32_t FalseAlarmsIn(const v1::AlertResult& result) {
  if (result.outcome() != v1::DETECTION_OUTCOME_FALSE_ALARM) return 0;
  // One that only a webhook told of has no samples to count.
  return std::max<std::uint32_t>(1, result.episodes());
}

}  // namespace firedrill::controller
