// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/dns_names.h"

#include <bpf/bpf.h>
#include <fmt/format.h>

#include "bpf/dns.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr std::size_t kLongestLabel = 63;
constexpr std::size_t kLongestName = 253;  // As text: two bytes less than as it is sent.

char Lower(char character) {
  return character >= 'A' && character <= 'Z' ? static_cast<char>(character | 0x20) : character;
}

}  // namespace

absl::StatusOr<std::uint64_t> HashDnsName(std::string_view name) {
  const auto refuse = [&] {
    return absl::InvalidArgumentError(fmt::format(
        "'{}' is not a name that can be asked for; allowed: labels of 1 to {} bytes with dots "
        "between them, {} bytes in all, such as db.example.org",
        name, kLongestLabel, kLongestName));
  };
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty() || name.size() > kLongestName) return refuse();
  std::uint64_t hash = FD_DNS_ROOT;
  // From the end, label by label: its bytes, then its length, which stands before it.
  for (bool more = true; more;) {
    const std::size_t dot = name.rfind('.');
    more = dot != std::string_view::npos;
    const std::string_view label = more ? name.substr(dot + 1) : name;
    if (label.empty() || label.size() > kLongestLabel) return refuse();
    for (auto at = label.rbegin(); at != label.rend(); ++at) {
      hash = fd_dns_hash(hash, static_cast<__u8>(Lower(*at)));
    }
    hash = fd_dns_hash(hash, static_cast<__u8>(label.size()));
    if (more) name = name.substr(0, dot);
  }
  return hash;
}

absl::Status DnsNames::Write(std::uint64_t key, std::uint64_t rules) {
  const int result = rules == 0 ? bpf_map_delete_elem(map_, &key)
                                : bpf_map_update_elem(map_, &key, &rules, BPF_ANY);
  if (result < 0) return absl::ErrnoToStatus(-result, "write a name of a DNS rule");
  if (rules == 0) {
    rules_.erase(key);
  } else {
    rules_[key] = rules;
  }
  return absl::OkStatus();
}

absl::Status DnsNames::Set(std::uint32_t slot, const std::vector<std::string>& names) {
  std::vector<std::uint64_t> keys;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const std::uint64_t key, HashDnsName(name));
    keys.push_back(key);
  }
  if (keys.empty()) keys.push_back(FD_DNS_ROOT);
  RETURN_IF_ERROR(Clear(slot));
  for (const std::uint64_t key : keys) {
    const auto found = rules_.find(key);
    if (found == rules_.end() && rules_.size() >= FD_DNS_MAX_NAMES) {
      return absl::ResourceExhaustedError(
          fmt::format("all DNS rules of a host together may have {} names", FD_DNS_MAX_NAMES));
    }
    const std::uint64_t before = found == rules_.end() ? 0 : found->second;
    RETURN_IF_ERROR(Write(key, before | std::uint64_t{1} << slot));
  }
  return absl::OkStatus();
}

absl::Status DnsNames::Clear(std::uint32_t slot) {
  const std::uint64_t bit = std::uint64_t{1} << slot;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> changed;
  for (const auto& [key, rules] : rules_) {
    if ((rules & bit) != 0) changed.emplace_back(key, rules & ~bit);
  }
  for (const auto& [key, rules] : changed) RETURN_IF_ERROR(Write(key, rules));
  return absl::OkStatus();
}

}  // namespace firedrill::agent
