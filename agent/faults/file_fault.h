// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// Lets file operations below a path take longer, or fail: by fanotify, or by BPF programs on the
// hooks of security modules where fanotify cannot give the error. The kernel ends both with the
// worker.
namespace firedrill::agent {

absl::Status FileFaultSupported(const Host& host);
/// UNIMPLEMENTED names what the kernel or the file system lacks for what is asked.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyFileFault(const InjectionRequest& request,
                                                            WorkerContext& context);
/// OK if no process of this host answers for this injection any more.
absl::Status VerifyFileFaultGone(const InjectionRequest& request, const Host& host);

}  // namespace firedrill::agent
