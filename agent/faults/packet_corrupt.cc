// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/packet_corrupt.h"

#include "agent/traffic/leftovers.h"
#include "agent/traffic/traffic_fault.h"

namespace firedrill::agent {

absl::Status PacketCorruptSupported(const Host&) { return ProbeTraffic(/*delay_line=*/true); }

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyPacketCorrupt(const InjectionRequest& request,
                                                                WorkerContext& context) {
  const v1::PacketCorrupt& fault = request.fault.packet_corrupt();
  TrafficRuleSpec spec;
  spec.effect = CorruptEffect{.share = fault.percent() / 100,
                              .mend_checksum = fault.checksum() == v1::CORRUPT_CHECKSUM_MENDED};
  spec.traffic = fault.traffic();
  spec.seed = fault.seed();
  return ApplyTrafficRule(std::move(spec), request, context);
}

absl::Status VerifyPacketCorruptGone(const InjectionRequest& request, const Host&) {
  return VerifyTrafficGone(request.id);
}

}  // namespace firedrill::agent
