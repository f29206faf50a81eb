// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

class Host;

struct BurnerOptions {
  int core = 0;
  double share = 0;         ///< Of the core, 0 to 1.
  bool fill = false;        ///< Up to `share` together with what others use.
  Nanoseconds ramp{0};      ///< Rises evenly from nothing for so long.
  std::string thread_name;  ///< At most 15 bytes, as /proc/PID/task/TID/comm shows it.
};

/// Keeps one core busy by a pinned thread: periods of 10 ms with ±10 % dither; what is burnt
/// follows the thread's own CPU time, so that being preempted or throttled is made up for where
/// there is room. Destroying it ends the thread.
class Burner {
 public:
  /// How the thread fared. Thread-safe.
  struct Figures {
    double cpu_seconds = 0;     ///< Burnt in all.
    double asked_share = 0;     ///< Of the core, now: with the ramp, and less others' use.
    double achieved_share = 0;  ///< Of the core, over the last second.
    std::optional<SystemTime> first_slice;  ///< The end of the first slice that was burnt.
    Nanoseconds first_slice_length{0};
  };

  Burner(const Host& host, BurnerOptions options);
  Burner(const Burner&) = delete;
  Burner& operator=(const Burner&) = delete;
  ~Burner();

  /// Waits until the thread runs and the kernel shows it on its core alone.
  absl::Status Confirm(Nanoseconds within);
  /// Idempotent.
  void Stop();
  Figures figures() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run();
  absl::Status Pin() const;
  double Goal(Nanoseconds elapsed, double others) const;

  const Host& host_;
  const BurnerOptions options_;
  std::atomic<bool> stop_{false};
  mutable absl::Mutex mutex_;
  std::optional<absl::Status> pinned_ ABSL_GUARDED_BY(mutex_);
  Figures figures_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace firedrill::agent
