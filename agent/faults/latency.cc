// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/latency.h"

#include "agent/traffic/leftovers.h"
#include "agent/traffic/traffic_fault.h"
#include "proto/support/time.h"

namespace firedrill::agent {

absl::Status LatencySupported(const Host&) { return ProbeTraffic(/*delay_line=*/true); }

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyLatency(const InjectionRequest& request,
                                                          WorkerContext& context) {
  const v1::Latency& fault = request.fault.latency();
  TrafficRuleSpec spec;
  spec.delay = FromProto(fault.delay());
  spec.jitter = FromProto(fault.jitter());
  spec.traffic = fault.traffic();
  if (spec.delay <= Nanoseconds(0)) {
    return absl::InvalidArgumentError("latency.delay: must be more than 0");
  }
  return ApplyTrafficRule(std::move(spec), request, context);
}

absl::Status VerifyLatencyGone(const InjectionRequest& request, const Host&) {
  return VerifyTrafficGone(request.id);
}

}  // namespace firedrill::agent
