// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/prefix_table.h"

#include <cstdint>
#include <vector>

namespace firedrill::agent {

std::map<Prefix, fd_masks> BuildPrefixTable(const MatchSlots& slots) {
  std::map<Prefix, fd_masks> own;
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    if (slots[slot] == nullptr) continue;
    const std::uint64_t bit = std::uint64_t{1} << slot;
    for (const Prefix& prefix : slots[slot]->addresses) own[prefix].include |= bit;
    for (const Prefix& prefix : slots[slot]->excluded_addresses) own[prefix].exclude |= bit;
    for (const Prefix& prefix : slots[slot]->local_addresses) own[prefix].local |= bit;
  }
  // The map's order puts a prefix before all that it covers: those that cover the present one are
  // a stack.
  std::map<Prefix, fd_masks> table;
  std::vector<std::map<Prefix, fd_masks>::const_iterator> covering;
  for (const auto& [prefix, masks] : own) {
    while (!covering.empty() && !covering.back()->first.Covers(prefix)) covering.pop_back();
    fd_masks sum = masks;
    if (!covering.empty()) {
      sum.include |= covering.back()->second.include;
      sum.exclude |= covering.back()->second.exclude;
      sum.local |= covering.back()->second.local;
    }
    covering.push_back(table.emplace(prefix, sum).first);
  }
  return table;
}

}  // namespace firedrill::agent
