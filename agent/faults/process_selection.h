// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <random>
#include <set>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/host/processes.h"
#include "firedrill/v1/fault.pb.h"

namespace firedrill::agent {

class Host;

/// The processes for which every given field of `selector` matches, without those that are never
/// touched: pid 1, kernel threads, zombies, `spared` and the ancestors of these.
/// NOT_FOUND if there is none: it says what was looked for, and when only untouchable ones matched.
absl::StatusOr<std::vector<Process>> SelectProcesses(const Host& host,
                                                     const v1::ProcessSelector& selector,
                                                     const std::set<int>& spared);

/// So many of `processes` as `amount` says (absent: one), chosen at random.
std::vector<Process> Pick(std::vector<Process> processes, const v1::Amount& amount,
                          std::mt19937_64& random);

}  // namespace firedrill::agent
