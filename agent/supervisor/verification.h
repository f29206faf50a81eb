// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "absl/status/status.h"
#include "agent/faults/fault.h"

namespace firedrill::agent {

class Host;
class Journal;
struct UndoRecord;

/// Whether an injection has left nothing behind, as the agent sees it: another process than the one
/// that did the damage. Not thread-safe.
class Verification {
 public:
  /// All must outlive it.
  Verification(const Host& host, Journal& journal, std::span<const FaultKind> kinds,
               std::span<const UndoKind> undo_kinds)
      : host_(host), journal_(journal), kinds_(kinds), undo_kinds_(undo_kinds) {}

  /// OK only if the kind's own check finds nothing of it, and the journal no record that names it
  /// (kInjectionOfRecord).
  absl::Status CheckGone(const InjectionRequest& request) const;

  /// OK if the journal has no record that names the injection, of this boot or an earlier one: what
  /// is on disk (an edited file) outlives a boot.
  absl::Status CheckRecords(const std::string& injection_id) const;

  /// Undoes what a dead worker has left in the journal.
  absl::Status CleanUpAfter(int worker_pid);

  /// Undoes one record by the table. FAILED_PRECONDITION for a kind that this agent does not know.
  absl::Status Undo(const UndoRecord& record) const;

  /// OK if process `pid` that started at `start_time` (clock ticks after boot) is no more.
  absl::Status CheckProcessGone(int pid, const std::string& start_time) const;

 private:
  const Host& host_;
  Journal& journal_;
  const std::span<const FaultKind> kinds_;
  const std::span<const UndoKind> undo_kinds_;
};

}  // namespace firedrill::agent
