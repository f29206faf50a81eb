// SPDX-License-Identifier: Apache-2.0
// Rules between the fields of traffic_fault.proto.
#include <fmt/format.h>

#include <algorithm>

#include "firedrill/v1/traffic_fault.pb.h"
#include "proto/support/between_fields.h"
#include "proto/support/time.h"

namespace firedrill {
namespace {

void Add(const std::string& path, const char* field, std::string found, std::string allowed,
         Problems* problems, bool missing = false) {
  problems->push_back({JoinPath(path, field), std::move(found), std::move(allowed), missing});
}

bool HasTransitions(const v1::LossBursts& bursts) {
  return bursts.enter_percent() > 0 || bursts.leave_percent() > 0 ||
         bursts.good_loss_percent() > 0 || bursts.bad_loss_percent() > 0;
}

void CheckBursts(const v1::LossBursts& bursts, const std::string& path, Problems* problems) {
  const bool mean = bursts.mean_packets() > 0;
  if (!HasTransitions(bursts)) {
    if (mean) return;
    problems->push_back({path, "says nothing of the bursts",
                         "needed: mean_packets, or enter_percent and leave_percent", true});
    return;
  }
  if (mean) {
    return Add(path, "mean_packets", "found it beside the model's own parameters",
               "one of the two: mean_packets, or enter_percent, leave_percent, good_loss_percent "
               "and bad_loss_percent",
               problems);
  }
  for (const auto& [name, value] : {std::pair("enter_percent", bursts.enter_percent()),
                                    std::pair("leave_percent", bursts.leave_percent())}) {
    if (value > 0) continue;
    Add(path, name, "missing", "needed beside the model's other parameters: enter and leave",
        problems, true);
  }
  const double bad = bursts.bad_loss_percent() > 0 ? bursts.bad_loss_percent() : 100;
  if (bursts.good_loss_percent() >= bad) {
    Add(path, "good_loss_percent", fmt::format("found {} %", bursts.good_loss_percent()),
        fmt::format("allowed: less than in the bad state, {} %", bad), problems);
  }
}

// Exactly one thing decides how much is lost: a share, a count, or the model of the bursts.
void CheckLoss(const v1::PacketLoss& loss, const std::string& path, Problems* problems) {
  const bool share = loss.percent() != 0;
  const bool model = loss.has_bursts() && HasTransitions(loss.bursts());
  const int ways = int{share} + int{loss.every() > 0} + int{model};
  const double mean = loss.bursts().mean_packets();
  if (ways == 0) {
    return Add(path, "percent", "missing",
               mean > 0 ? "needed beside bursts.mean_packets, such as 33"
                        : "needed: percent, such as 33; or every, or bursts with enter_percent and "
                          "leave_percent",
               problems, true);
  }
  if (ways > 1) {
    Add(path, share ? "percent" : "every",
        fmt::format("found it beside {}", model ? "the parameters of bursts" : "every"),
        "one of the three: percent, every, or the four parameters of bursts", problems);
  } else if (mean > 0 && loss.every() > 0) {
    Add(path, "every", "found it beside bursts", "every packet of a number, or bursts", problems);
  } else if (mean > 0 && share && loss.percent() / 100 > mean / (mean + 1)) {
    // A good state lasts mean × (100 − percent) / percent packets: one at least.
    Add(path, "percent", fmt::format("found {} %", loss.percent()),
        fmt::format("allowed with bursts of {} packets: at most {:.6g} %, so that a packet gets "
                    "through between two bursts",
                    mean, 100 * mean / (mean + 1)),
        problems);
  }
  if (loss.every() > 0 && loss.seed() > 0) {
    Add(path, "seed", "found it beside every", "nothing is random then: leave it out", problems);
  }
}

void CheckLatency(const v1::Latency& latency, const std::string& path, Problems* problems) {
  const Nanoseconds delay = FromProto(latency.delay());
  const Nanoseconds jitter = FromProto(latency.jitter());
  if (jitter > Nanoseconds(0)) {
    const bool even = latency.distribution() == v1::JITTER_DISTRIBUTION_UNSPECIFIED ||
                      latency.distribution() == v1::JITTER_DISTRIBUTION_UNIFORM;
    if (even && jitter > delay) {
      Add(path, "jitter", "found " + FormatDuration(jitter),
          fmt::format("allowed: at most the delay, {}", FormatDuration(delay)), problems);
    }
    return;
  }
  const std::string allowed = "needs jitter: without it every packet is as late as the others";
  if (latency.distribution() != v1::JITTER_DISTRIBUTION_UNSPECIFIED) {
    Add(path, "distribution", "found it without jitter", allowed, problems);
  }
  if (latency.correlation() > 0) {
    Add(path, "correlation", "found it without jitter", allowed, problems);
  }
}

void CheckTraffic(const v1::Traffic& traffic, const std::string& path, Problems* problems) {
  const std::pair<const char*, bool> ports[] = {{"ports", !traffic.ports().empty()},
                                                {"local_ports", !traffic.local_ports().empty()},
                                                {"remote_ports", !traffic.remote_ports().empty()}};
  for (const auto& [field, given] : ports) {
    if (!given || traffic.protocol() != v1::PROTOCOL_ICMP) continue;
    Add(path, field, "found ports beside protocol icmp", "ICMP has no ports: nothing would match",
        problems);
  }
  const bool some =
      traffic.segments() == v1::TCP_SEGMENTS_DATA || traffic.segments() == v1::TCP_SEGMENTS_SYN;
  if (some && traffic.protocol() != v1::PROTOCOL_TCP) {
    Add(path, "segments", "found it without protocol tcp",
        "only TCP has segments: add protocol: tcp", problems);
  }
}

void CheckPartition(const v1::Partition& partition, const std::string& path, Problems* problems) {
  if (partition.from().empty() && partition.addresses().empty()) {
    problems->push_back({path, "has no other side",
                         "needed: from, a target of the experiment, or addresses", true});
  }
  for (const auto& [name, given] :
       {std::pair("addresses", !partition.traffic().addresses().empty()),
        std::pair("hosts", !partition.traffic().hosts().empty())}) {
    if (!given) continue;
    Add(JoinPath(path, "traffic"), name, "found it in a partition",
        "the other side is said by from and addresses of the partition itself", problems);
  }
}

void CheckDns(const v1::Dns& dns, const std::string& path, Problems* problems) {
  const bool late = dns.answer() == v1::DNS_ANSWER_LATE;
  if (late && !dns.has_delay()) {
    Add(path, "delay", "missing", "needed with answer late, such as 2s", problems, true);
  } else if (!late && dns.has_delay()) {
    Add(path, "delay", "found it without answer late", "add answer: late, or leave it out",
        problems);
  }
  const std::string traffic = JoinPath(path, "traffic");
  if (dns.traffic().direction() != v1::DIRECTION_UNSPECIFIED) {
    Add(traffic, "direction", "found it in a DNS fault",
        "it is queries that are met, on their way out: leave it out", problems);
  }
  if (dns.traffic().protocol() == v1::PROTOCOL_ICMP) {
    Add(traffic, "protocol", "found icmp in a DNS fault", "DNS speaks udp and tcp", problems);
  }
}

}  // namespace

bool CheckTrafficMessage(const google::protobuf::Message& message, const std::string& path,
                         Problems* problems) {
  return RunIf(message, path, problems, CheckLoss) || RunIf(message, path, problems, CheckBursts) ||
         RunIf(message, path, problems, CheckLatency) ||
         RunIf(message, path, problems, CheckTraffic) ||
         RunIf(message, path, problems, CheckPartition) || RunIf(message, path, problems, CheckDns);
}

}  // namespace firedrill
