// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "firedrill/v1/fault.pb.h"

namespace firedrill::agent {

/// An IPv4 or IPv6 address in network order; an IPv4 one as ::ffff:a.b.c.d.
using AddressBytes = std::array<std::uint8_t, 16>;

/// Addresses that share their first `bits` bits; the others are zero.
struct Prefix {
  bool ipv4 = false;
  AddressBytes address{};
  int bits = 0;  ///< Of the family's own address: at most 32 for IPv4.

  /// Whether every address of `other` is one of this.
  bool Covers(const Prefix& other) const;
  friend auto operator<=>(const Prefix&, const Prefix&) = default;
};

struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 0;  ///< Inclusive.
  friend auto operator<=>(const PortRange&, const PortRange&) = default;
};

/// Which packets of a device a rule takes: v1::Traffic as the kernel's tables need it.
struct TrafficMatch {
  bool egress = true;
  bool ingress = true;
  std::uint32_t protocols = 0;  ///< Bits by enum fd_protocol.
  /// Of the other end, those of `names` among them. Empty: any.
  std::vector<Prefix> addresses;
  std::vector<std::string> names;       ///< Host names whose addresses are among `addresses`,
  std::size_t named_addresses = 0;      ///< as the last so many.
  std::vector<Prefix> local_addresses;  ///< Of this end. Empty: any.
  std::vector<PortRange> ports;         ///< Of either end. Empty: any.
  std::vector<PortRange> local_ports;
  std::vector<PortRange> remote_ports;
  bool data_only = false;  ///< TCP segments with data.
  bool syn_only = false;   ///< TCP segments with SYN.
  bool owned = false;      ///< Packets of marked sockets (OwnedSockets).
  std::vector<Prefix> excluded_addresses;
  std::vector<PortRange> excluded_ports;
};

/// "10.0.0.0/8", "192.0.2.1", "2001:db8::/32"; an IPv4-mapped IPv6 address is the IPv4 one.
/// INVALID_ARGUMENT says what was found and what is allowed, also for bits beyond the prefix.
absl::StatusOr<Prefix> ParsePrefix(std::string_view text);

/// "6379" or "8000-8100". INVALID_ARGUMENT as above.
absl::StatusOr<PortRange> ParsePorts(std::string_view text);

/// INVALID_ARGUMENT names the field of `traffic`. Device, names and owner are resolved elsewhere.
absl::StatusOr<TrafficMatch> CompileMatch(const v1::Traffic& traffic);

/// "10.0.0.0/8", without the length if it is one address.
std::string ToString(const Prefix& prefix);

}  // namespace firedrill::agent
