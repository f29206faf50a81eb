// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "proto/support/clock.h"

namespace firedrill::agent {

/// The clock of an agent, of its workers and of its successors until the next boot: the wall clock
/// as the first of them found it, which from then on only time moves. A step of the host's wall
/// clock, by the fault clock_step or by anybody, moves no instant that is told with it, nor what
/// the controller knows of its distance. Sleep counts (CLOCK_BOOTTIME). Thread-safe.
class AgentClock : public Clock {
 public:
  /// `state`: the agent's folder, where file `clock` keeps what the clock began with. Where it can
  /// be neither read nor written the clock begins now.
  static std::unique_ptr<AgentClock> Open(const std::string& state, const std::string& boot_id);

  SteadyTime Steady() const override { return Clock::Real().Steady(); }
  SystemTime System() const override;

 private:
  explicit AgentClock(Nanoseconds begun) : begun_(begun) {}
  const Nanoseconds begun_;  // the wall clock - CLOCK_BOOTTIME when it began
};

/// The host's wall clock - CLOCK_BOOTTIME. Only a step changes it: slewing moves both.
struct WallSinceBoot {
  Nanoseconds distance{0};
  Nanoseconds uncertainty{0};  ///< ± of `distance`.
};
WallSinceBoot ReadWallSinceBoot();

/// CLOCK_BOOTTIME: since the kernel started, sleep counted.
Nanoseconds SinceBoot();

}  // namespace firedrill::agent
