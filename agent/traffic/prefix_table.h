// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <map>

#include "agent/traffic/match.h"
#include "bpf/traffic.h"

namespace firedrill::agent {

/// The match of each slot; null where there is no rule.
using MatchSlots = std::array<const TrafficMatch*, FD_MAX_RULES>;

/// What the longest-prefix tables must say so that one look-up finds the rules of an address: each
/// prefix carries the bits of every prefix that covers it.
std::map<Prefix, fd_masks> BuildPrefixTable(const MatchSlots& slots);

}  // namespace firedrill::agent
