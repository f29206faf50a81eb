// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/sampling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include "controller/probe/promql_ranges.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

constexpr std::size_t kSelectors = 8;
constexpr std::int64_t kMostSteps = 10'000;  // Prometheus refuses more than 11,000
constexpr std::int64_t kMostLagMs = 100;
constexpr std::int64_t kSamePhaseMs = 50;  // apart at most: one phase, scraped a little late

Nanoseconds Ms(std::int64_t ms) { return std::chrono::milliseconds(ms); }

SystemTime Aligned(std::int64_t at_ms, const ClockAlignment& clock) {
  return SystemTime(Ms(at_ms)) + clock.offset;
}

std::string LabelsText(const std::map<std::string, std::string>& labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    if (text.size() > 200) return "{" + text + ", …}";
    text += (text.empty() ? "" : ", ") + name + "=" + QuoteLabelValue(value);
  }
  return "{" + text + "}";
}

absl::Status OneValue(const PrometheusAnswer& answer) {
  if (answer.series.size() <= 1) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "the query gives {} series, such as {} and {}, where one value is wanted: choose one by its "
      "labels, or join them by sum(), avg(), min() or max()",
      answer.series.size(), LabelsText(answer.series[0].labels),
      LabelsText(answer.series[1].labels)));
}

// Says why there is no value now: never was, NaN, or an old one.
absl::Status Freshness(const PrometheusAnswer& answer, const std::vector<RawSample>& samples,
                       SystemTime now, Nanoseconds interval) {
  if (answer.series.empty() || answer.series[0].points.empty()) {
    return absl::NotFoundError("the query has no data");
  }
  if (!samples.empty() && (interval.count() == 0 || now - samples.back().at <= 3 * interval)) {
    return absl::OkStatus();
  }
  if (std::isnan(answer.series[0].points.back().value)) {
    return absl::NotFoundError("the query gives NaN: perhaps a ratio without any traffic");
  }
  if (samples.empty()) return absl::NotFoundError("the query has no data");
  return absl::NotFoundError(fmt::format("the query has no data now; its last is {} old",
                                         FormatDuration(now - samples.back().at)));
}

std::string Union(const std::vector<std::string>& selectors,
                  const std::vector<std::string>& aggregations) {
  std::string query;
  for (std::size_t i = 0; i < std::min(selectors.size(), kSelectors); ++i) {
    for (const std::string& aggregation : aggregations) {
      // A label of its own each, or `or` would take only one of them.
      query += fmt::format("{}label_replace({}(timestamp({})),\"firedrill\",\"{} {}\",\"\",\"\")",
                           query.empty() ? "" : " or ", aggregation, selectors[i], aggregation, i);
    }
  }
  return query;
}

// Which selector a series of the answer to Union is of.
std::string SelectorOf(const PrometheusSeries& series, const std::vector<std::string>& selectors) {
  const auto label = series.labels.find("firedrill");
  if (selectors.empty()) return "";
  if (label == series.labels.end()) return selectors[0];
  const std::size_t space = label->second.rfind(' ');
  if (space == std::string::npos) return selectors[0];
  const std::size_t index = std::strtoul(label->second.c_str() + space, nullptr, 10);
  return index < selectors.size() ? selectors[index] : selectors[0];
}

}  // namespace

