// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controller/probe/answer.h"
#include "controller/probe/probe.h"
#include "controller/probe/sampling.h"

// What Prometheus tells of one alert: the samples of ALERTS, and its rule's expression. Pure
// functions.
namespace firedrill::controller {

/// PromQL that selects ALERTS of what `alert` asks for.
std::string AlertsSelector(const ProbeQuestion::Alert& alert);

/// PromQL that gives the raw samples of ALERTS of what `alert` asks for.
std::string AlertsQuery(const ProbeQuestion::Alert& alert, std::int64_t window_ms);

/// The answer to AlertsQuery, as it is, on our clock.
std::vector<AlertSeries> AlertSeriesOf(const PrometheusAnswer& answer, Nanoseconds clock_offset);

/// Whether it fires: it has fired, and its samples, of either state, go on without a pause of more
/// than 2.5 evaluation intervals until now. Where Prometheus was blind nothing was looked at, and
/// nothing resolved: such times do not count. Raw samples are never repeated, so a restarted
/// Prometheus does not say "firing" of its own past.
bool FiringNow(const std::vector<AlertSeries>& series, Nanoseconds evaluation_interval,
               const std::vector<TimeSpan>& blind, SystemTime now);

/// What the samples of ALERTS and what the evaluator holds (/api/v1/alerts) say of the same alert,
/// where they contradict each other by more than half an evaluation interval: in words, else empty.
/// `samples` answers AlertsQuery; a beginning that is not in its window is not compared, nor one
/// before a pause: a `for` of ten minutes or more outlives a restart, its samples pause. Nor one
/// after the newest sample: `active` was told at another instant.
std::string Contradiction(const std::vector<PrometheusAlert>& active,
                          const PrometheusAnswer& samples, Nanoseconds evaluation_interval,
                          Nanoseconds query_offset, std::int64_t since_ms);

/// When a rule's expression is looked at, and how.
struct TruthPlan {
  std::string query;        ///< Counts the series, by those of their labels that are asked for.
  std::string plain_query;  ///< The expression as it is: for one that is a number and no vector.
  /// What the counted series must carry.
  std::map<std::string, std::string> labels;
  std::string newest_query;  ///< Empty: no timestamps can be had.
  GridRange range;
  std::int64_t lag_ms = 0;  ///< Of the range's instants after those of the scrapes.
};

/// At each scrape of what the expression reads; where that is not known at each evaluation of the
/// rule, one of which was at `tick_ms`. Labels that the rule sets itself are not asked of its
/// series; of `{{ $labels.instance }}` it is known what the series must carry.
TruthPlan PlanTruth(const PrometheusRule& rule, const ProbeQuestion::Alert& alert,
                    const ScrapeGrid& grid, std::int64_t tick_ms, std::int64_t since_ms,
                    std::int64_t now_ms);

/// How many series the expression gave, 0 where it did not hold. Stamped with the newest sample
/// that was read. Where nothing new was scraped though Prometheus was not blind the rule was
/// evaluated all the same (series that vanished, a window that empties): stamped with the instant
/// of the missing scrape.
std::vector<RawSample> TruthOf(const TruthPlan& plan, const PrometheusAnswer& counts, bool plain,
                               const PrometheusAnswer& newest, const std::vector<Hole>& holes,
                               std::int64_t now_ms, Nanoseconds clock_offset);

}  // namespace firedrill::controller
