// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "agent/host/processes.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

class Host;

/// Holds processes still by ptrace (PTRACE_SEIZE, PTRACE_INTERRUPT; see ptrace(2)), on a thread of
/// its own, for the kernel ties a tracee to the thread that traces it. When that thread ends,
/// however it does, the kernel lets all of them run. Signals that come meanwhile wait, apart from
/// SIGKILL, which works at once; a process that was stopped (SIGSTOP) before is so afterwards.
/// Thread-safe.
class Tracer {
 public:
  struct Stopped {
    SteadyTime asked_at;    ///< Before the first process was asked to stop.
    SteadyTime stopped_at;  ///< When every thread of that process was seen to stand still.
    int processes = 0;
    int threads = 0;
  };

  /// Stops every thread of all of `processes`; if one of them cannot be stopped within `within`
  /// none is. NOT_FOUND: all of them have ended. FAILED_PRECONDITION: one is traced by somebody
  /// else (said who). PERMISSION_DENIED, DEADLINE_EXCEEDED: said which and what to do. `host` must
  /// outlive it.
  static absl::StatusOr<std::unique_ptr<Tracer>> Stop(const Host& host,
                                                      std::vector<Process> processes,
                                                      Nanoseconds within);
  /// As Release.
  ~Tracer();
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  const Stopped& stopped() const { return stopped_; }
  /// How many of the processes have ended since they were stopped.
  int ended() const { return ended_; }

  /// Lets all of them run. Idempotent.
  void Release();

 private:
  struct Thread {
    int process = 0;
    bool still = false;
  };

  Tracer(const Host& host, std::vector<Process> processes)
      : host_(host), processes_(std::move(processes)) {}

  void Run(Nanoseconds within);
  absl::Status StopAll(SteadyTime deadline);
  absl::Status SeizeAll(const Process& process);
  absl::Status Seize(const Process& process, int thread);
  absl::Status WaitUntilStill(SteadyTime deadline);
  // Takes one thing that happened to a traced thread; false if there was none.
  bool TakeNews(bool blocks);
  void StoodStill(int thread);
  void Ended(int thread);
  void Linger();
  void DetachAll();
  void Report(absl::Status status) ABSL_LOCKS_EXCLUDED(mutex_);

  const Host& host_;
  // The thread's, while it runs.
  std::vector<Process> processes_;
  std::map<int, Thread> threads_;
  Stopped stopped_;
  std::atomic<int> ended_ = 0;
  std::atomic<int> id_ = 0;  // of the thread
  std::atomic<bool> release_ = false;
  std::atomic<bool> released_ = false;
  absl::Mutex mutex_;
  bool reported_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status result_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

/// A thread of `pid` that stands still as a traced one does (state 't') though nobody traces it.
std::optional<int> UntracedButStill(const Host& host, int pid);

/// OK if this process may trace others' processes: tried on a child of its own, and what more is
/// needed for others is looked up. UNIMPLEMENTED or PERMISSION_DENIED say what to do.
absl::Status TryTracing(const Host& host);

}  // namespace firedrill::agent
