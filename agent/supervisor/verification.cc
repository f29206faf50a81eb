// SPDX-License-Identifier: Apache-2.0
#include "agent/supervisor/verification.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/host/host.h"
#include "agent/host/processes.h"
#include "agent/journal/journal.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {

absl::Status Verification::CheckGone(const InjectionRequest& request) const {
  const auto kind = std::find_if(kinds_.begin(), kinds_.end(), [&](const FaultKind& k) {
    return k.kind == request.fault.kind_case();
  });
  if (kind == kinds_.end()) {
    return absl::UnimplementedError("this agent cannot verify the end of a fault it does not know");
  }
  RETURN_IF_ERROR(kind->verify_gone(request, host_));
  return CheckRecords(request.id);
}

absl::Status Verification::CheckRecords(const std::string& injection_id) const {
  ASSIGN_OR_RETURN(const Journal::Contents journal, journal_.Read());
  for (const UndoRecord& record : journal.records) {
    const auto of = record.values.find(kInjectionOfRecord);
    if (of == record.values.end() || of->second != injection_id) continue;
    return absl::FailedPreconditionError(
        fmt::format("a record of kind '{}' is still to be undone", record.kind));
  }
  return absl::OkStatus();
}

absl::Status Verification::CleanUpAfter(int worker_pid) {
  return journal_.Replay([this](const UndoRecord& record) { return Undo(record); }, worker_pid);
}

absl::Status Verification::Undo(const UndoRecord& record) const {
  const auto kind = std::find_if(undo_kinds_.begin(), undo_kinds_.end(),
                                 [&](const UndoKind& k) { return k.kind == record.kind; });
  if (kind != undo_kinds_.end()) return kind->undo(record, host_);
  return absl::FailedPreconditionError(fmt::format(
      "this agent does not know how to undo '{}'; was it written by a newer one?", record.kind));
}

absl::Status Verification::CheckProcessGone(int pid, const std::string& start_time) const {
  const auto process = ReadProcess(host_, pid);
  if (!process.ok() || std::to_string(process->start_time) != start_time || process->state == 'Z') {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(fmt::format("worker pid={} still lives", pid));
}

}  // namespace firedrill::agent
