// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace firedrill::agent {

/// The key of a name in the kernel's table: of "Shop.example.org" and "shop.example.org." alike.
/// INVALID_ARGUMENT if it is no name (RFC 1035, section 2.3.4: labels of 1 to 63 bytes, 253 in
/// all).
absl::StatusOr<std::uint64_t> HashDnsName(std::string_view name);

/// The kernel's table of names that rules choose queries by. Not thread-safe.
class DnsNames {
 public:
  /// `map` is fd_dns_names of the traffic programs; it must outlive this.
  explicit DnsNames(int map) : map_(map) {}

  /// From now on these and all below them are the rule's; empty: every name is.
  /// INVALID_ARGUMENT: not a name; RESOURCE_EXHAUSTED: more than FD_DNS_MAX_NAMES of all rules.
  absl::Status Set(std::uint32_t slot, const std::vector<std::string>& names);
  /// From now on the rule has none.
  absl::Status Clear(std::uint32_t slot);

 private:
  absl::Status Write(std::uint64_t key, std::uint64_t rules);

  const int map_;
  std::map<std::uint64_t, std::uint64_t> rules_;  // what the kernel has
};

}  // namespace firedrill::agent
