// SPDX-License-Identifier: Apache-2.0
// Faults of the network in words.
#include <fmt/format.h>

#include <cmath>

#include "absl/strings/str_join.h"
#include "controller/plan/words_parts.h"
#include "proto/support/quantity.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

using Effects = std::vector<std::string>;

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
  switch (traffic.segments()) {
    case v1::TCP_SEGMENTS_DATA:
      return "TCP packets with data";
    case v1::TCP_SEGMENTS_SYN:
      return "TCP packets that open connections";
    default:
      break;
  }
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

template <typename List>
std::string Named(const char* what, const List& ports) {
  return fmt::format(", {}port{} {}", what, ports.size() > 1 ? "s" : "",
                     absl::StrJoin(ports, ", "));
}

std::string WhichInWords(const v1::Traffic& traffic) {
  std::string text;
  if (traffic.ports_size() > 0) text += Named("", traffic.ports());
  if (traffic.local_ports_size() > 0) text += Named("own ", traffic.local_ports());
  if (traffic.remote_ports_size() > 0) text += Named("remote ", traffic.remote_ports());
  std::vector<std::string> others(traffic.addresses().begin(), traffic.addresses().end());
  others.insert(others.end(), traffic.hosts().begin(), traffic.hosts().end());
  if (!others.empty()) text += ", other end in " + absl::StrJoin(others, ", ");
  if (traffic.local_addresses_size() > 0) {
    text += ", own end in " + absl::StrJoin(traffic.local_addresses(), ", ");
  }
  if (!traffic.device().empty()) text += ", device " + traffic.device();
  if (traffic.has_owner()) text += ", of " + ProcessesInWords(traffic.owner());
  std::vector<std::string> never(traffic.exclude().addresses().begin(),
                                 traffic.exclude().addresses().end());
  for (const std::string& ports : traffic.exclude().ports()) never.push_back("port " + ports);
  if (!never.empty()) text += ", never " + absl::StrJoin(never, ", ");
  return text;
}

std::string TrafficInWords(const v1::Traffic& traffic) {
  return Direction(traffic) + WhichInWords(traffic);
}

// 1: 1st, 2: 2nd, 10: 10th.
std::string Ordinal(std::uint32_t number) {
  const bool teens = number % 100 >= 11 && number % 100 <= 13;
  const char* end = teens              ? "th"
                    : number % 10 == 1 ? "st"
                    : number % 10 == 2 ? "nd"
                    : number % 10 == 3 ? "rd"
                                       : "th";
  return fmt::format("{}{}", number, end);
}

std::string LossInWords(const v1::PacketLoss& loss) {
  const v1::LossBursts& bursts = loss.bursts();
  const std::string what =
      fmt::format("{}, {}", Packets(loss.traffic()), TrafficInWords(loss.traffic()));
  if (loss.every() > 0) return fmt::format("drop every {} of {}", Ordinal(loss.every()), what);
  if (loss.percent() == 0) {
    return fmt::format(
        "drop {:.3g} % of {}, in bursts (enter {:g} %, leave {:g} %, loss {:g} % and {:g} %)",
        100 * LostShare(loss), what, bursts.enter_percent(), bursts.leave_percent(),
        bursts.good_loss_percent(),
        bursts.bad_loss_percent() > 0 ? bursts.bad_loss_percent() : 100);
  }
  std::string text = fmt::format("drop {:g} % of {}", loss.percent(), what);
  if (loss.has_bursts()) text += fmt::format(", in bursts of {:g} packets", bursts.mean_packets());
  return text;
}

Effects LossEffects(const v1::PacketLoss& loss) {
  const double lost = LostShare(loss);
  const double arrives = 1 - lost;
  Effects effects;
  if (BothDirections(loss.traffic())) {
    effects.push_back(fmt::format(
        "a packet and its answer both arrive in {:.3g} % of cases ({:.3g} % × {:.3g} %)",
        arrives * arrives * 100, arrives * 100, arrives * 100));
  } else {
    effects.push_back(
        fmt::format("{:.3g} % of {} packets arrive", arrives * 100, Direction(loss.traffic())));
  }
  const v1::LossBursts& bursts = loss.bursts();
  if (bursts.mean_packets() > 0) {
    effects.push_back(fmt::format("{:.3g} packets are lost in a row on average, then {:.3g} pass",
                                  bursts.mean_packets(), bursts.mean_packets() * arrives / lost));
  } else if (loss.has_bursts()) {
    effects.push_back(fmt::format("bad for {:.3g} packets on average, then good for {:.3g}",
                                  100 / bursts.leave_percent(), 100 / bursts.enter_percent()));
  }
  if (!CarriesTcp(loss.traffic())) return effects;
  effects.emplace_back(
      "TCP sends again: each loss costs 200ms or more, a lost connection attempt 1s or more");
  if (loss.counting() != v1::COUNTING_EXACT) {
    effects.emplace_back(
        "where the kernel hands over many packets as one, up to 64KiB of TCP data share one fate; "
        "counting: exact decides for each packet of the wire");
  }
  return effects;
}

