// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "agent/host/cgroups.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

class Host;

/// What a burner is to the scheduler.
enum class BurnerClass {
  kNormal,    ///< As any other program.
  kNice,      ///< Nice -20: before others of the same cgroup.
  kRealtime,  ///< SCHED_RR: before all but other realtime threads.
};

struct BurnerOptions {
  int core = 0;
  double share = 0;     ///< Of the core, 0 to 1.
  bool fill = false;    ///< Up to `share` together with what others use.
  Nanoseconds ramp{0};  ///< Rises evenly from nothing for so long.
  /// Two burners may divide a core's share: this one takes what exceeds `above`, and at most
  /// `most`.
  double above = 0;
  double most = 1;
  BurnerClass scheduling = BurnerClass::kNormal;
  std::optional<Cgroup> cgroup;  ///< That the thread enters by itself; v1 only.
  std::string thread_name;       ///< At most 15 bytes, as /proc/PID/task/TID/comm shows it.
  /// Nanoseconds that all burners of the core have burnt; they share it.
  std::shared_ptr<std::atomic<std::int64_t>> core_burnt;
};

/// Keeps one core busy by a pinned thread: periods of 10 ms with ±10 % dither; what is burnt
/// follows the thread's own CPU time, so that being preempted or throttled is made up for where
/// there is room. Destroying it ends the thread.
class Burner {
 public:
  /// How the thread fared. Thread-safe.
  struct Figures {
    double cpu_seconds = 0;      ///< Burnt in all.
    double asked_share = 0;      ///< Of the core, over the last whole second: with the ramp, and
    double achieved_share = 0;   ///< less others' use. And what came of it.
    double starved_seconds = 0;  ///< Asked for, not had, and not made up for.
    double waited_seconds = 0;   ///< Ready to run while others held the core, says the kernel.
    std::optional<SystemTime> first_slice;  ///< When the kernel first counted CPU time for it, ±
    Nanoseconds first_slice_length{0};      ///< this.
  };

  Burner(const Host& host, BurnerOptions options);
  Burner(const Burner&) = delete;
  Burner& operator=(const Burner&) = delete;
  ~Burner();

  /// Waits until the thread runs and the kernel shows it on its core alone, in its class and
  /// cgroup.
  absl::Status Confirm(Nanoseconds within);
  /// Idempotent.
  void Stop();
  Figures figures() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run();
  absl::Status SetUp() const;
  absl::Status Pin() const;
  /// `others`: the share of the core that they use.
  double Goal(Nanoseconds elapsed, double others) const;

  const Host& host_;
  const BurnerOptions options_;
  std::atomic<bool> stop_{false};
  mutable absl::Mutex mutex_;
  std::optional<absl::Status> ready_ ABSL_GUARDED_BY(mutex_);
  Figures figures_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

/// Makes the calling thread what `scheduling` says, whatever it was, and reads it back.
absl::Status EnterClass(BurnerClass scheduling);

}  // namespace firedrill::agent