std::int64_t ToMs(Nanoseconds duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

std::int64_t ScrapeGrid::LagMs() const { return std::min(interval_ms / 10, kMostLagMs); }

std::int64_t ScrapeGrid::UncertaintyMs() const {
  return known && !several_phases ? LagMs() : interval_ms;
}

std::string PhaseQuery(const std::vector<std::string>& selectors) {
  return Union(selectors, {"max by (job) ", "min by (job) "});
}

std::string NewestQuery(const std::vector<std::string>& selectors) {
  return "max(" + Union(selectors, {"max"}) + ")";
}

std::int64_t IntervalMs(const PrometheusConfig& config, const std::string& job,
                        const std::string& selector) {
  const std::string name = MetricNameOf(selector);
  const auto rule = config.recorded_interval.find(name);
  const auto scraped = config.job_scrape_interval.find(job);
  Nanoseconds interval = config.scrape_interval;
  if (rule != config.recorded_interval.end()) {
    interval = rule->second;
  } else if (name.find(':') != std::string::npos) {
    interval = config.evaluation_interval;
  } else if (scraped != config.job_scrape_interval.end()) {
    interval = scraped->second;
  }
  return std::max<std::int64_t>(1, ToMs(interval));
}

ScrapeGrid GridOf(const PrometheusAnswer& phases, const std::vector<std::string>& selectors,
                  const PrometheusConfig& config) {
  ScrapeGrid grid;
  grid.interval_ms = IntervalMs(config, "", selectors.empty() ? "" : selectors[0]);
  std::vector<std::int64_t> instants;
  for (const PrometheusSeries& series : phases.series) {
    if (series.points.empty() || !IsUnixTime(series.points[0].value)) continue;
    const auto job = series.labels.find("job");
    const std::string selector = SelectorOf(series, selectors);
    const std::int64_t interval =
        IntervalMs(config, job == series.labels.end() ? "" : job->second, selector);
    grid.interval_ms = instants.empty() ? interval : std::min(grid.interval_ms, interval);
    grid.longest_ms = std::max(grid.longest_ms, interval);
    std::int64_t& longest = grid.selector_ms[selector];
    longest = std::max(longest, interval);
    instants.push_back(std::llround(series.points[0].value * 1000));
  }
  if (instants.empty()) return grid;
  grid.known = true;
  grid.phase_ms = *std::max_element(instants.begin(), instants.end());
  for (const std::int64_t instant : instants) {
    const std::int64_t apart = (grid.phase_ms - instant) % grid.interval_ms;
    const std::int64_t nearest = std::min(apart, grid.interval_ms - apart);
    grid.several_phases = grid.several_phases || nearest > kSamePhaseMs;
  }
  return grid;
}

GridRange RangeAround(std::int64_t anchor_ms, std::int64_t step_ms, std::int64_t since_ms,
                      std::int64_t now_ms) {
  const auto floor = [&](std::int64_t at) {
    const std::int64_t over = (at - anchor_ms) % step_ms;
    return at - (over < 0 ? over + step_ms : over);
  };
  GridRange range{floor(since_ms), floor(now_ms), step_ms};
  range.start_ms = std::max(range.start_ms, range.end_ms - kMostSteps * step_ms);
  return range;
}

GridRange RangeOf(const ScrapeGrid& grid, std::int64_t since_ms, std::int64_t now_ms) {
  return RangeAround(grid.known ? grid.phase_ms + grid.LagMs() : 0, grid.interval_ms, since_ms,
                     now_ms);
}

ProbeAnswer::Indicator IndicatorOfGrid(const PrometheusAnswer& values,
                                       const PrometheusAnswer& newest, const ScrapeGrid& grid,
                                       std::int64_t now_ms, const ClockAlignment& clock) {
  ProbeAnswer::Indicator indicator;
  indicator.interval = Ms(grid.interval_ms);
  indicator.uncertainty = clock.uncertainty + Ms(grid.UncertaintyMs());
  indicator.status = OneValue(values);
  if (!indicator.status.ok()) return indicator;
  std::map<std::int64_t, std::int64_t> scraped;  // by the instant of evaluation
  if (!newest.series.empty()) {
    for (const PrometheusPoint& point : newest.series[0].points) {
      if (IsUnixTime(point.value)) scraped[point.at_ms] = std::llround(point.value * 1000);
    }
  }
  for (const PrometheusSeries& series : values.series) {
    for (const PrometheusPoint& point : series.points) {
      std::int64_t at = point.at_ms;
      if (grid.known) {
        const auto sample = scraped.find(point.at_ms);
        const bool fresh =
            sample != scraped.end() && sample->second > point.at_ms - grid.interval_ms;
        if (!fresh) continue;
        at = sample->second;
      }
      if (!std::isnan(point.value)) {
        indicator.samples.push_back({Aligned(at, clock), point.value});
      }
    }
  }
  indicator.status =
      Freshness(values, indicator.samples, Aligned(now_ms, clock), *indicator.interval);
  return indicator;
}

ProbeAnswer::Indicator IndicatorOfRaw(const PrometheusAnswer& samples, const std::string& selector,
                                      const std::optional<PrometheusConfig>& config,
                                      std::int64_t now_ms, const ClockAlignment& clock) {
  ProbeAnswer::Indicator indicator;
  indicator.raw = true;
  indicator.uncertainty = clock.uncertainty;
  indicator.status = OneValue(samples);
  if (!indicator.status.ok()) return indicator;
  for (const PrometheusSeries& series : samples.series) {
    if (config) {
      const auto job = series.labels.find("job");
      indicator.interval =
          Ms(IntervalMs(*config, job == series.labels.end() ? "" : job->second, selector));
    }
    for (const PrometheusPoint& point : series.points) {
      if (std::isnan(point.value)) continue;
      indicator.samples.push_back({Aligned(point.at_ms, clock), point.value});
    }
  }
  indicator.status = Freshness(samples, indicator.samples, Aligned(now_ms, clock),
                               indicator.interval.value_or(Nanoseconds(0)));
  return indicator;
}

ProbeAnswer::StopCondition StopConditionOf(const PromqlShape& shape, const PrometheusAnswer& answer,
                                           bool blind_now) {
  ProbeAnswer::StopCondition condition;
  bool nan = false;
  for (const PrometheusSeries& series : answer.series) {
    if (series.points.empty()) continue;
    const double value = series.points.back().value;
    nan = nan || std::isnan(value);
    condition.holds = condition.holds || (!std::isnan(value) && (shape.filters || value != 0));
  }
  if (condition.holds) return condition;
  if (blind_now) {
    condition.status = absl::NotFoundError("Prometheus has scraped nothing of late");
  } else if (nan) {
    condition.status = absl::NotFoundError("the query gives NaN");
  } else if (answer.series.empty() && !shape.may_be_empty) {
    condition.status = absl::NotFoundError("the query has no data");
  }
  return condition;
}

bool KeepWithin(std::int64_t from_ms, std::int64_t to_ms, std::size_t most,
                PrometheusAnswer& answer) {
  bool more = false;
  for (PrometheusSeries& series : answer.series) {
    std::vector<PrometheusPoint>& points = series.points;
    const auto outside = [=](const PrometheusPoint& point) {
      return point.at_ms < from_ms || point.at_ms > to_ms;
    };
    points.erase(std::remove_if(points.begin(), points.end(), outside), points.end());
    if (points.size() <= most) continue;
    more = true;
    points.erase(points.begin(), points.end() - static_cast<std::ptrdiff_t>(most));
  }
  return more;
}

std::vector<Hole> HolesOf(const PrometheusAnswer& newest, std::int64_t tolerated_ms,
                          std::int64_t now_ms) {
  std::vector<Hole> holes;
  if (newest.series.empty()) return holes;
  std::optional<std::int64_t> last;
  const auto look = [&](std::int64_t at) {
    if (last && at - *last > tolerated_ms) holes.push_back({*last, at});
    last = at;
  };
  for (const PrometheusPoint& point : newest.series[0].points) {
    if (!IsUnixTime(point.value)) continue;
    const std::int64_t at = std::llround(point.value * 1000);
    if (!last || at > *last) look(at);
  }
  if (last && now_ms > *last) look(now_ms);
  return holes;
}

}  // namespace firedrill::controller
