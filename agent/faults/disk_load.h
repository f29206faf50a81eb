// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// Reads and writes a file without a name, past the page cache, at asked rates.
namespace firedrill::agent {

absl::Status DiskLoadSupported(const Host& host);
/// FAILED_PRECONDITION if the file system has no room for the file.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyDiskLoad(const InjectionRequest& request,
                                                           WorkerContext& context);
/// OK if no process holds this injection's file any more, and no name of it is left.
absl::Status VerifyDiskLoadGone(const InjectionRequest& request, const Host& host);

}  // namespace firedrill::agent
