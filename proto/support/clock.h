// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

namespace firedrill {

using SteadyTime = std::chrono::steady_clock::time_point;  ///< For leases and deadlines.
using SystemTime =
    std::chrono::time_point<std::chrono::system_clock, std::chrono::nanoseconds>;  ///< For history.
using Nanoseconds = std::chrono::nanoseconds;

/// The only source of time: nothing else calls now() or sleeps. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual SteadyTime Steady() const = 0;
  virtual SystemTime System() const = 0;

  /// The machine's own clocks: CLOCK_MONOTONIC and CLOCK_REALTIME.
  static const Clock& Real();
};

/// A clock that moves only when told, for tests. Not thread-safe while it is moved.
class FakeClock : public Clock {
 public:
  SteadyTime Steady() const override { return steady_; }
  SystemTime System() const override { return system_; }
  void Advance(Nanoseconds by) {
    steady_ += by;
    system_ += by;
  }
  /// Moves the wall clock alone, as a step of time synchronisation does.
  void StepSystem(Nanoseconds by) { system_ += by; }

 private:
  SteadyTime steady_{std::chrono::hours(1)};
  SystemTime system_{std::chrono::seconds(1'800'000'000)};
};

}  // namespace firedrill
