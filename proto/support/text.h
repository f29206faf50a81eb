// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "firedrill/v1/experiment.pb.h"
#include "firedrill/v1/fault.pb.h"
#include "proto/support/clock.h"

// Values as people spell them in files and flags. Every Parse… returns InvalidArgument with a
// message that says what is allowed (not what was found: the caller names it).
namespace firedrill {

/// 1h30m, 50ms, 1.5s, 28d, 12w, 1d12h, 0; not negative, not infinite, at most 292 years.
absl::StatusOr<Nanoseconds> ParseDuration(std::string_view text);

/// A finite number: 33, 0.5, 1e-3.
absl::StatusOr<double> ParseNumber(std::string_view text);

/// 33 or 33%: finite, not negative, at most 100.
absl::StatusOr<double> ParsePercent(std::string_view text);

/// 1, 50% or all; none is not allowed.
absl::StatusOr<v1::Amount> ParseAmount(std::string_view text);
std::string FormatAmount(const v1::Amount& amount);

/// >= 0.99; with <, <=, >, >=, == and !=.
absl::StatusOr<v1::Comparison> ParseComparison(std::string_view text);
std::string FormatComparison(const v1::Comparison& comparison);
/// False when `value` is NaN, or the operator is unknown.
bool Holds(const v1::Comparison& comparison, double value);

/// An address block. An IPv4 block has 4 bytes in use, an IPv6 block 16, in network order.
struct Cidr {
  bool v6 = false;
  std::array<std::uint8_t, 16> bytes{};
  int prefix = 0;  ///< 0 to 32, or 0 to 128.
};

/// 10.0.0.0/8, 192.0.2.1, 2001:db8::/32. No bits beyond the prefix, no IPv4 spelled as IPv6.
absl::StatusOr<Cidr> ParseCidr(std::string_view text);

/// Both ends belong to it.
struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 0;
};

/// 6379 or 8000-8100; 1 to 65535.
absl::StatusOr<PortRange> ParsePorts(std::string_view text);

/// KILL, SIGTERM, term or 15: 1 to 64.
absl::StatusOr<int> ParseSignal(std::string_view text);

}  // namespace firedrill
