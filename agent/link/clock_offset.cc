// SPDX-License-Identifier: Apache-2.0
#include "agent/link/clock_offset.h"

#include <cstdlib>

namespace firedrill::agent {
namespace {

constexpr std::size_t kKept = 16;
// How fast two clocks may part: 50 ppm, more than a usual crystal's error.
constexpr std::int64_t kDriftPerMillion = 50;

}  // namespace

void ClockOffset::Add(SystemTime t1, SystemTime t2, SystemTime t3, SystemTime t4) {
  const Nanoseconds round_trip = (t4 - t1) - (t3 - t2);
  if (t4 < t1 || t3 < t2 || round_trip < Nanoseconds::zero()) return;
  const Nanoseconds offset = ((t2 - t1) + (t3 - t4)) / 2;
  const Estimate estimate{offset, round_trip / 2 + Nanoseconds(1)};
  // An estimate that cannot be true together with the last one: a clock was stepped, begin anew.
  if (!exchanges_.empty()) {
    const Estimate last = exchanges_.back().estimate;
    const Nanoseconds drifted =
        std::chrono::abs(t4 - exchanges_.back().at) / 1'000'000 * kDriftPerMillion;
    if (std::chrono::abs(offset - last.offset) >
        estimate.uncertainty + last.uncertainty + drifted) {
      exchanges_.clear();
    }
  }
  exchanges_.push_back({t4, estimate});
  if (exchanges_.size() > kKept) exchanges_.pop_front();
}

std::optional<ClockOffset::Estimate> ClockOffset::Best(SystemTime now) const {
  std::optional<Estimate> best;
  for (const Exchange& exchange : exchanges_) {
    Estimate estimate = exchange.estimate;
    estimate.uncertainty += std::chrono::abs(now - exchange.at) / 1'000'000 * kDriftPerMillion;
    if (!best || estimate.uncertainty < best->uncertainty) best = estimate;
  }
  return best;
}

}  // namespace firedrill::agent
