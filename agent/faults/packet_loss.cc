// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/packet_loss.h"

#include "agent/traffic/leftovers.h"
#include "agent/traffic/traffic_fault.h"

namespace firedrill::agent {

absl::Status PacketLossSupported(const Host&) { return ProbeTraffic(/*delay_line=*/false); }

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyPacketLoss(const InjectionRequest& request,
                                                             WorkerContext& context) {
  const v1::PacketLoss& fault = request.fault.packet_loss();
  // Written so that NaN is refused too.
  if (!(fault.percent() > 0 && fault.percent() <= 100)) {
    return absl::InvalidArgumentError(
        "packet_loss.percent: allowed are more than 0 and at most 100");
  }
  TrafficRuleSpec spec;
  spec.loss_share = fault.percent() / 100;
  spec.traffic = fault.traffic();
  return ApplyTrafficRule(std::move(spec), request, context);
}

absl::Status VerifyPacketLossGone(const InjectionRequest& request, const Host&) {
  return VerifyTrafficGone(request.id);
}

}  // namespace firedrill::agent
