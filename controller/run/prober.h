// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "controller/run/machine.h"

namespace firedrill::controller {

/// Asks the probe on a thread of its own, so that a slow Prometheus never delays an abort.
/// Thread-safe.
class Prober {
 public:
  using Recent = std::function<void(const ProbeAnswer&)>;
  using Done = std::function<void(const ProbeAnswers&)>;

  explicit Prober(Probe& probe);
  /// Waits for a question that is being asked, at most for the probe's deadline.
  ~Prober();
  Prober(const Prober&) = delete;
  Prober& operator=(const Prober&) = delete;

  /// `recent` is called with the recent part as soon as it is there, then `done` with all; both on
  /// the prober's thread.
  void Ask(ProbeQuestions questions, Recent recent, Done done);

 private:
  struct Job {
    ProbeQuestions questions;
    Recent recent;
    Done done;
  };
  void Loop();
  bool Ready() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || !jobs_.empty(); }

  Probe& probe_;
  absl::Mutex mutex_;
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace firedrill::controller
