// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/alerts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <utility>

#include "controller/probe/matching.h"
#include "controller/probe/promql.h"
#include "proto/support/problem.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

SystemTime At(std::int64_t ms, Nanoseconds offset) {
  return SystemTime(std::chrono::milliseconds(ms)) + offset;
}

// The label that a template such as `{{ $labels.instance }}` repeats; empty: it is another one.
std::string RepeatedLabel(const std::string& text) {
  constexpr std::size_t kLongest = 200;
  static const std::regex kTemplate(
      R"(\s*\{\{-?\s*\$labels\.([A-Za-z_][A-Za-z0-9_]*)\s*-?\}\}\s*)");
  std::smatch match;
  if (text.size() > kLongest || !std::regex_match(text, match, kTemplate)) return "";
  return match[1];
}

// How much of (from, to) was seen. The blind times are in order and do not overlap.
Nanoseconds Seen(SystemTime from, SystemTime to, const std::vector<TimeSpan>& blind) {
  Nanoseconds seen = to - from;
  for (const TimeSpan& span : blind) {
    seen -= std::max(Nanoseconds(0), std::min(to, span.to) - std::max(from, span.from));
  }
  return seen;
}

}  // namespace

std::string AlertsSelector(const ProbeQuestion::Alert& alert) {
  std::string query = "ALERTS{alertname=" + QuoteLabelValue(alert.name);
  for (const auto& [name, value] : alert.labels) {
    query += "," + QuoteLabelName(name) + "=" + QuoteLabelValue(value);
  }
  return query + "}";
}

std::string AlertsQuery(const ProbeQuestion::Alert& alert, std::int64_t window_ms) {
  return AlertsSelector(alert) + fmt::format("[{}ms]", window_ms);
}

std::vector<AlertSeries> AlertSeriesOf(const PrometheusAnswer& answer, Nanoseconds clock_offset) {
  std::vector<AlertSeries> read;
  for (const PrometheusSeries& series : answer.series) {
    AlertSeries one;
    one.labels = series.labels;
    const auto state = one.labels.find("alertstate");
    if (state == one.labels.end()) continue;
    one.firing = state->second == "firing";
    if (!one.firing && state->second != "pending") continue;
    one.labels.erase(state);
    one.labels.erase("__name__");
    for (const PrometheusPoint& point : series.points) {
      if (std::isnan(point.value)) continue;
      one.samples.push_back({At(point.at_ms, clock_offset), point.value});
    }
    read.push_back(std::move(one));
  }
  return read;
}

bool FiringNow(const std::vector<AlertSeries>& series, Nanoseconds evaluation_interval,
               const std::vector<TimeSpan>& blind, SystemTime now) {
  const auto over = [&](SystemTime from, SystemTime to) {
    return 2 * Seen(from, to, blind) > 5 * evaluation_interval;
  };
  struct State {
    bool active, firing;
  };
  std::map<std::map<std::string, std::string>, std::map<SystemTime, State>> alerts;
  for (const AlertSeries& one : series) {
    auto& samples = alerts[one.labels];
    for (const RawSample& sample : one.samples) {
      State& state = samples[sample.at];
      state = {state.active || sample.value != 0, state.firing || one.firing};
    }
  }
  return std::any_of(alerts.begin(), alerts.end(), [&](const auto& alert) {
    const std::map<SystemTime, State>& samples = alert.second;
    bool fired = false;
    std::optional<SystemTime> last;
    for (const auto& [at, state] : samples) {
      if (!state.active || (last && over(*last, at))) fired = false;
      fired = fired || (state.active && state.firing);
      last = at;
    }
    return fired && !over(*last, now);
  });
}

