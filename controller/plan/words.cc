// SPDX-License-Identifier: Apache-2.0
#include "controller/plan/words.h"

#include <fmt/format.h>

#include "absl/strings/str_join.h"
#include "controller/experiment/defaults.h"
#include "proto/support/fault_rules.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

bool BothDirections(const v1::Traffic& traffic) {
  return traffic.direction() != v1::DIRECTION_EGRESS &&
         traffic.direction() != v1::DIRECTION_INGRESS;
}

const char* Direction(const v1::Traffic& traffic) {
  switch (traffic.direction()) {
    case v1::DIRECTION_EGRESS:
      return "outgoing";
    case v1::DIRECTION_INGRESS:
      return "incoming";
    default:
      return "both directions";
  }
}

const char* Packets(const v1::Traffic& traffic) {
  switch (traffic.protocol()) {
    case v1::PROTOCOL_TCP:
      return "TCP packets";
    case v1::PROTOCOL_UDP:
      return "UDP packets";
    case v1::PROTOCOL_ICMP:
      return "ICMP packets";
    default:
      return "packets";
  }
}

bool CarriesTcp(const v1::Traffic& traffic) {
  return traffic.protocol() != v1::PROTOCOL_UDP && traffic.protocol() != v1::PROTOCOL_ICMP;
}

std::string TrafficInWords(const v1::Traffic& traffic) {
  std::string text = Direction(traffic);
  if (traffic.ports_size() > 0) {
    text += fmt::format(", port{} {}", traffic.ports_size() > 1 ? "s" : "",
                        absl::StrJoin(traffic.ports(), ", "));
  }
  if (traffic.addresses_size() > 0) {
    text += ", other end in " + absl::StrJoin(traffic.addresses(), ", ");
  }
  if (!traffic.device().empty()) text += ", device " + traffic.device();
  std::vector<std::string> never(traffic.exclude().addresses().begin(),
                                 traffic.exclude().addresses().end());
  for (const std::string& ports : traffic.exclude().ports()) never.push_back("port " + ports);
  if (!never.empty()) text += ", never " + absl::StrJoin(never, ", ");
  return text;
}

std::string ProcessesInWords(const v1::ProcessSelector& selector) {
  std::vector<std::string> parts;
  if (!selector.name().empty()) parts.push_back("named " + selector.name());
  if (!selector.command_line().empty()) {
    parts.push_back(fmt::format("with \"{}\" in their command line", selector.command_line()));
  }
  if (selector.pid() != 0) parts.push_back(fmt::format("with pid {}", selector.pid()));
  if (selector.listening_port() != 0) {
    parts.push_back(fmt::format("listening on port {}", selector.listening_port()));
  }
  if (!selector.cgroup().empty()) parts.push_back("in cgroup " + selector.cgroup());
  if (!selector.systemd_unit().empty()) parts.push_back("of unit " + selector.systemd_unit());
  return "processes " + absl::StrJoin(parts, " and ");
}

std::string CoresInWords(const v1::Cpu& cpu) {
  if (cpu.cores().empty()) return "every core";
  return fmt::format("core{} {}", cpu.cores_size() > 1 ? "s" : "",
                     absl::StrJoin(cpu.cores(), ", "));
}

std::string KillInWords(const v1::ProcessKill& kill) {
  v1::Amount one;
  one.set_count(1);
  std::string text = fmt::format(
      "send {} to {} of the {}", kill.signal().empty() ? "KILL" : kill.signal(),
      FormatAmount(kill.has_pick() ? kill.pick() : one), ProcessesInWords(kill.processes()));
  if (kill.has_grace()) {
    text += fmt::format(", KILL what lives after {}", FormatDuration(FromProto(kill.grace())));
  }
  if (kill.has_repeat_every()) {
    text += fmt::format(", again every {}", FormatDuration(FromProto(kill.repeat_every())));
  }
  return text;
}

std::vector<std::string> LossEffects(const v1::PacketLoss& loss) {
  const double arrives = 1 - loss.percent() / 100;
  std::vector<std::string> effects;
  if (BothDirections(loss.traffic())) {
    effects.push_back(fmt::format(
        "a packet and its answer both arrive in {:.3g} % of cases ({:.3g} % × {:.3g} %)",
        arrives * arrives * 100, arrives * 100, arrives * 100));
  } else {
    effects.push_back(
        fmt::format("{:.3g} % of {} packets arrive", arrives * 100, Direction(loss.traffic())));
  }
  if (CarriesTcp(loss.traffic())) {
    effects.emplace_back(
        "TCP sends again: each loss costs 200ms or more, a lost connection attempt 1s or more");
  }
  return effects;
}

