// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "agent/host/sleeping_threads.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

class Host;

struct PidOptions {
  std::uint64_t leave = 0;  ///< So many stay free.
  std::string thread_name;  ///< At most 15 bytes.
  /// How many further ones the kernel would grant now; called on the holder's thread.
  std::function<absl::StatusOr<std::uint64_t>()> free;
};

/// Holds pids by threads that sleep until they are told to end. What others free is taken, too,
/// unless it is taken by others within a tenth of a second; what others take of those left is
/// theirs. Destroying it ends the threads.
class PidHolder {
 public:
  /// Thread-safe.
  struct Figures {
    std::uint64_t held = 0;
    std::uint64_t free = 0;           ///< At the last look.
    std::optional<SystemTime> first;  ///< No more than `leave` were free, ±
    Nanoseconds first_within{0};      ///< this.
    absl::Status broken;              ///< Why it has stopped by itself.
  };

  PidHolder(const Host& host, PidOptions options);
  PidHolder(const PidHolder&) = delete;
  PidHolder& operator=(const PidHolder&) = delete;
  ~PidHolder();

  /// Waits until no more than `leave` are free, but no longer than `within`; what broke it, if
  /// anything did.
  absl::Status AwaitHeld(Nanoseconds within);
  /// Takes nothing for so long: what was freed is meant for somebody. Thread-safe.
  void Rest(Nanoseconds duration);
  /// Ends the threads. Idempotent.
  void Stop();
  Figures figures() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run();

  const Host& host_;
  const PidOptions options_;
  std::atomic<bool> stop_{false};
  SleepingThreads sleepers_;                    // of the thread alone
  std::atomic<std::int64_t> rest_until_ns_{0};  // steady time
  mutable absl::Mutex mutex_;
  Figures figures_ ABSL_GUARDED_BY(mutex_);
  bool settled_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace firedrill::agent
