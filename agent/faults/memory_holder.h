// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "agent/faults/fault.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

class Host;

struct MemoryOptions {
  std::uint64_t bytes = 0;  ///< To be held in the end.
  std::uint64_t floor = 0;  ///< So much stays available.
  Nanoseconds ramp{0};      ///< Rises evenly from nothing for so long.
  std::string thread_name;  ///< At most 15 bytes.
  /// Bytes that are available now; called several times a second on the holder's thread.
  std::function<absl::StatusOr<std::uint64_t>()> available;
};

/// Holds memory by a thread of its own: pages written with numbers that no two of them share, so
/// that neither merging nor compression gives them back. Looks at what is available before each
/// chunk that it takes, and ten times a second; below the floor it gives back at once, and takes
/// again when others leave more. Destroying it frees everything.
class MemoryHolder {
 public:
  /// Thread-safe.
  struct Figures {
    std::uint64_t taken = 0;      ///< Mapped and written, by our own books.
    std::uint64_t available = 0;  ///< At the last look.
    std::uint64_t given_back = 0;
    std::optional<SystemTime> first;  ///< The first page was resident, ± half of
    Nanoseconds first_took{0};        ///< what it took.
    std::vector<ImpactEvent> events;  ///< gave_back; at most 100.
    absl::Status broken;              ///< Why it has stopped by itself.
  };

  MemoryHolder(const Host& host, MemoryOptions options);
  MemoryHolder(const MemoryHolder&) = delete;
  MemoryHolder& operator=(const MemoryHolder&) = delete;
  ~MemoryHolder();

  /// Waits until all is held that the floor and the ramp allow, but no longer than `within`; then
  /// OK if something is held, or rises with the ramp.
  absl::Status AwaitTaken(Nanoseconds within);
  /// Frees everything. Idempotent.
  void Stop();
  Figures figures() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Chunk {
    void* start;
    std::size_t size;
  };

  void Run();
  /// Bytes to hold `elapsed` after the start.
  std::uint64_t Goal(Nanoseconds elapsed) const;
  absl::Status Take(std::size_t size);
  void GiveBack(std::uint64_t missing, std::uint64_t available);
  void Free(const Chunk& chunk);

  const Host& host_;
  const MemoryOptions options_;
  const std::size_t chunk_;
  std::atomic<bool> stop_{false};
  // Of the thread alone.
  std::vector<Chunk> chunks_;
  std::uint64_t taken_ = 0;
  std::uint64_t next_word_;
  mutable absl::Mutex mutex_;
  Figures figures_ ABSL_GUARDED_BY(mutex_);
  bool settled_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace firedrill::agent
