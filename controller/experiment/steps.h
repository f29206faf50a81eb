// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "firedrill/v1/experiment.pb.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// When a step begins: `delay` after every step in `after` has ended, or, without any, after the
/// start of the method.
struct StepTiming {
  std::vector<int> after;   ///< Indices into the method.
  Nanoseconds delay{0};     ///< What `at` says.
  Nanoseconds earliest{0};  ///< Start after the method's start, if every step ends in time.
  Nanoseconds duration{0};  ///< 0 for an event.
};

/// The timing of each step of the method, in its order. A step without `after` and `at` follows the
/// step before it. InvalidArgument for an unknown or doubled name, and for a cycle, which it shows.
absl::StatusOr<std::vector<StepTiming>> TimeSteps(const v1::Experiment& experiment);

/// From the start of the method to the end of the last fault.
Nanoseconds MethodLength(const std::vector<StepTiming>& steps);

}  // namespace firedrill::controller
