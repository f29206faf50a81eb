// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/markers.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "controller/probe/alerts.h"

namespace firedrill::controller {
namespace {

constexpr std::int64_t kMostInstants = 5'000;  // of a range

using Labels = MarkerPlan::Labels;
using InstantsByLabels = std::map<Labels, std::set<std::int64_t>>;

// Of either state.
InstantsByLabels InstantsOf(const PrometheusAnswer& samples) {
  InstantsByLabels instants;
  for (const PrometheusSeries& series : samples.series) {
    Labels labels = series.labels;
    labels.erase("__name__");
    labels.erase("alertstate");
    for (const PrometheusPoint& point : series.points) instants[labels].insert(point.at_ms);
  }
  return instants;
}

// The evaluations of which alone there is no sample.
std::set<std::int64_t> Missing(const std::set<std::int64_t>& instants, std::int64_t interval_ms) {
  std::set<std::int64_t> missing;
  std::optional<std::int64_t> last;
  for (const std::int64_t at : instants) {
    if (last && at - *last == 2 * interval_ms) missing.insert(*last + interval_ms);
    last = at;
  }
  return missing;
}

}  // namespace

std::optional<MarkerPlan> PlanMarkers(const ProbeQuestion::Alert& alert,
                                      const PrometheusAnswer& samples, Nanoseconds interval) {
  const std::int64_t interval_ms = ToMs(interval);
  if (interval.count() <= 0 || interval >= kDefaultLookBack) return std::nullopt;
  MarkerPlan plan;
  std::set<std::int64_t> all;
  for (const auto& [labels, instants] : InstantsOf(samples)) {
    std::set<std::int64_t> missing = Missing(instants, interval_ms);
    if (missing.empty()) continue;
    all.insert(missing.begin(), missing.end());
    plan.missing.emplace(labels, std::move(missing));
  }
  if (all.empty()) return std::nullopt;
  // Evaluations are on one grid, unless the interval has changed meanwhile.
  const std::int64_t last = *all.rbegin();
  std::int64_t first = last;
  for (const std::int64_t at : all) {
    if ((last - at) % interval_ms == 0 && (last - at) / interval_ms < kMostInstants) {
      first = std::min(first, at);
    }
  }
  plan.query = AlertsSelector(alert);
  plan.before = {first - 1, last - 1, interval_ms};
  plan.at = {first, last, interval_ms};
  return plan;
}

void AddMarkers(const MarkerPlan& plan, const PrometheusAnswer& before, const PrometheusAnswer& at,
                Nanoseconds clock_offset, std::vector<AlertSeries>& series) {
  const InstantsByLabels held = InstantsOf(before);
  const InstantsByLabels still = InstantsOf(at);
  const auto has = [](const InstantsByLabels& all, const Labels& labels, std::int64_t instant) {
    const auto found = all.find(labels);
    return found != all.end() && found->second.count(instant) > 0;
  };
  std::map<Labels, std::vector<RawSample>> markers;
  for (const auto& [labels, missing] : plan.missing) {
    for (const std::int64_t tick : missing) {
      if (!has(held, labels, tick - 1) || has(still, labels, tick)) continue;
      markers[labels].push_back({SystemTime(std::chrono::milliseconds(tick)) + clock_offset, 0});
    }
  }
  for (AlertSeries& one : series) {
    const auto ended = markers.find(one.labels);
    if (ended == markers.end() || one.samples.empty()) continue;
    const auto count = static_cast<std::ptrdiff_t>(one.samples.size());
    one.samples.insert(one.samples.end(), ended->second.begin(), ended->second.end());
    std::inplace_merge(
        one.samples.begin(), one.samples.begin() + count, one.samples.end(),
        [](const RawSample& left, const RawSample& right) { return left.at < right.at; });
    markers.erase(ended);  // the other series of these labels needs none
  }
}

}  // namespace firedrill::controller
