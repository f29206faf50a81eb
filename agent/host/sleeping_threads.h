// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace firedrill::agent {

/// Threads of this process that only sleep, and so hold pids at the price of a page or two each.
/// Not thread-safe.
class SleepingThreads {
 public:
  SleepingThreads() = default;
  ~SleepingThreads() { End(); }
  SleepingThreads(const SleepingThreads&) = delete;
  SleepingThreads& operator=(const SleepingThreads&) = delete;

  /// Starts `count` more; false if the kernel grants fewer now.
  bool Add(std::size_t count);
  /// Ends all and waits until they are gone; how many there were.
  std::size_t End();
  std::size_t size() const { return threads_.size(); }

 private:
  std::vector<pthread_t> threads_;
  std::atomic<std::uint32_t> wake_{0};
};

}  // namespace firedrill::agent
