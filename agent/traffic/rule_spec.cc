// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/rule_spec.h"

#include <fmt/format.h>
#include <net/if_arp.h>

#include <cstring>

namespace firedrill::agent {

fd_rule ToRule(const TrafficRuleSpec& spec) {
  fd_rule rule{};
  rule.until_ns = UINT64_MAX;
  if (spec.duration)
    rule.until_ns = static_cast<__u64>(
        Nanoseconds((Clock::Real().Steady() + *spec.duration).time_since_epoch()).count());
  // Far apart for neighbours, and 0 for none only.
  rule.seed = spec.seed * 0x9e3779b97f4a7c15ull;
  WriteEffect(spec.effect, rule);
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
