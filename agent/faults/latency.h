// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// Holds chosen packets back: each goes on its delay, and a deviation, later. Packets overtake each
// other within the jitter, unless their order is kept. Delays of several latency faults on one
// packet add up.
// When the fault ends, what it still holds goes on at once.
namespace firedrill::agent {

absl::Status LatencySupported(const Host& host);
/// INVALID_ARGUMENT names a field; NOT_FOUND a device that does not exist, or that no route leads
/// to the first address; RESOURCE_EXHAUSTED the bound that is reached.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyLatency(const InjectionRequest& request,
                                                          WorkerContext& context);
/// Looks through the kernel: OK if no rule of this injection is in force, and nothing is left of
/// traffic workers that no longer live.
absl::Status VerifyLatencyGone(const InjectionRequest& request, const Host& host);

}  // namespace firedrill::agent
