// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// Lets the chosen packets through at a rate, each direction by itself. What would have to wait
// longer than the queue allows is dropped, and counted.
namespace firedrill::agent {

absl::Status BandwidthSupported(const Host& host);
/// INVALID_ARGUMENT names a field; NOT_FOUND a device that does not exist, or that no route leads
/// to the first address; RESOURCE_EXHAUSTED the bound that is reached.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyBandwidth(const InjectionRequest& request,
                                                            WorkerContext& context);
/// Looks through the kernel: OK if no rule of this injection is in force, and nothing is left of
/// traffic workers that no longer live.
absl::Status VerifyBandwidthGone(const InjectionRequest& request, const Host& host);

}  // namespace firedrill::agent
