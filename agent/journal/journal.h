// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

/// What must be undone by somebody if its writer dies before it has done so itself.
struct UndoRecord {
  std::string id;
  std::string kind;       ///< Names the undo function: "clsact".
  std::string boot_id;    ///< Of the boot during which it was written.
  bool same_boot = true;  ///< False: a reboot has undone what lived in the kernel's memory.
  int writer = 0;         ///< Pid of the process that wrote it.
  SystemTime written_at;
  std::map<std::string, std::string> values;
};

/// Name of a record's value: the injection that cannot have ended before the record is undone.
inline constexpr const char* kInjectionOfRecord = "injection";

/// Undo records on disk, one file each, for what the kernel does not undo when its owner dies.
/// Written, and on the disk (fsync), before the act; forgotten after it was undone. A starting
/// agent replays what is left before it says hello; so does a running one when a worker has died.
///
///     ASSIGN_OR_RETURN(const std::string id, journal.Record("clsact", {{"device", "eth0"}}));
///     … act …   … undo …
///     RETURN_IF_ERROR(journal.Forget(id));
///
/// Several processes may share a folder. Thread-safe.
class Journal {
 public:
  struct Contents {
    std::vector<UndoRecord> records;      ///< Oldest first.
    std::vector<std::string> unreadable;  ///< One sentence for each file that holds no record.
  };
  using Undo = std::function<absl::Status(const UndoRecord&)>;

  /// Makes `folder` (0700) if there is none. `boot_id` is this boot's.
  static absl::StatusOr<std::unique_ptr<Journal>> Open(std::string folder, std::string boot_id,
                                                       const Clock& clock = Clock::Real());

  /// The new record's id. When this returns OK the record survives a crash of the machine.
  absl::StatusOr<std::string> Record(const std::string& kind,
                                     const std::map<std::string, std::string>& values);

  /// As Record, unless another record `conflicts`, whoever wrote it: FAILED_PRECONDITION then, with
  /// `refusal`, and nothing stays written. Of two that record at the same time at most one gets
  /// its record; both may be refused.
  absl::StatusOr<std::string> RecordAlone(const std::string& kind,
                                          const std::map<std::string, std::string>& values,
                                          const std::function<bool(const UndoRecord&)>& conflicts,
                                          const std::string& refusal);

  /// OK also if there is no such record (any more).
  absl::Status Forget(const std::string& id);

  absl::StatusOr<Contents> Read() const;

  /// Undoes records newest first, and forgets each one undone. All records, or only those that
  /// process `writer` wrote during this boot. What cannot be undone stays; the status names it.
  absl::Status Replay(const Undo& undo, int writer = 0);

  /// Renames each file that holds no record to NAME.unreadable, so that it is in nobody's way. The
  /// status names every such file and what is wrong with it.
  absl::Status SetAsideUnreadable();

 private:
  Journal(std::string folder, std::string boot_id, const Clock& clock);

  const std::string folder_;
  const std::string boot_id_;
  const Clock& clock_;
};

}  // namespace firedrill::agent
