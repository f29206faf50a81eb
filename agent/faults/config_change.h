// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// Edits a file that the host's owner has allowed, and measures whether anything puts it right.
namespace firedrill::agent {

absl::Status ConfigChangeSupported(const Host& host);
/// FAILED_PRECONDITION: the pattern matches nothing, or nothing would change.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyConfigChange(const InjectionRequest& request,
                                                               WorkerContext& context);
/// OK if no worker watches for this injection any more. What the file holds is for the journal's
/// records, which the agent replays before it asks.
absl::Status VerifyConfigChangeGone(const InjectionRequest& request, const Host& host);

inline constexpr const char* kFileRecord = "file";  ///< An edit that may have to be undone.
inline constexpr const char* kFileCheckRecord = "file_check";  ///< An undone edit, to be looked at.
inline constexpr const char* kReloadRecord = "reload_unit";
absl::Status UndoFile(const UndoRecord& record, const Host& host);
absl::Status CheckFileUndone(const UndoRecord& record, const Host& host);
absl::Status UndoReload(const UndoRecord& record, const Host& host);

}  // namespace firedrill::agent
