// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "proto/support/clock.h"

namespace firedrill::test {

/// When this machine ran nothing at all on a core, not even its foremost thread: a virtual
/// machine's host was busy, or something stands above all programs. Bounds on answers are bounds on
/// what a program does with a machine, and allow for that; nothing that a fault or another program
/// does counts, unless it has the highest realtime priority. Thread-safe.
class StallWatch {
 public:
  /// Throws std::runtime_error where this process may not have realtime priority.
  StallWatch();
  ~StallWatch();
  StallWatch(const StallWatch&) = delete;
  StallWatch& operator=(const StallWatch&) = delete;

  /// For how long, within this time, cores ran nothing: the sum over all of them, of what is longer
  /// than a millisecond.
  Nanoseconds Between(SteadyTime from, SteadyTime to) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Stall {
    SteadyTime from, to;
  };
  struct Core {
    int number;
    std::atomic<std::int64_t> seen_ns{0};  // when its thread ran last
  };
  void Watch(Core& core) ABSL_LOCKS_EXCLUDED(mutex_);

  std::atomic<bool> stop_{false};
  std::atomic<int> ready_{0};
  std::atomic<bool> failed_{false};
  mutable absl::Mutex mutex_;
  std::vector<Stall> stalls_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Core>> cores_;
  std::vector<std::thread> threads_;
};

}  // namespace firedrill::test
