// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// Drops some of the chosen packets, in the kernel, so that their sender sees no error: each with a
// chance, in bursts, or each of a number.
//
// How it counts. Fast: once for what the stack hands to the device, or the device to the stack.
// Where the stack sends a TCP super-packet for the hardware to cut (TSO), or has joined received
// ones (GRO), all of its segments share one fate: the share of the wire's packets that is lost is
// what was asked for, but they are lost in bursts of up to 64 KiB. Exact: once for each packet of
// the wire, which are cut in the kernel first. Counters count the wire's packets either way.
namespace firedrill::agent {

absl::Status PacketLossSupported(const Host& host);
/// INVALID_ARGUMENT names a field; NOT_FOUND a device that does not exist, or that no route leads
/// to the first address; RESOURCE_EXHAUSTED the bound that is reached.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyPacketLoss(const InjectionRequest& request,
                                                             WorkerContext& context);
/// Looks through the kernel: OK if no rule of this injection is in force, and nothing is left of
/// traffic workers that no longer live.
absl::Status VerifyPacketLossGone(const InjectionRequest& request, const Host& host);

}  // namespace firedrill::agent
