// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/traffic/effect.h"
#include "agent/traffic/match.h"
#include "agent/traffic/netlink.h"
#include "bpf/traffic.h"
#include "firedrill/v1/fault.pb.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

/// An end of a connection that no rule touches.
struct ProtectedEndpoint {
  AddressBytes address{};
  std::uint16_t port = 0;
};

/// What one rule does, to which packets, for how long at most.
struct TrafficRuleSpec {
  std::string injection_id;
  v1::Traffic traffic;
  TrafficEffect effect;
  std::uint32_t seed = 0;               ///< Over 0: the same decisions again, packet by packet.
  bool every_device = false;            ///< Without a device: all that routes to its addresses use.
  std::optional<Nanoseconds> duration;  ///< The kernel itself ends the rule after this.
  std::vector<ProtectedEndpoint> protect;
  std::set<int> spared;  ///< Processes that are never anybody's owner: the agent's family.
};

/// As the kernel's table has it; its duration starts now.
fd_rule ToRule(const TrafficRuleSpec& spec);

/// As the kernel's table has them: with their port, and without it for later fragments.
std::vector<fd_endpoint> ToEndpoints(const std::vector<ProtectedEndpoint>& protect);

/// How much stands in front of the network header of a device's packets: 14 or 0. UNIMPLEMENTED for
/// kinds of devices that the programs cannot read.
absl::StatusOr<std::uint32_t> HeaderBytes(const NetworkDevice& device);

}  // namespace firedrill::agent
