// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/packet_duplicate.h"

#include "agent/traffic/leftovers.h"
#include "agent/traffic/traffic_fault.h"

namespace firedrill::agent {

absl::Status PacketDuplicateSupported(const Host&) { return ProbeTraffic(/*delay_line=*/false); }

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyPacketDuplicate(const InjectionRequest& request,
                                                                  WorkerContext& context) {
  const v1::PacketDuplicate& fault = request.fault.packet_duplicate();
  TrafficRuleSpec spec;
  spec.effect = DuplicateEffect{.share = fault.percent() / 100};
  spec.traffic = fault.traffic();
  spec.seed = fault.seed();
  return ApplyTrafficRule(std::move(spec), request, context);
}

absl::Status VerifyPacketDuplicateGone(const InjectionRequest& request, const Host&) {
  return VerifyTrafficGone(request.id);
}

}  // namespace firedrill::agent
