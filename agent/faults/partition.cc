// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/partition.h"

#include "agent/traffic/leftovers.h"
#include "agent/traffic/traffic_fault.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {

absl::Status PartitionSupported(const Host&) { return ProbeTraffic(/*delay_line=*/false); }

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyPartition(const InjectionRequest& request,
                                                            WorkerContext& context) {
  TrafficRuleSpec spec;
  spec.effect = LoseEffect{.share = 1};
  ASSIGN_OR_RETURN(spec.traffic, PartitionTraffic(request.fault.partition()));
  spec.every_device = true;
  return ApplyTrafficRule(std::move(spec), request, context);
}

absl::Status VerifyPartitionGone(const InjectionRequest& request, const Host&) {
  return VerifyTrafficGone(request.id);
}

}  // namespace firedrill::agent
