// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controller/probe/answer.h"
#include "controller/probe/probe.h"
#include "controller/probe/sampling.h"

// Where one sample of ALERTS is missing between two: did the rule not hold at that evaluation, or
// was it not evaluated? In the first case Prometheus has written a stale marker at the evaluation's
// instant, in the second nothing. A range of raw samples leaves markers out, an instant query does
// not look past one: what is there a millisecond before the evaluation and gone at it was ended by
// a marker. Pure functions.
namespace firedrill::controller {

/// The evaluations to look at.
struct MarkerPlan {
  using Labels = std::map<std::string, std::string>;  ///< As AlertSeries has them.

  std::string query;  ///< To be asked for over both ranges.
  GridRange before;   ///< A millisecond before each evaluation.
  GridRange at;
  /// Those of which alone an alert has no sample, in milliseconds since the epoch.
  std::map<Labels, std::set<std::int64_t>> missing;
};

/// For the answer to AlertsQuery. nullopt: no single sample is missing, or kDefaultLookBack does
/// not reach from one evaluation to the next. Bounded: of many the latest.
std::optional<MarkerPlan> PlanMarkers(const ProbeQuestion::Alert& alert,
                                      const PrometheusAnswer& samples, Nanoseconds interval);

/// Adds a sample of value 0 to the series of each alert that a marker ended in such a gap.
void AddMarkers(const MarkerPlan& plan, const PrometheusAnswer& before, const PrometheusAnswer& at,
                Nanoseconds clock_offset, std::vector<AlertSeries>& series);

}  // namespace firedrill::controller
