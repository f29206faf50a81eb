// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// Fills a file system by a file without a name, which the kernel frees with the worker.
namespace firedrill::agent {

absl::Status DiskFillSupported(const Host& host);
/// FAILED_PRECONDITION if there is nothing to take: already as full, or at the floor.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyDiskFill(const InjectionRequest& request,
                                                           WorkerContext& context);
/// OK if no process holds this injection's file any more, and no name of it is left.
absl::Status VerifyDiskFillGone(const InjectionRequest& request, const Host& host);

}  // namespace firedrill::agent
