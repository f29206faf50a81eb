// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "bpf/traffic.h"

namespace firedrill::agent {

/// FD_JITTER_STEPS quantiles of the distribution, in units of its standard deviation times
/// FD_JITTER_ONE, ascending; as a whole they have the mean 0 and the standard deviation 1.
/// FD_NORMAL; FD_PARETO: of the shape 3, of which no deviation is below -0.62.
std::vector<std::int32_t> JitterTable(fd_distribution distribution);

}  // namespace firedrill::agent
