// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/match.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "bpf/traffic.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr int kIpv4Offset = 12;  // of the IPv4 address in its IPv4-mapped form
constexpr AddressBytes kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::uint32_t kAllProtocols = (1u << FD_PROTOCOLS) - 1;

std::optional<int> ParseNumber(std::string_view text, int maximum) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (value < 0 || value > maximum) return std::nullopt;
  return value;
}

// The bit of an address, counted from the first of its own family's form.
bool Bit(const Prefix& prefix, int position) {
  const int at = position + (prefix.ipv4 ? kIpv4Offset * 8 : 0);
  return (prefix.address[at / 8] >> (7 - at % 8)) & 1;
}

template <typename Parsed>
absl::Status ParseAll(const google::protobuf::RepeatedPtrField<std::string>& texts,
                      const char* field, absl::StatusOr<Parsed> (*parse)(std::string_view),
                      std::vector<Parsed>& out) {
  for (const std::string& text : texts) {
    absl::StatusOr<Parsed> parsed = parse(text);
    if (!parsed.ok()) {
      return absl::InvalidArgumentError(
          fmt::format("traffic.{}: {}", field, std::string(parsed.status().message())));
    }
    out.push_back(*parsed);
  }
  return absl::OkStatus();
}

std::optional<std::uint32_t> ProtocolBits(v1::Protocol protocol) {
  switch (protocol) {
    case v1::PROTOCOL_UNSPECIFIED:
    case v1::PROTOCOL_ANY:
      return kAllProtocols;
    case v1::PROTOCOL_TCP:
      return 1u << FD_TCP;
    case v1::PROTOCOL_UDP:
      return 1u << FD_UDP;
    case v1::PROTOCOL_ICMP:
      return 1u << FD_ICMP;
    default:  // An open enum: a newer peer's value.
      return std::nullopt;
  }
}

}  // namespace

bool Prefix::Covers(const Prefix& other) const {
  if (ipv4 != other.ipv4 || bits > other.bits) return false;
  for (int position = 0; position < bits; ++position) {
    if (Bit(*this, position) != Bit(other, position)) return false;
  }
  return true;
}

absl::StatusOr<Prefix> ParsePrefix(std::string_view text) {
  const auto invalid = [&](std::string_view why) {
    return absl::InvalidArgumentError(fmt::format(
        "'{}' {}; allowed is an IPv4 or IPv6 address or prefix, such as 10.0.0.0/8 or 2001:db8::1",
        text, why));
  };
  const std::size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  Prefix prefix;
  prefix.address = kMapped;
  int longest = 32;
  if (inet_pton(AF_INET, address.c_str(), &prefix.address[kIpv4Offset]) == 1) {
    prefix.ipv4 = true;
  } else if (inet_pton(AF_INET6, address.c_str(), prefix.address.data()) == 1) {
    longest = 128;
  } else {
    return invalid("is not an address");
  }
  prefix.bits = longest;
  if (slash != std::string_view::npos) {
    const std::optional<int> bits = ParseNumber(text.substr(slash + 1), longest);
    if (!bits) return invalid(fmt::format("has a prefix length that is not 0 to {}", longest));
    prefix.bits = *bits;
  }
  if (!prefix.ipv4 && prefix.bits >= 96 &&
      std::memcmp(prefix.address.data(), kMapped.data(), kIpv4Offset) == 0) {
    prefix.ipv4 = true;
    prefix.bits -= 96;
    longest = 32;
  }
  for (int position = prefix.bits; position < longest; ++position) {
    if (Bit(prefix, position)) return invalid("has bits set beyond its prefix length");
  }
  return prefix;
}

absl::StatusOr<PortRange> ParsePorts(std::string_view text) {
  const std::size_t dash = text.find('-');
  const std::optional<int> first = ParseNumber(text.substr(0, dash), 65535);
  const std::optional<int> last =
      dash == std::string_view::npos ? first : ParseNumber(text.substr(dash + 1), 65535);
  if (!first || !last || *first < 1 || *first > *last) {
    return absl::InvalidArgumentError(fmt::format(
        "'{}' is not a port or range of ports; allowed are 1 to 65535, such as 6379 or 8000-8100",
        text));
  }
  return PortRange{static_cast<std::uint16_t>(*first), static_cast<std::uint16_t>(*last)};
}

absl::StatusOr<TrafficMatch> CompileMatch(const v1::Traffic& traffic) {
  TrafficMatch match;
  match.egress = traffic.direction() != v1::DIRECTION_INGRESS;
  match.ingress = traffic.direction() != v1::DIRECTION_EGRESS;
  if (!v1::Direction_IsValid(traffic.direction())) {
    return absl::InvalidArgumentError(
        "traffic.direction: unknown; allowed are egress, ingress, both");
  }
  const std::optional<std::uint32_t> protocols = ProtocolBits(traffic.protocol());
  if (!protocols) {
    return absl::InvalidArgumentError("traffic.protocol: unknown; allowed are any, tcp, udp, icmp");
  }
  match.protocols = *protocols;
  RETURN_IF_ERROR(ParseAll(traffic.addresses(), "addresses", ParsePrefix, match.addresses));
  RETURN_IF_ERROR(
      ParseAll(traffic.local_addresses(), "local_addresses", ParsePrefix, match.local_addresses));
  RETURN_IF_ERROR(ParseAll(traffic.ports(), "ports", ParsePorts, match.ports));
  RETURN_IF_ERROR(ParseAll(traffic.local_ports(), "local_ports", ParsePorts, match.local_ports));
  RETURN_IF_ERROR(ParseAll(traffic.remote_ports(), "remote_ports", ParsePorts, match.remote_ports));
  match.names.assign(traffic.hosts().begin(), traffic.hosts().end());
  match.owned = traffic.has_owner();
  RETURN_IF_ERROR(ParseAll(traffic.exclude().addresses(), "exclude.addresses", ParsePrefix,
                           match.excluded_addresses));
  RETURN_IF_ERROR(
      ParseAll(traffic.exclude().ports(), "exclude.ports", ParsePorts, match.excluded_ports));
  const bool ports =
      !match.ports.empty() || !match.local_ports.empty() || !match.remote_ports.empty();
  if (ports && traffic.protocol() == v1::PROTOCOL_ICMP) {
    return absl::InvalidArgumentError(
        "traffic.ports: icmp has no ports; leave ports out, or choose tcp, udp or any");
  }
  if (!v1::TcpSegments_IsValid(traffic.segments())) {
    return absl::InvalidArgumentError("traffic.segments: unknown; allowed are all, data, syn");
  }
  match.data_only = traffic.segments() == v1::TCP_SEGMENTS_DATA;
  match.syn_only = traffic.segments() == v1::TCP_SEGMENTS_SYN;
  if ((match.data_only || match.syn_only) && traffic.protocol() != v1::PROTOCOL_TCP) {
    return absl::InvalidArgumentError("traffic.segments: only TCP has them; say protocol: tcp");
  }
  return match;
}

std::string ToString(const Prefix& prefix) {
  char text[INET6_ADDRSTRLEN] = "";
  if (prefix.ipv4) {
    inet_ntop(AF_INET, &prefix.address[kIpv4Offset], text, sizeof(text));
  } else {
    inet_ntop(AF_INET6, prefix.address.data(), text, sizeof(text));
  }
  const int longest = prefix.ipv4 ? 32 : 128;
  return prefix.bits == longest ? std::string(text) : fmt::format("{}/{}", text, prefix.bits);
}

}  // namespace firedrill::agent
