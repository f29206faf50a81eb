// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/rule_spec.h"

#include <fmt/format.h>
#include <net/if_arp.h>

#include <cmath>
#include <cstring>

namespace firedrill::agent {

absl::Status CheckEffect(const TrafficRuleSpec& spec) {
  constexpr Nanoseconds kMost = std::chrono::seconds(60);
  if (!(spec.loss_share >= 0 && spec.loss_share <= 1)) {
    return absl::InvalidArgumentError("percent: allowed are more than 0 and at most 100");
  }
  if (spec.delay < Nanoseconds(0) || spec.delay > kMost || spec.jitter < Nanoseconds(0) ||
      spec.jitter > kMost) {
    return absl::InvalidArgumentError("delay, jitter: allowed are 0 to 60s");
  }
  if (spec.loss_share == 0 && spec.delay == Nanoseconds(0) && spec.jitter == Nanoseconds(0)) {
    return absl::InvalidArgumentError("neither loss nor delay: the rule would do nothing");
  }
  if (spec.loss_share > 0 && spec.loss_share < 1.0 / 4294967296.0) {
    return absl::InvalidArgumentError("percent: too small to tell from nothing");
  }
  return absl::OkStatus();
}

fd_rule ToRule(const TrafficRuleSpec& spec) {
  fd_rule rule{};
  rule.until_ns = UINT64_MAX;
  if (spec.duration)
    rule.until_ns = static_cast<__u64>(
        Nanoseconds((Clock::Real().Steady() + *spec.duration).time_since_epoch()).count());
  rule.loss_threshold = static_cast<__u64>(std::llround(spec.loss_share * 4294967296.0));
  rule.delay_ns = static_cast<__u64>(spec.delay.count());
  rule.jitter_ns = static_cast<__u64>(spec.jitter.count());
  return rule;
}

std::vector<fd_endpoint> ToEndpoints(const std::vector<ProtectedEndpoint>& protect) {
  std::vector<fd_endpoint> endpoints;
  for (const ProtectedEndpoint& end : protect) {
    fd_endpoint endpoint{};
    std::memcpy(endpoint.address, end.address.data(), sizeof(endpoint.address));
    endpoints.push_back(endpoint);  // Later fragments have no port.
    endpoint.port = end.port;
    endpoints.push_back(endpoint);
  }
  return endpoints;
}

absl::StatusOr<std::uint32_t> HeaderBytes(const NetworkDevice& device) {
  switch (device.type) {
    case ARPHRD_ETHER:
    case ARPHRD_LOOPBACK:
      return FD_ETHERNET_BYTES;
    case ARPHRD_NONE:  // WireGuard, tun
    case ARPHRD_TUNNEL:
    case ARPHRD_TUNNEL6:
    case ARPHRD_SIT:
    case ARPHRD_IPGRE:
    case ARPHRD_PPP:
      return 0;
    default:
      return absl::UnimplementedError(fmt::format(
          "device {} is neither Ethernet, loopback nor a tunnel of IP packets (ARPHRD {})",
          device.name, device.type));
  }
}

}  // namespace firedrill::agent
