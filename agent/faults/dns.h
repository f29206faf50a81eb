// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// Queries for chosen names, and all below them, that leave this host are dropped, answered with an
// error in the resolver's stead, or held back: in the kernel, by the traffic engine. Over TCP only
// dropped or held back.
namespace firedrill::agent {

absl::Status DnsSupported(const Host& host);
/// INVALID_ARGUMENT names a field; NOT_FOUND a device that does not exist, or that no route leads
/// to the first address; RESOURCE_EXHAUSTED the bound that is reached.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyDns(const InjectionRequest& request,
                                                      WorkerContext& context);
/// Counts the queries that it would meet, by name too.
absl::StatusOr<std::unique_ptr<ActiveFault>> PreviewDns(const InjectionRequest& request,
                                                        WorkerContext& context);
/// Looks through the kernel: OK if no rule of this injection is in force, and nothing is left of
/// traffic workers that no longer live.
absl::Status VerifyDnsGone(const InjectionRequest& request, const Host& host);

}  // namespace firedrill::agent
