// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/bandwidth.h"

#include "agent/traffic/leftovers.h"
#include "agent/traffic/traffic_fault.h"
#include "proto/support/time.h"

namespace firedrill::agent {

absl::Status BandwidthSupported(const Host&) { return ProbeTraffic(/*delay_line=*/true); }

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyBandwidth(const InjectionRequest& request,
                                                            WorkerContext& context) {
  constexpr Nanoseconds kDefaultQueue = std::chrono::milliseconds(200);
  const v1::Bandwidth& fault = request.fault.bandwidth();
  TrafficRuleSpec spec;
  spec.effect = ShapeEffect{.bits_per_second = fault.rate(),
                            .queue = fault.has_queue() ? FromProto(fault.queue()) : kDefaultQueue};
  spec.traffic = fault.traffic();
  return ApplyTrafficRule(std::move(spec), request, context);
}

absl::Status VerifyBandwidthGone(const InjectionRequest& request, const Host&) {
  return VerifyTrafficGone(request.id);
}

}  // namespace firedrill::agent