std::vector<std::string> LatencyEffects(const v1::Latency& latency) {
  const Nanoseconds delay = FromProto(latency.delay());
  const bool both = BothDirections(latency.traffic());
  const Nanoseconds round_trip = both ? 2 * delay : delay;
  std::vector<std::string> effects;
  effects.push_back(both
                        ? fmt::format("2 × {} = {} on each round trip, since both directions match",
                                      FormatDuration(delay), FormatDuration(round_trip))
                        : fmt::format("{} on each round trip", FormatDuration(delay)));
  if (CarriesTcp(latency.traffic())) {
    effects.push_back(fmt::format(
        "a request on a new TCP connection takes two round trips: {} more; with TLS three or four",
        FormatDuration(2 * round_trip)));
  }
  if (latency.has_jitter()) {
    effects.push_back(fmt::format("± {} on each packet; packets may overtake each other",
                                  FormatDuration(FromProto(latency.jitter()))));
  }
  return effects;
}

std::vector<std::string> CpuEffects(const v1::Cpu& cpu) {
  std::vector<std::string> effects;
  effects.push_back(cpu.mode() == v1::CPU_MODE_FILL
                        ? fmt::format("{} at {:g} % in all, whatever others use below that",
                                      CoresInWords(cpu), cpu.percent())
                        : fmt::format("about {:g} % of {} is left to everything else",
                                      100 - cpu.percent(), CoresInWords(cpu)));
  if (cpu.has_ramp()) {
    effects.push_back("rises evenly over " + FormatDuration(FromProto(cpu.ramp())));
  }
  return effects;
}

}  // namespace

std::string FaultInWords(const v1::Fault& fault) {
  switch (fault.kind_case()) {
    case v1::Fault::kPacketLoss:
      return fmt::format("drop {:g} % of {}, {}", fault.packet_loss().percent(),
                         Packets(fault.packet_loss().traffic()),
                         TrafficInWords(fault.packet_loss().traffic()));
    case v1::Fault::kLatency:
      return fmt::format("hold {} back for {}, {}", Packets(fault.latency().traffic()),
                         FormatDuration(FromProto(fault.latency().delay())),
                         TrafficInWords(fault.latency().traffic()));
    case v1::Fault::kCpu:
      return fmt::format(
          "{} {} {} {:g} %", fault.cpu().mode() == v1::CPU_MODE_FILL ? "fill" : "burn",
          CoresInWords(fault.cpu()), fault.cpu().mode() == v1::CPU_MODE_FILL ? "up to" : "by",
          fault.cpu().percent());
    case v1::Fault::kProcessKill:
      return KillInWords(fault.process_kill());
    case v1::Fault::KIND_NOT_SET:
      return "nothing";
    default:
      return FaultText(fault);
  }
}

std::vector<std::string> EffectsInWords(const v1::Fault& fault) {
  switch (fault.kind_case()) {
    case v1::Fault::kPacketLoss:
      return LossEffects(fault.packet_loss());
    case v1::Fault::kLatency:
      return LatencyEffects(fault.latency());
    case v1::Fault::kCpu:
      return CpuEffects(fault.cpu());
    case v1::Fault::kProcessKill:
      return {
          "connections to the processes break, and new ones are refused until something starts "
          "them again; Firedrill does not"};
    default:
      return {};
  }
}

std::vector<std::string> GuardsInWords(const v1::Experiment& experiment) {
  std::vector<std::string> guards;
  for (const v1::Indicator& indicator : experiment.steady_state()) {
    guards.push_back(fmt::format("begins only after {} was {} for {}", indicator.name(),
                                 FormatComparison(indicator.expect()),
                                 FormatDuration(Hold(indicator))));
  }
  for (const v1::Detection& detection : experiment.detection()) {
    guards.push_back(fmt::format("begins only while alert {} is not firing", detection.alert()));
  }
  for (const v1::StopCondition& condition : experiment.stop_when()) {
    const std::string& name = condition.name().empty() ? condition.query() : condition.name();
    guards.push_back(fmt::format("stops when \"{}\" holds, or is unknown for two scrapes", name));
  }
  guards.emplace_back("stops when an agent is lost, or a fault fails or ends early");
  guards.push_back(fmt::format("its faults live {} at most", FormatDuration(Longest(experiment))));
  return guards;
}

}  // namespace firedrill::controller
