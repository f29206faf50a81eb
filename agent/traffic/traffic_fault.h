// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"
#include "agent/traffic/engine.h"

// What the faults of traffic have in common: each is one rule of the worker's traffic engine.
namespace firedrill::agent {

/// OK if this kernel could take a rule; tries: loads the programs, and where that says more
/// attaches them to a private device that is gone again on return. UNIMPLEMENTED names what is
/// missing.
absl::Status ProbeTraffic(bool delay_line);

/// The preview of every kind of traffic fault: counts the packets that it would match.
absl::StatusOr<std::unique_ptr<ActiveFault>> PreviewTraffic(const InjectionRequest& request,
                                                            WorkerContext& context);

/// The packets that a partition cuts off. INVALID_ARGUMENT: it has no addresses, or some in its
/// traffic.
absl::StatusOr<v1::Traffic> PartitionTraffic(const v1::Partition& partition);

/// Puts `spec` in force, with the request's id, duration and protected endpoints; makes the
/// worker's engine if this is its first rule.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyTrafficRule(TrafficRuleSpec spec,
                                                              const InjectionRequest& request,
                                                              WorkerContext& context);

}  // namespace firedrill::agent
