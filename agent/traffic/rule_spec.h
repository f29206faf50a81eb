// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
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
  double loss_share = 0;                ///< Over 0 to 1: loses packets. 0: delays them.
  Nanoseconds delay{0};                 ///< At most 60 s, as is jitter.
  Nanoseconds jitter{0};                ///< Uniform deviation either way.
  std::optional<Nanoseconds> duration;  ///< The kernel itself ends the rule after this.
  std::vector<ProtectedEndpoint> protect;
};

/// INVALID_ARGUMENT if what it does to packets is out of bounds or nothing.
absl::Status CheckEffect(const TrafficRuleSpec& spec);

/// As the kernel's table has it; its duration starts now.
fd_rule ToRule(const TrafficRuleSpec& spec);

/// As the kernel's table has them: with their port, and without it for later fragments.
std::vector<fd_endpoint> ToEndpoints(const std::vector<ProtectedEndpoint>& protect);

/// How much stands in front of the network header of a device's packets: 14 or 0. UNIMPLEMENTED for
/// kinds of devices that the programs cannot read.
absl::StatusOr<std::uint32_t> HeaderBytes(const NetworkDevice& device);

}  // namespace firedrill::agent
