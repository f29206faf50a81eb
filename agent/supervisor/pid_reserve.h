// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace firedrill::agent {

/// Threads that only sleep, and so hold pids, which the agent gives up when it needs to start a
/// worker while its host has none left: its own faults may have seen to that. Not thread-safe.
class PidReserve {
 public:
  explicit PidReserve(std::size_t count) : count_(count) {}
  ~PidReserve() { Release(); }
  PidReserve(const PidReserve&) = delete;
  PidReserve& operator=(const PidReserve&) = delete;

  /// Holds as many as it may; fewer if the kernel grants no more.
  void Fill();
  /// Frees them. False if there were none.
  bool Release();

 private:
  const std::size_t count_;
  std::vector<pthread_t> sleepers_;
  std::atomic<std::uint32_t> wake_{0};
};

}  // namespace firedrill::agent
