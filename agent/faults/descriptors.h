// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// Leaves chosen processes no further file descriptors, by their own limit (RLIMIT_NOFILE). The
// kernel keeps a limit when the worker dies, so each is journalled.
namespace firedrill::agent {

inline constexpr const char* kRlimitRecord = "rlimit";

/// UNIMPLEMENTED if the kernel has no prlimit, or /proc does not show descriptors.
absl::Status DescriptorsSupported(const Host& host);
/// PERMISSION_DENIED says whose limits the kernel does not let the agent change.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyDescriptors(const InjectionRequest& request,
                                                              WorkerContext& context);
/// OK if no process of this host has a limit that this injection has set.
absl::Status VerifyDescriptorsGone(const InjectionRequest& request, const Host& host);
/// Gives a process its former limit back, and reads it back. OK also if the process has ended, or
/// has by now a limit that is not ours.
absl::Status UndoRlimit(const UndoRecord& record, const Host& host);

}  // namespace firedrill::agent
