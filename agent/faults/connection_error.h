// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// Calls of programs fail with a chosen error before anything is sent: connect(), sendmsg() of UDP
// with an address, socket(). Programs of the kernel's at the root of cgroup v2 decide; only IPv4
// and IPv6 are asked about. Never fails: calls of process 1, of kernel threads, of the agent and
// its family, and calls towards the agent's controller.
namespace firedrill::agent {

/// Tries: loads the programs, and attaches one that lets everything pass.
absl::Status ConnectionErrorSupported(const Host& host);
/// INVALID_ARGUMENT names a field; NOT_FOUND: no such process; UNIMPLEMENTED names bpf_set_retval
/// where the kernel cannot give the error.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyConnectionError(const InjectionRequest& request,
                                                                  WorkerContext& context);
/// Counts the calls that would fail.
absl::StatusOr<std::unique_ptr<ActiveFault>> PreviewConnectionError(const InjectionRequest& request,
                                                                    WorkerContext& context);
/// Looks through the kernel: OK if it has no programs of this injection.
absl::Status VerifyConnectionErrorGone(const InjectionRequest& request, const Host& host);

}  // namespace firedrill::agent
