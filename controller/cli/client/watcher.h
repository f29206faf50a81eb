// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "controller/cli/client/client.h"
#include "firedrill/v1/run.pb.h"
#include "proto/support/clock.h"

namespace firedrill::cli {

/// Follows one run in a thread of its own, over restarts of the controller: it asks again, with a
/// backoff, for as long as `patience` after the last word. Thread-safe.
class RunWatcher {
 public:
  /// What is known now.
  struct State {
    std::optional<v1::Run> run;  ///< With all samples so far.
    bool connected = true;
    absl::Status error;  ///< Of the connection; of giving up once `over`.
    bool over = false;   ///< Finished, or given up: nothing more will come.
  };

  RunWatcher(Client* client, std::string run_id, Nanoseconds patience, const Clock& clock);
  ~RunWatcher();
  RunWatcher(const RunWatcher&) = delete;
  RunWatcher& operator=(const RunWatcher&) = delete;

  /// Readable (poll) when something changed since the last Get.
  int descriptor() const { return event_; }
  State Get();

 private:
  void Follow();
  void Take(v1::Run run, bool first);
  void Notify();
  /// False when the watcher is being destroyed.
  bool Pause(Nanoseconds duration);

  Client* const client_;
  const std::string run_id_;
  const Nanoseconds patience_;
  const Clock& clock_;
  const int event_;
  absl::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<Client::Watch> watch_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace firedrill::cli
