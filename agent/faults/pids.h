// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// Uses up process ids: threads of the worker that do nothing, which the kernel ends with it.
namespace firedrill::agent {

/// UNIMPLEMENTED if the kernel does not say how many processes and threads there are.
absl::Status PidsSupported(const Host& host);
/// FAILED_PRECONDITION for a cgroup without a limit, or when more than `leave` are not free.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyPids(const InjectionRequest& request,
                                                       WorkerContext& context);
/// OK if no process of this host holds pids for this injection.
absl::Status VerifyPidsGone(const InjectionRequest& request, const Host& host);

}  // namespace firedrill::agent
