// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/jitter_table.h"

#include <cmath>
#include <numeric>

namespace firedrill::agent {
namespace {

constexpr double kParetoShape = 3;  // As netem's: the variance exists, higher moments do not.

// By bisection: it is done once, and as exact as erfc is.
double NormalQuantile(double share) {
  double low = -10, high = 10;
  while (high - low > 1e-9) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle / std::sqrt(2.0)) / 2 < share ? low : high) = middle;
  }
  return low;
}

double ParetoQuantile(double share) { return std::pow(1 - share, -1 / kParetoShape); }

}  // namespace

std::vector<std::int32_t> JitterTable(fd_distribution distribution) {
  std::vector<double> quantiles(FD_JITTER_STEPS);
  for (std::size_t step = 0; step < quantiles.size(); ++step) {
    const double share = (static_cast<double>(step) + 0.5) / FD_JITTER_STEPS;
    quantiles[step] = distribution == FD_PARETO ? ParetoQuantile(share) : NormalQuantile(share);
  }
  // The table ends where the tail goes on: what it leaves out is made up for.
  const double count = FD_JITTER_STEPS;
  const double mean = std::accumulate(quantiles.begin(), quantiles.end(), 0.0) / count;
  double squares = 0;
  for (const double quantile : quantiles) squares += (quantile - mean) * (quantile - mean);
  const double deviation = std::sqrt(squares / count);
  std::vector<std::int32_t> table;
  for (const double quantile : quantiles) {
    table.push_back(
        static_cast<std::int32_t>(std::lround((quantile - mean) / deviation * FD_JITTER_ONE)));
  }
  return table;
}

}  // namespace firedrill::agent
