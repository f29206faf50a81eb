// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// Takes memory: touched pages of the worker, which the kernel frees when it dies.
namespace firedrill::agent {

/// UNIMPLEMENTED if the kernel does not say how much memory is available.
absl::Status MemorySupported(const Host& host);
/// FAILED_PRECONDITION if the floor leaves nothing to take, or the worker cannot be made the OOM
/// killer's first choice. OK once pages are resident; the rest follows, as fast as it can or evenly
/// over the ramp.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyMemory(const InjectionRequest& request,
                                                         WorkerContext& context);
/// OK if no process of this host holds memory for this injection.
absl::Status VerifyMemoryGone(const InjectionRequest& request, const Host& host);

}  // namespace firedrill::agent
