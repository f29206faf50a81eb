// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "proto/support/clock.h"

struct ring_buffer;
struct process_exit_bpf;
struct process_start_bpf;

namespace firedrill::agent {

class Host;

/// Something that happened to a process, at the kernel's own instant.
struct TaskEvent {
  enum class Kind { kFork, kExec, kExit };
  Kind kind = Kind::kExit;
  SteadyTime at;     ///< CLOCK_MONOTONIC, taken inside the tracepoint.
  int pid = 0;       ///< As this process' pid namespace counts.
  int parent = 0;    ///< Of a fork; 0 if it is in another pid namespace, and for other kinds.
  std::string name;  ///< The short name then; a child's is its parent's until it executes.
};

/// Beginnings and ends of processes as the kernel's tracepoints see them (BPF; the kernel removes
/// the programs when this process dies). At most some thousands of events wait to be taken; what
/// comes beyond is lost and counted. Thread-safe.
class TaskEvents {
 public:
  enum class What {
    kExits,           ///< Of watched processes; opens within a millisecond.
    kExitsAndStarts,  ///< And every fork and exec; opens within some tens of milliseconds.
  };

  /// UNIMPLEMENTED or PERMISSION_DENIED say what is missing and what to do about it.
  static absl::StatusOr<std::unique_ptr<TaskEvents>> Open(What what);
  ~TaskEvents();
  TaskEvents(const TaskEvents&) = delete;
  TaskEvents& operator=(const TaskEvents&) = delete;

  /// Tells the end of `pid`, once. Its end is that of its first thread: a process whose first
  /// thread has left before is never told. RESOURCE_EXHAUSTED: some thousands are watched already.
  absl::Status WatchExit(int pid);

  /// Readable when events wait.
  int fd() const;
  /// The events that wait, in the order of their instants. Does not block.
  std::vector<TaskEvent> Take() ABSL_LOCKS_EXCLUDED(mutex_);
  /// How many did not fit so far.
  std::uint64_t lost() const;

 private:
  TaskEvents() = default;
  absl::Status Load(What what);
  static int Collect(void* self, void* data, std::size_t size);

  mutable absl::Mutex mutex_;
  ring_buffer* ring_ = nullptr;
  process_exit_bpf* exits_ = nullptr;
  process_start_bpf* starts_ = nullptr;
  std::vector<TaskEvent> taken_ ABSL_GUARDED_BY(mutex_);
};

/// An instant of the monotonic clock on the wall clock, and how far that may be off.
struct WallInstant {
  SystemTime at;
  Nanoseconds uncertainty{0};
};
WallInstant OnWallClock(const Clock& clock, SteadyTime at);

}  // namespace firedrill::agent