std::string LatencyInWords(const v1::Latency& latency) {
  std::string time = TimeText(latency.delay());
  if (latency.has_jitter()) time += " ± " + TimeText(latency.jitter());
  return fmt::format("hold {} back for {}, {}", Packets(latency.traffic()), time,
                     TrafficInWords(latency.traffic()));
}

std::string JitterInWords(const v1::Latency& latency) {
  const std::string jitter = TimeText(latency.jitter());
  std::string text;
  switch (latency.distribution()) {
    case v1::JITTER_DISTRIBUTION_NORMAL:
      text = fmt::format(
          "two packets of three are within ± {} of that, one of twenty is off by more than twice "
          "as much",
          jitter);
      break;
    case v1::JITTER_DISTRIBUTION_PARETO:
      text = fmt::format(
          "most packets come a little sooner, a few much later: {} is the standard deviation",
          jitter);
      break;
    default:
      text = fmt::format("± {} on each packet, evenly spread", jitter);
      break;
  }
  if (latency.correlation() > 0) {
    text += fmt::format(", like the one before it by {:g} %", latency.correlation());
  }
  return text + (latency.keep_order() ? "; none overtakes another, which makes the mean longer"
                                      : "; packets may overtake each other");
}

Effects LatencyEffects(const v1::Latency& latency) {
  const Nanoseconds delay = FromProto(latency.delay());
  const bool both = BothDirections(latency.traffic());
  const Nanoseconds round_trip = both ? 2 * delay : delay;
  Effects effects;
  effects.push_back(both
                        ? fmt::format("2 × {} = {} on each round trip, since both directions match",
                                      FormatDuration(delay), FormatDuration(round_trip))
                        : fmt::format("{} on each round trip", FormatDuration(delay)));
  if (CarriesTcp(latency.traffic())) {
    effects.push_back(fmt::format(
        "a request on a new TCP connection takes two round trips: {} more; a TLS handshake waits "
        "{} (TLS 1.3: {}) before it",
        FormatDuration(2 * round_trip), FormatDuration(2 * round_trip),
        FormatDuration(round_trip)));
  }
  if (latency.has_jitter()) effects.push_back(JitterInWords(latency));
  return effects;
}

// "0.8 s", "80 s": how long so many bytes take at the rate.
std::string Takes(double bytes, std::uint64_t rate) {
  return fmt::format("{:.2g} s", bytes * 8 / static_cast<double>(rate));
}

Effects BandwidthEffects(const v1::Bandwidth& bandwidth) {
  const std::string queue =
      bandwidth.has_queue() ? TimeText(bandwidth.queue()) : DefaultOf(bandwidth, "queue");
  return {fmt::format("{}/s{}: 1 MB takes {}, 100 MB {}", FormatRate(bandwidth.rate()),
                      BothDirections(bandwidth.traffic()) ? " each way" : "",
                      Takes(1e6, bandwidth.rate()), Takes(1e8, bandwidth.rate())),
          fmt::format("under load every packet waits up to {}; what would wait longer is dropped",
                      queue)};
}

Effects CorruptEffects(const v1::PacketCorrupt& corrupt) {
  if (corrupt.checksum() == v1::CORRUPT_CHECKSUM_MENDED) {
    return {
        "programs receive spoilt data that no checksum shows: TLS breaks the connection, others "
        "may take it for good"};
  }
  return {fmt::format("the receiver drops them, as {:g} % of loss; TCP sends again",
                      corrupt.percent())};
}

std::string ReorderTime(const v1::PacketReorder& reorder) {
  return reorder.has_delay() ? TimeText(reorder.delay()) : DefaultOf(reorder, "delay");
}

std::string PartitionInWords(const v1::Partition& partition) {
  constexpr int kMostNamed = 6;
  std::vector<std::string> named(
      partition.addresses().begin(),
      partition.addresses().begin() + std::min(kMostNamed, partition.addresses_size()));
  if (partition.addresses_size() > kMostNamed) {
    named.push_back(fmt::format("and {} more", partition.addresses_size() - kMostNamed));
  }
  const std::string addresses = absl::StrJoin(named, ", ");
  std::string text = "cut off from ";
  if (partition.from().empty()) {
    text += addresses;
  } else {
    text += partition.from() + (addresses.empty() ? "" : " (" + addresses + ")");
  }
  return fmt::format("{}: {}, {}", text, Packets(partition.traffic()),
                     TrafficInWords(partition.traffic()));
}

