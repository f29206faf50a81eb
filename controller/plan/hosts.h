// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "firedrill/v1/agent_link.pb.h"
#include "firedrill/v1/experiment.pb.h"
#include "firedrill/v1/operator.pb.h"

// How a target chooses hosts: for runs and for previews. Pure functions.
namespace firedrill::controller {

/// A number from 0 to `below` - 1; `below` is at least 1.
using Random = std::function<std::uint64_t(std::uint64_t below)>;

/// In words: "role=cache, host a or b".
std::string TargetInWords(const v1::Target& target);

/// Whether the agent is one that the target names or describes.
bool Selects(const v1::Target& target, const v1::Hello& hello);

/// How many of `found` hosts are meant; may be more than there are.
std::size_t Wanted(const v1::Amount& pick, std::size_t found);

/// So many of `hosts` at random, sorted.
std::vector<std::string> Sample(std::vector<std::string> hosts, std::size_t wanted,
                                const Random& random);

/// The first few, and how many more there are.
std::string FirstOf(const std::vector<std::string>& reasons);

/// What there is, for a target that nothing matches: "connected: cache1 (role=cache)".
std::string FleetInWords(const std::vector<v1::Agent>& agents);

}  // namespace firedrill::controller
