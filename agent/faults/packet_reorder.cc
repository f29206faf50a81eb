// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/packet_reorder.h"

#include "agent/traffic/leftovers.h"
#include "agent/traffic/traffic_fault.h"
#include "proto/support/time.h"

namespace firedrill::agent {

absl::Status PacketReorderSupported(const Host&) { return ProbeTraffic(/*delay_line=*/true); }

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyPacketReorder(const InjectionRequest& request,
                                                                WorkerContext& context) {
  constexpr Nanoseconds kDefaultDelay = std::chrono::milliseconds(10);
  const v1::PacketReorder& fault = request.fault.packet_reorder();
  TrafficRuleSpec spec;
  spec.effect =
      ReorderEffect{.share = fault.percent() / 100,
                    .delay = fault.has_delay() ? FromProto(fault.delay()) : kDefaultDelay};
  spec.traffic = fault.traffic();
  spec.seed = fault.seed();
  return ApplyTrafficRule(std::move(spec), request, context);
}

absl::Status VerifyPacketReorderGone(const InjectionRequest& request, const Host&) {
  return VerifyTrafficGone(request.id);
}

}  // namespace firedrill::agent
