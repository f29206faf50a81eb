// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "controller/store/store.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// The next time that the experiment's schedule names, after what has been dealt with; nothing
/// without a schedule.
std::optional<SystemTime> NextRunAt(const StoredExperiment& experiment);

/// What a schedule asks for at one moment.
enum class Due {
  kNothing,  ///< The next time lies ahead.
  kRun,      ///< A time has come, or was missed and is to be made up for: one run.
  kMissed,   ///< A time passed while no controller ran, and is to be skipped.
};

/// Pure. A time counts as missed when it is more than a minute old.
Due Decide(const StoredExperiment& experiment, SystemTime now);

/// Starts runs of applied experiments when their schedules say so. A time is marked as dealt with
/// on disk before its run is asked for: at most one run for each, whatever crashes.
class Scheduler {
 public:
  /// Asks for a run; `busy` tells whether one of this experiment is under way. Called on the
  /// scheduler's thread.
  struct Hooks {
    std::function<void(const v1::Experiment&)> start;
    std::function<bool(const std::string& experiment)> busy;
  };

  Scheduler(Store& store, const Clock& clock, Hooks hooks);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// Looks every second, on a thread of its own.
  void Start();
  /// One look: what the thread does. Errors of the store are logged; the next look tries again.
  void Look();

 private:
  void Loop();
  void Handle(const StoredExperiment& stored, SystemTime now);
  void Note(const StoredExperiment& stored, const std::string& action, const std::string& detail);

  Store& store_;
  const Clock& clock_;
  const Hooks hooks_;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace firedrill::controller
