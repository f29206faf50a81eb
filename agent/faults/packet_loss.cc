// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/packet_loss.h"

#include "agent/traffic/leftovers.h"
#include "agent/traffic/traffic_fault.h"

namespace firedrill::agent {

absl::Status PacketLossSupported(const Host&) { return ProbeTraffic(/*delay_line=*/false); }

namespace {

// Bursts of a mean length in which all is lost, so rare that the share in the long run is `share`.
LoseEffect::Bursts BurstsOfLength(double mean_packets, double share) {
  const double leave = 1 / mean_packets;
  // In the long run the bad state has enter / (enter + leave) of the packets.
  return {.enter = leave * share / (1 - share), .leave = leave};
}

// The proto's 0 stands for the value of the model that loses something.
LoseEffect::Bursts BurstsOf(const v1::LossBursts& bursts) {
  return {.enter = bursts.enter_percent() / 100,
          .leave = bursts.leave_percent() / 100,
          .lost_in_good = bursts.good_loss_percent() / 100,
          .lost_in_bad = bursts.bad_loss_percent() > 0 ? bursts.bad_loss_percent() / 100 : 1};
}

}  // namespace

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyPacketLoss(const InjectionRequest& request,
                                                             WorkerContext& context) {
  const v1::PacketLoss& fault = request.fault.packet_loss();
  LoseEffect effect{.share = fault.percent() / 100,
                    .bursts = {},
                    .every = fault.every(),
                    .exact = fault.counting() == v1::COUNTING_EXACT};
  const double mean = fault.bursts().mean_packets();
  if (mean > 0) {
    // Written so that NaN is refused too.
    if (!(fault.percent() > 0 && fault.percent() < 100)) {
      return absl::InvalidArgumentError(
          "packet_loss.percent: with bursts.mean_packets allowed are more than 0 and less than "
          "100");
    }
    effect.bursts = BurstsOfLength(mean, effect.share);
  } else if (fault.has_bursts()) {
    effect.bursts = BurstsOf(fault.bursts());
  }
  TrafficRuleSpec spec;
  spec.effect = effect;
  spec.seed = fault.seed();
  spec.traffic = fault.traffic();
  return ApplyTrafficRule(std::move(spec), request, context);
}

absl::Status VerifyPacketLossGone(const InjectionRequest& request, const Host&) {
  return VerifyTrafficGone(request.id);
}

}  // namespace firedrill::agent
