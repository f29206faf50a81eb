// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// Chosen processes stand still, every thread of them, until the end.
namespace firedrill::agent {

/// Tries to trace a child of its own.
absl::Status ProcessPauseSupported(const Host& host);
/// NOT_FOUND if nothing matches. Nothing stands still unless all that was picked does. OK: the
/// kernel shows every thread in state 't'.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyProcessPause(const InjectionRequest& request,
                                                               WorkerContext& context);
/// OK if no thread of the processes that match stands still without a tracer that lives.
absl::Status VerifyProcessPauseGone(const InjectionRequest& request, const Host& host);

}  // namespace firedrill::agent