std::string Contradiction(const std::vector<PrometheusAlert>& active,
                          const PrometheusAnswer& samples, Nanoseconds evaluation_interval,
                          Nanoseconds query_offset, std::int64_t since_ms) {
  std::map<std::map<std::string, std::string>, std::set<std::int64_t>> evaluated;
  for (const PrometheusSeries& series : samples.series) {
    std::map<std::string, std::string> labels = series.labels;
    labels.erase("__name__");
    labels.erase("alertstate");
    for (const PrometheusPoint& point : series.points) evaluated[labels].insert(point.at_ms);
  }
  const std::int64_t interval_ms = ToMs(evaluation_interval);
  for (const PrometheusAlert& alert : active) {
    const auto found = evaluated.find(alert.labels);
    if (found == evaluated.end() || found->second.empty()) continue;
    // Back from the newest, as far as none is missing.
    auto begin = std::prev(found->second.end());
    while (begin != found->second.begin() && *begin - *std::prev(begin) < 2 * interval_ms) --begin;
    const bool paused = begin != found->second.begin();
    const std::int64_t sampled_ms = *begin + ToMs(query_offset);
    const std::int64_t apart = sampled_ms - alert.active_at_ms;
    // Both are asked at the same time: it may have begun in between, and has no sample yet.
    const bool later = alert.active_at_ms > *found->second.rbegin() + ToMs(query_offset);
    if (paused || later || *begin < since_ms + 2 * interval_ms ||
        2 * std::abs(apart) <= interval_ms)
      continue;
    return fmt::format(
        "alert {}: Prometheus holds it active since {}, its samples begin at {}: its group may "
        "have "
        "a query_offset of its own",
        Quoted(alert.labels.count("alertname") != 0 ? alert.labels.at("alertname") : ""),
        FormatTime(At(alert.active_at_ms, Nanoseconds(0))),
        FormatTime(At(sampled_ms, Nanoseconds(0))));
  }
  return "";
}

TruthPlan PlanTruth(const PrometheusRule& rule, const ProbeQuestion::Alert& alert,
                    const ScrapeGrid& grid, std::int64_t tick_ms, std::int64_t since_ms,
                    std::int64_t now_ms) {
  TruthPlan plan;
  for (const auto& [name, value] : alert.labels) {
    if (name == "alertname") continue;
    const auto set = rule.labels.find(name);
    const std::string read = set == rule.labels.end() ? name : RepeatedLabel(set->second);
    if (!read.empty()) plan.labels[read] = value;
  }
  std::string by;
  for (const auto& [name, value] : plan.labels) {
    by += (by.empty() ? "" : ",") + QuoteLabelName(name);
  }
  plan.plain_query = rule.expression;
  // A comment at its end must not swallow the parenthesis.
  plan.query = fmt::format("count by ({}) (\n{}\n)", by, rule.expression);
  if (grid.known) {
    plan.newest_query = NewestQuery(ShapeOf(rule.expression).selectors);
    plan.range = RangeOf(grid, since_ms, now_ms);
    plan.lag_ms = grid.LagMs();
  } else {
    const std::int64_t step_ms = std::max<std::int64_t>(1, ToMs(rule.evaluation_interval));
    plan.range = RangeAround(tick_ms, step_ms, since_ms, now_ms);
  }
  return plan;
}

std::vector<RawSample> TruthOf(const TruthPlan& plan, const PrometheusAnswer& counts, bool plain,
                               const PrometheusAnswer& newest, const std::vector<Hole>& holes,
                               std::int64_t now_ms, Nanoseconds clock_offset) {
  std::map<std::int64_t, double> held;  // by the instant of evaluation
  for (const PrometheusSeries& series : counts.series) {
    if (!Carries(series.labels, plan.labels)) continue;
    for (const PrometheusPoint& point : series.points) {
      held[point.at_ms] += plain ? 1 : point.value;
    }
  }
  std::map<std::int64_t, std::int64_t> scraped;  // likewise
  if (!newest.series.empty()) {
    for (const PrometheusPoint& point : newest.series[0].points) {
      if (IsUnixTime(point.value)) scraped[point.at_ms] = std::llround(point.value * 1000);
    }
  }
  const auto blind = [&holes](std::int64_t at) {
    return std::any_of(holes.begin(), holes.end(),
                       [at](const Hole& hole) { return hole.from_ms < at && at < hole.to_ms; });
  };
  std::vector<RawSample> truth;
  const bool stamped = !plan.newest_query.empty();
  for (std::int64_t at = plan.range.start_ms; at <= plan.range.end_ms; at += plan.range.step_ms) {
    const auto sample = scraped.find(at);
    std::int64_t stamp = at - plan.lag_ms;
    if (sample != scraped.end() && sample->second > at - plan.range.step_ms) {
      stamp = sample->second;
    } else if (blind(at) || (stamped && at + plan.range.step_ms > now_ms)) {
      continue;  // not evaluated; or the scrape may be on its way still
    }
    const auto count = held.find(at);
    const RawSample sampled{At(stamp, clock_offset), count == held.end() ? 0 : count->second};
    if (truth.empty() || sampled.at > truth.back().at) truth.push_back(sampled);
  }
  return truth;
}

}  // namespace firedrill::controller
