// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// Keeps processors busy: one pinned thread a core, which the kernel ends with the worker.
namespace firedrill::agent {

absl::Status CpuSupported(const Host& host);
/// INVALID_ARGUMENT names cores that this host has not, or that the agent may not use.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyCpu(const InjectionRequest& request,
                                                      WorkerContext& context);
/// OK if no process of this host has a burner of this injection.
absl::Status VerifyCpuGone(const InjectionRequest& request, const Host& host);

}  // namespace firedrill::agent
