// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "controller/measure/measure.h"

namespace firedrill::controller {

/// The instants of one alert's detection, all on the controller's clock. Those of evaluations are
/// when the rule was evaluated, also where `query_offset` stamps its samples earlier.
struct DetectionInstants {
  Instant impact;
  /// The first evaluation at which the rule's expression held: pending, or firing without `for`.
  Instant active;
  Instant firing;
  std::optional<Instant> notified;
};

/// What the time to detect is made of, and what comes after it until the notification. The stages
/// follow each other without a gap, each from the end of the one before: their values add up
/// exactly, to the nanosecond, to firing - impact, and with the last two to notified - impact. A
/// stage that takes no time is left out, and what lies before its predecessor, within the clocks'
/// uncertainty, takes none. What cannot be told apart for lack of data is one stage that says so.
/// There may be several of kind DELAY. The rules stand at the top of stages.cc.
std::vector<v1::Stage> StagesOf(const DetectionInstants& instants, const AlertEvidence& evidence);

}  // namespace firedrill::controller
