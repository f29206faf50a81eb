// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace firedrill::controller {

/// Work that takes its time, done beside the threads that serve agents and operators, in the order
/// in which it came. Thread-safe.
class BackgroundWork {
 public:
  BackgroundWork(std::size_t threads, std::size_t most_waiting);
  /// Does what waits yet, then returns.
  ~BackgroundWork();
  BackgroundWork(const BackgroundWork&) = delete;
  BackgroundWork& operator=(const BackgroundWork&) = delete;

  /// RESOURCE_EXHAUSTED: too much waits already; `work` is then not called.
  absl::Status Add(std::function<void()> work);

 private:
  void Loop();
  bool Awake() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !waiting_.empty();
  }

  const std::size_t most_waiting_;
  absl::Mutex mutex_;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace firedrill::controller
