// SPDX-License-Identifier: Apache-2.0
#include "controller/plan/overlaps.h"

#include <fmt/format.h>

#include <algorithm>

#include "absl/strings/str_join.h"
#include "controller/plan/words_parts.h"
#include "google/protobuf/descriptor.h"
#include "proto/support/problem.h"
#include "proto/support/quantity.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

const v1::Traffic* TrafficOf(const v1::Fault& fault) {
  switch (fault.kind_case()) {
    case v1::Fault::kPacketLoss:
      return &fault.packet_loss().traffic();
    case v1::Fault::kLatency:
      return &fault.latency().traffic();
    case v1::Fault::kBandwidth:
      return &fault.bandwidth().traffic();
    default:
      return nullptr;
  }
}

template <typename Value>
bool Differ(Value a, Value b, Value any, Value unset) {
  return a != b && a != any && b != any && a != unset && b != unset;
}

template <typename List>
bool Disjoint(const List& a, const List& b) {
  if (a.empty() || b.empty()) return false;
  for (const std::string& one : a) {
    for (const std::string& other : b) {
      const auto x = ParsePorts(one);
      const auto y = ParsePorts(other);
      if (!x.ok() || !y.ok() || (x->first <= y->last && y->first <= x->last)) return false;
    }
  }
  return true;
}

// False only where it is plain that no packet is met by both.
bool MayMeet(const v1::Traffic& a, const v1::Traffic& b) {
  return !Differ(a.direction(), b.direction(), v1::DIRECTION_BOTH, v1::DIRECTION_UNSPECIFIED) &&
         !Differ(a.protocol(), b.protocol(), v1::PROTOCOL_ANY, v1::PROTOCOL_UNSPECIFIED) &&
         (a.device().empty() || b.device().empty() || a.device() == b.device()) &&
         !Disjoint(a.local_ports(), b.local_ports()) &&
         !Disjoint(a.remote_ports(), b.remote_ports());
}

bool BothWays(const v1::Traffic& traffic) {
  return traffic.direction() == v1::DIRECTION_BOTH ||
         traffic.direction() == v1::DIRECTION_UNSPECIFIED;
}

std::string Delays(const std::vector<const PlannedStep*>& steps) {
  std::vector<std::string> parts;
  Nanoseconds sum{0};
  bool both = true;
  for (const PlannedStep* step : steps) {
    const v1::Latency& latency = step->fault->latency();
    parts.push_back(TimeText(latency.delay()));
    sum += FromProto(latency.delay());
    both = both && BothWays(latency.traffic());
  }
  std::string text = fmt::format("{} = {}", absl::StrJoin(parts, " + "), FormatDuration(sum));
  if (both) text += fmt::format(", {} on each round trip", FormatDuration(2 * sum));
  return text;
}

std::string Losses(const std::vector<const PlannedStep*>& steps) {
  double arrives = 1;
  for (const PlannedStep* step : steps) arrives *= 1 - LostShare(step->fault->packet_loss());
  return fmt::format("{:.3g} % are lost in all", 100 * (1 - arrives));
}

std::string Rates(const std::vector<const PlannedStep*>& steps) {
  std::uint64_t lowest = steps.front()->fault->bandwidth().rate();
  for (const PlannedStep* step : steps) lowest = std::min(lowest, step->fault->bandwidth().rate());
  return "the lowest rate holds, " + FormatRate(lowest) + "/s";
}

}  // namespace

std::vector<std::string> OverlapsInWords(const PlannedStep& late,
                                         const std::vector<PlannedStep>& earlier) {
  const v1::Traffic* traffic = TrafficOf(*late.fault);
  if (traffic == nullptr) return {};
  std::vector<const PlannedStep*> together;
  std::vector<std::string> names;
  for (const PlannedStep& step : earlier) {
    const v1::Traffic* other = TrafficOf(*step.fault);
    const bool same_time = step.begin < late.end && late.begin < step.end;
    if (other == nullptr || !same_time || step.fault->kind_case() != late.fault->kind_case() ||
        !MayMeet(*traffic, *other)) {
      continue;
    }
    together.push_back(&step);
    names.push_back(Quoted(step.name));
  }
  if (together.empty()) return {};
  together.push_back(&late);
  const std::string effect = late.fault->has_latency()       ? Delays(together)
                             : late.fault->has_packet_loss() ? Losses(together)
                                                             : Rates(together);
  return {fmt::format("together with {}, on packets that both match: {}",
                      absl::StrJoin(names, " and "), effect)};
}

}  // namespace firedrill::controller
