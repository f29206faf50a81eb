// SPDX-License-Identifier: Apache-2.0
#include "controller/service/background.h"

#include <fmt/format.h>

#include <utility>

namespace firedrill::controller {

BackgroundWork::BackgroundWork(std::size_t threads, std::size_t most_waiting)
    : most_waiting_(most_waiting) {
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Loop(); });
}

BackgroundWork::~BackgroundWork() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

absl::Status BackgroundWork::Add(std::function<void()> work) {
  absl::MutexLock lock(&mutex_);
  if (waiting_.size() >= most_waiting_) {
    return absl::ResourceExhaustedError(
        fmt::format("{} such questions wait already; ask again later", waiting_.size()));
  }
  waiting_.push_back(std::move(work));
  return absl::OkStatus();
}

void BackgroundWork::Loop() {
  while (true) {
    std::function<void()> work;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &BackgroundWork::Awake));
      if (waiting_.empty()) return;  // stopping
      work = std::move(waiting_.front());
      waiting_.pop_front();
    }
    work();
  }
}

}  // namespace firedrill::controller
