// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// Signals to chosen processes, once or again and again. It cannot be undone: it is ended.
namespace firedrill::agent {

absl::Status ProcessKillSupported(const Host& host);
/// NOT_FOUND if nothing matches: nothing was touched then. OK means that signals were delivered.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyProcessKill(const InjectionRequest& request,
                                                              WorkerContext& context);
/// Nothing of it outlives its worker, whose end the supervisor sees.
absl::Status VerifyProcessKillGone(const InjectionRequest& request, const Host& host);

}  // namespace firedrill::agent
