// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "agent/host/descriptor.h"
#include "agent/supervisor/supervisor.h"

namespace firedrill::agent {

/// The thread on which a Supervisor lives, and on which its workers are spawned. Thread-safe.
class SupervisorLoop {
 public:
  using Job = std::function<void(Supervisor&)>;

  /// Makes the supervisor on the new thread, lets it clean up after a predecessor, and returns
  /// after that; `recovered` says what could not be cleaned up.
  static absl::StatusOr<std::unique_ptr<SupervisorLoop>> Start(
      std::function<std::unique_ptr<Supervisor>()> make, const Clock& clock,
      absl::Status* recovered);
  /// Kills what is left. Drain first.
  ~SupervisorLoop();
  SupervisorLoop(const SupervisorLoop&) = delete;
  SupervisorLoop& operator=(const SupervisorLoop&) = delete;

  /// Runs `job` on the thread, soon.
  void Post(Job job) ABSL_LOCKS_EXCLUDED(mutex_);
  /// Runs `job` on the thread and waits for it. Not to be called on that thread.
  void Call(const Job& job) ABSL_LOCKS_EXCLUDED(mutex_);
  /// Ends everything and waits until nothing is left; false if `within` was not enough.
  bool Drain(Nanoseconds within) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  SupervisorLoop(Descriptor wake, const Clock& clock) : wake_(std::move(wake)), clock_(clock) {}
  void Run(const std::function<std::unique_ptr<Supervisor>()>& make, absl::Status* recovered);
  void Wait(const Supervisor& supervisor);

  const Descriptor wake_;
  const Clock& clock_;
  absl::Mutex mutex_;
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mutex_);
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool idle_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace firedrill::agent
