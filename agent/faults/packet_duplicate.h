// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// Lets a share of the chosen packets arrive twice: the copy follows at once. Where the stack sends
// a TCP super-packet for the hardware to cut (TSO), or has joined received ones (GRO), all of its
// segments share one fate, unless another fault on the same packets needs those of the wire.
namespace firedrill::agent {

absl::Status PacketDuplicateSupported(const Host& host);
/// INVALID_ARGUMENT names a field; NOT_FOUND a device that does not exist, or that no route leads
/// to the first address; RESOURCE_EXHAUSTED the bound that is reached.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyPacketDuplicate(const InjectionRequest& request,
                                                                  WorkerContext& context);
/// Looks through the kernel: OK if no rule of this injection is in force, and nothing is left of
/// traffic workers that no longer live.
absl::Status VerifyPacketDuplicateGone(const InjectionRequest& request, const Host& host);

}  // namespace firedrill::agent
