// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/latency.h"

#include "agent/traffic/leftovers.h"
#include "agent/traffic/traffic_fault.h"
#include "proto/support/time.h"

namespace firedrill::agent {

absl::Status LatencySupported(const Host&) { return ProbeTraffic(/*delay_line=*/true); }

namespace {

fd_distribution DistributionOf(const v1::Latency& fault) {
  if (fault.distribution() == v1::JITTER_DISTRIBUTION_NORMAL) return FD_NORMAL;
  return fault.distribution() == v1::JITTER_DISTRIBUTION_PARETO ? FD_PARETO : FD_UNIFORM;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyLatency(const InjectionRequest& request,
                                                          WorkerContext& context) {
  const v1::Latency& fault = request.fault.latency();
  const DelayEffect effect{.delay = FromProto(fault.delay()),
                           .jitter = FromProto(fault.jitter()),
                           .distribution = DistributionOf(fault),
                           .correlation = fault.correlation() / 100,
                           .keep_order = fault.keep_order()};
  if (effect.delay <= Nanoseconds(0)) {
    return absl::InvalidArgumentError("latency.delay: must be more than 0");
  }
  TrafficRuleSpec spec;
  spec.effect = effect;
  spec.seed = fault.seed();
  spec.traffic = fault.traffic();
  return ApplyTrafficRule(std::move(spec), request, context);
}

absl::Status VerifyLatencyGone(const InjectionRequest& request, const Host&) {
  return VerifyTrafficGone(request.id);
}

}  // namespace firedrill::agent