std::string DnsInWords(const v1::Dns& dns) {
  std::string queries = dns.percent() > 0 ? fmt::format("{:g} % of DNS queries", dns.percent())
                                          : std::string("DNS queries");
  if (dns.names_size() > 0) {
    queries += " for " + absl::StrJoin(dns.names(), ", ") + " and names below";
  }
  queries += WhichInWords(dns.traffic());
  switch (dns.answer()) {
    case v1::DNS_ANSWER_SERVFAIL:
      return "answer " + queries + ": server failure";
    case v1::DNS_ANSWER_NXDOMAIN:
      return "answer " + queries + ": no such domain";
    case v1::DNS_ANSWER_LATE:
      return fmt::format("hold {} back for {}", queries, TimeText(dns.delay()));
    default:
      return "let " + queries + " vanish";
  }
}

Effects DnsEffects(const v1::Dns& dns) {
  Effects effects;
  switch (dns.answer()) {
    case v1::DNS_ANSWER_SERVFAIL:
    case v1::DNS_ANSWER_NXDOMAIN:
      effects.emplace_back("lookups fail at once; most resolvers ask the next server first");
      break;
    case v1::DNS_ANSWER_LATE:
      effects.push_back(
          fmt::format("each lookup waits {} a query; a resolver that gives up after 5s asks again",
                      TimeText(dns.delay())));
      break;
    default:
      effects.emplace_back(
          "a lookup waits until its resolver gives up: 5s a try and two tries, unless resolv.conf "
          "says otherwise");
      break;
  }
  effects.emplace_back("what programs or a local cache know already is not asked again");
  return effects;
}

}  // namespace

double LostShare(const v1::PacketLoss& loss) {
  if (loss.every() > 0) return 1.0 / loss.every();
  if (loss.percent() > 0) return loss.percent() / 100;
  const v1::LossBursts& bursts = loss.bursts();
  const double moves = bursts.enter_percent() + bursts.leave_percent();
  if (!(moves > 0)) return 0;
  const double bad = bursts.bad_loss_percent() > 0 ? bursts.bad_loss_percent() : 100;
  return (bursts.leave_percent() * bursts.good_loss_percent() + bursts.enter_percent() * bad) /
         moves / 100;
}

std::string TrafficFaultInWords(const v1::Fault& fault) {
  const auto which = [](const v1::Traffic& traffic) {
    return fmt::format("{}, {}", Packets(traffic), TrafficInWords(traffic));
  };
  switch (fault.kind_case()) {
    case v1::Fault::kPacketLoss:
      return LossInWords(fault.packet_loss());
    case v1::Fault::kLatency:
      return LatencyInWords(fault.latency());
    case v1::Fault::kPacketDuplicate:
      return fmt::format("let {:g} % arrive twice of {}", fault.packet_duplicate().percent(),
                         which(fault.packet_duplicate().traffic()));
    case v1::Fault::kPacketCorrupt:
      return fmt::format(
          "turn a bit in {:g} % of {}, checksum {}", fault.packet_corrupt().percent(),
          which(fault.packet_corrupt().traffic()),
          fault.packet_corrupt().checksum() == v1::CORRUPT_CHECKSUM_MENDED ? "mended" : "wrong");
    case v1::Fault::kPacketReorder:
      return fmt::format("hold {:g} % back for {} of {}", fault.packet_reorder().percent(),
                         ReorderTime(fault.packet_reorder()),
                         which(fault.packet_reorder().traffic()));
    case v1::Fault::kBandwidth:
      return fmt::format("let at most {}/s through of {}", FormatRate(fault.bandwidth().rate()),
                         which(fault.bandwidth().traffic()));
    case v1::Fault::kPartition:
      return PartitionInWords(fault.partition());
    case v1::Fault::kDns:
      return DnsInWords(fault.dns());
    default:
      return "";
  }
}

std::vector<std::string> TrafficEffects(const v1::Fault& fault) {
  switch (fault.kind_case()) {
    case v1::Fault::kPacketLoss:
      return LossEffects(fault.packet_loss());
    case v1::Fault::kLatency:
      return LatencyEffects(fault.latency());
    case v1::Fault::kPacketDuplicate:
      return {"TCP throws the second one away; a program that speaks UDP may act twice"};
    case v1::Fault::kPacketCorrupt:
      return CorruptEffects(fault.packet_corrupt());
    case v1::Fault::kPacketReorder:
      return {fmt::format("these arrive {} late, behind what was sent after them",
                          ReorderTime(fault.packet_reorder())),
              "TCP takes three packets out of order for a loss and sends again"};
    case v1::Fault::kBandwidth:
      return BandwidthEffects(fault.bandwidth());
    case v1::Fault::kPartition:
      return {"connections across the cut hang until they time out: nothing is refused",
              BothDirections(fault.partition().traffic())
                  ? "both ways, though only this side does it"
                  : "one way only: the other side's packets still pass"};
    case v1::Fault::kDns:
      return DnsEffects(fault.dns());
    default:
      return {};
  }
}

}  // namespace firedrill::controller
