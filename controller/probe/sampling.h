// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/probe/alignment.h"
#include "controller/probe/answer.h"
#include "controller/probe/probe.h"
#include "controller/probe/promql.h"

// Which instants an indicator is looked at, and what its answers mean. Pure functions; prometheus.h
// says the rules.
namespace firedrill::controller {

/// The instants at which an expression is evaluated: a little after each scrape of what it reads.
struct ScrapeGrid {
  std::int64_t phase_ms = 0;  ///< One of the scrapes' instants, Prometheus' time.
  std::int64_t interval_ms = 0;
  bool several_phases = false;  ///< It reads targets that are scraped at different instants.
  bool known = false;           ///< False: no timestamps could be had, the phase is arbitrary.
  std::int64_t longest_ms = 0;  ///< The longest scrape interval of what it reads; 0: not known.
  /// The longest of each selector, where it has any data.
  std::map<std::string, std::int64_t> selector_ms;

  std::int64_t LagMs() const;  ///< How long after a scrape is evaluated.
  std::int64_t UncertaintyMs() const;
};

/// Prometheus' own unit; what is below it is cut off.
std::int64_t ToMs(Nanoseconds duration);

/// A time in which Prometheus scraped nothing, in its own time: it was down, or cut off.
struct Hole {
  std::int64_t from_ms = 0;
  std::int64_t to_ms = 0;
};

/// A bounded range of evaluation instants, for query_range.
struct GridRange {
  std::int64_t start_ms = 0;
  std::int64_t end_ms = 0;
  std::int64_t step_ms = 0;
};

/// PromQL that gives newest and oldest timestamp of what each selector reads, by job. At most eight
/// selectors are looked at.
std::string PhaseQuery(const std::vector<std::string>& selectors);

/// PromQL that gives the timestamp of the newest sample that the selectors read.
std::string NewestQuery(const std::vector<std::string>& selectors);

/// The interval at which `job` is scraped; of what a rule records (it is known to, or its name has
/// a colon) that of its evaluation.
std::int64_t IntervalMs(const PrometheusConfig& config, const std::string& job,
                        const std::string& selector);

/// From the answer to PhaseQuery; not known if it is empty.
ScrapeGrid GridOf(const PrometheusAnswer& phases, const std::vector<std::string>& selectors,
                  const PrometheusConfig& config);

/// Instants `step_ms` apart, one of which is `anchor_ms`, from `since_ms` to `now_ms`: at most
/// 10,000, the latest ones.
GridRange RangeAround(std::int64_t anchor_ms, std::int64_t step_ms, std::int64_t since_ms,
                      std::int64_t now_ms);

/// The grid's instants from `since_ms` to `now_ms`, at most 10,000, the latest ones.
GridRange RangeOf(const ScrapeGrid& grid, std::int64_t since_ms, std::int64_t now_ms);

/// What the evaluation `values` and, where the grid is known, `newest` on the same instants say.
ProbeAnswer::Indicator IndicatorOfGrid(const PrometheusAnswer& values,
                                       const PrometheusAnswer& newest, const ScrapeGrid& grid,
                                       std::int64_t now_ms, const ClockAlignment& clock);

/// What the raw samples of a plain selector say.
ProbeAnswer::Indicator IndicatorOfRaw(const PrometheusAnswer& samples, const std::string& selector,
                                      const std::optional<PrometheusConfig>& config,
                                      std::int64_t now_ms, const ClockAlignment& clock);

ProbeAnswer::StopCondition StopConditionOf(const PromqlShape& shape, const PrometheusAnswer& answer,
                                           bool blind_now);

/// PromQL that gives the timestamp of the newest scrape of any target: HolesOf reads its answer.
inline constexpr const char kNewestScrapeQuery[] = "max(timestamp(up))";

/// Drops the points that are not in [from_ms, to_ms], and of each series all but the latest
/// `most`. True if there were more than that.
bool KeepWithin(std::int64_t from_ms, std::int64_t to_ms, std::size_t most,
                PrometheusAnswer& answer);

/// Where longer than `tolerated_ms` passed from one scrape to the next, and from the last one to
/// `now_ms`. `newest` is the answer to kNewestScrapeQuery.
std::vector<Hole> HolesOf(const PrometheusAnswer& newest, std::int64_t tolerated_ms,
                          std::int64_t now_ms);

}  // namespace firedrill::controller
