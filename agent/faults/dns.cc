// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/dns.h"

#include "agent/traffic/leftovers.h"
#include "agent/traffic/traffic_fault.h"
#include "proto/support/status_macros.h"
#include "proto/support/time.h"

namespace firedrill::agent {
namespace {

constexpr char kPort[] = "53";

// To port 53, unless ports are given.
absl::StatusOr<v1::Traffic> Queries(const v1::Dns& fault) {
  v1::Traffic traffic = fault.traffic();
  if (traffic.direction() != v1::DIRECTION_UNSPECIFIED) {
    return absl::InvalidArgumentError(
        "dns.traffic.direction: it is queries that are met, on their way out: leave it out");
  }
  if (traffic.protocol() == v1::PROTOCOL_ICMP) {
    return absl::InvalidArgumentError("dns.traffic.protocol: DNS speaks udp and tcp");
  }
  traffic.set_direction(v1::DIRECTION_EGRESS);
  if (traffic.ports().empty() && traffic.remote_ports().empty()) traffic.add_remote_ports(kPort);
  return traffic;
}

absl::StatusOr<fd_dns_answer> Answer(const v1::Dns& fault) {
  switch (fault.answer()) {
    case v1::DNS_ANSWER_UNSPECIFIED:
    case v1::DNS_ANSWER_NONE:
      return FD_DNS_NONE;
    case v1::DNS_ANSWER_SERVFAIL:
      return FD_DNS_SERVFAIL;
    case v1::DNS_ANSWER_NXDOMAIN:
      return FD_DNS_NXDOMAIN;
    case v1::DNS_ANSWER_LATE:
      return FD_DNS_LATE;
    default:  // An open enum: a newer peer's value.
      return absl::InvalidArgumentError(
          "dns.answer: unknown; allowed are none, servfail, nxdomain, late");
  }
}

absl::StatusOr<TrafficRuleSpec> Spec(const v1::Dns& fault, fd_dns_answer answer) {
  DnsEffect effect;
  effect.answer = answer;
  effect.names.assign(fault.names().begin(), fault.names().end());
  if (fault.percent() != 0) effect.share = fault.percent() / 100;
  if (answer == FD_DNS_LATE) effect.delay = FromProto(fault.delay());
  TrafficRuleSpec spec;
  spec.effect = std::move(effect);
  ASSIGN_OR_RETURN(spec.traffic, Queries(fault));
  return spec;
}

}  // namespace

absl::Status DnsSupported(const Host&) { return ProbeTraffic(/*delay_line=*/false); }

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyDns(const InjectionRequest& request,
                                                      WorkerContext& context) {
  const v1::Dns& fault = request.fault.dns();
  ASSIGN_OR_RETURN(const fd_dns_answer answer, Answer(fault));
  if (answer != FD_DNS_LATE && fault.has_delay()) {
    return absl::InvalidArgumentError("dns.delay: only with answer: late");
  }
  ASSIGN_OR_RETURN(TrafficRuleSpec spec, Spec(fault, answer));
  return ApplyTrafficRule(std::move(spec), request, context);
}

absl::StatusOr<std::unique_ptr<ActiveFault>> PreviewDns(const InjectionRequest& request,
                                                        WorkerContext& context) {
  ASSIGN_OR_RETURN(TrafficRuleSpec spec, Spec(request.fault.dns(), FD_DNS_COUNTED));
  return ApplyTrafficRule(std::move(spec), request, context);
}

absl::Status VerifyDnsGone(const InjectionRequest& request, const Host&) {
  return VerifyTrafficGone(request.id);
}

}  // namespace firedrill::agent
