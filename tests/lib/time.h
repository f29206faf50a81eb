// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>

#include "proto/support/clock.h"

// Time in tests, on a machine that may be busy.
namespace firedrill::test {

/// Does it until it took less than `bound`, at most five times, and returns the least that it took.
/// What a busy machine does to one of them it hardly does to five; a wait of its own is in each.
template <typename Action>
Nanoseconds Quickest(Action action, Nanoseconds bound) {
  Nanoseconds least = Nanoseconds::max();
  for (int tries = 0; tries < 5 && least >= bound; ++tries) {
    const SteadyTime begin = Clock::Real().Steady();
    action();
    least = std::min<Nanoseconds>(least, Clock::Real().Steady() - begin);
  }
  return least;
}

/// Goes as the machine's clocks do, ahead of them by as much as it is told: for what waits on
/// threads of its own. Thread-safe.
class ClockAhead : public Clock {
 public:
  SteadyTime Steady() const override { return Clock::Real().Steady() + ahead_.load(); }
  SystemTime System() const override { return Clock::Real().System() + ahead_.load(); }
  void Advance(Nanoseconds by) { ahead_ = ahead_.load() + by; }

 private:
  std::atomic<Nanoseconds> ahead_{Nanoseconds(0)};
};

}  // namespace firedrill::test
