// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

#include "proto/support/clock.h"

namespace firedrill::controller {

/// The clocks are aligned anew for each answer of Prometheus: instants that answers tell so near to
/// each other may be one.
inline constexpr Nanoseconds kSameInstant = std::chrono::milliseconds(20);

/// The end of a wait that ends at an evaluation, `interval` apart; unknown (0): the wait itself.
constexpr Nanoseconds RoundedUp(Nanoseconds wait, Nanoseconds interval) {
  if (interval.count() <= 0) return wait;
  return (wait + interval - Nanoseconds(1)) / interval * interval;
}

}  // namespace firedrill::controller
