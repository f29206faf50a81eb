// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/inquiry.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "controller/probe/promql_ranges.h"
#include "proto/support/problem.h"
#include "proto/support/status_macros.h"

namespace firedrill::controller {
namespace {

constexpr Nanoseconds kConfigAge = std::chrono::seconds(60);  // then it is asked again
constexpr Nanoseconds kRulesAge = std::chrono::seconds(30);
constexpr Nanoseconds kGridAge = std::chrono::seconds(60);
constexpr std::int64_t kOverlapMs = 60'000;    // before what was asked for
constexpr std::size_t kMostSamples = 200'000;  // of a series
constexpr std::size_t kMostCaveats = 8;
constexpr int kLeastIntervals = 4;  // looked back, even if nothing is wanted of the past

std::string SecondsText(std::int64_t ms) { return fmt::format("{}.{:03}", ms / 1000, ms % 1000); }

template <typename T>
absl::StatusOr<T> ParseAs(const absl::StatusOr<FetchAnswer>& answer,
                          absl::StatusOr<T> (*parse)(std::string_view)) {
  if (!answer.ok()) return answer.status();
  if (answer->http_status / 100 != 2) return HttpStatusError(answer->http_status, answer->body);
  return parse(answer->body);
}

}  // namespace

std::optional<PrometheusConfig> IntervalsOf(const PrometheusKnowledge& known,
                                            const GivenIntervals& given) {
  std::optional<PrometheusConfig> intervals = known.config.value;
  if (!intervals && !given.scrape) return std::nullopt;
  if (!intervals) intervals.emplace();
  if (given.scrape) {
    intervals->scrape_interval = *given.scrape;
    intervals->job_scrape_interval.clear();
  }
  if (given.evaluation) intervals->evaluation_interval = *given.evaluation;
  if (intervals->evaluation_interval.count() == 0) {
    intervals->evaluation_interval = intervals->scrape_interval;
  }
  if (known.rules.value) intervals->recorded_interval = (*known.rules.value)->recorded_interval;
  return intervals;
}

absl::StatusOr<PrometheusAnswer> ParseFetched(const absl::StatusOr<FetchAnswer>& fetched) {
  return ParseAs<PrometheusAnswer>(fetched, &ParsePrometheusAnswer);
}

FetchRequest InstantQuery(const std::string& query) {
  return {"/api/v1/query", FormField("query", query)};
}

FetchRequest RangeQuery(const std::string& query, const GridRange& range, Nanoseconds timeout) {
  std::string form = FormField("query", query) + "&start=" + SecondsText(range.start_ms) +
                     "&end=" + SecondsText(range.end_ms) + "&step=" + SecondsText(range.step_ms);
  if (timeout.count() > 0) form += "&timeout=" + SecondsText(ToMs(timeout));
  return {"/api/v1/query_range", std::move(form)};
}

absl::StatusOr<ToldTime> AskTime(const Fetch& fetch, const Clock& clock) {
  ToldTime told;
  told.sent = clock.System();
  const auto fetched = fetch({InstantQuery("time()")});
  told.received = clock.System();
  ASSIGN_OR_RETURN(const PrometheusAnswer time, ParseFetched(fetched[0]));
  if (time.series.empty() || time.series[0].points.empty()) {
    return absl::DataLossError("Prometheus does not tell its time");
  }
  told.now_ms = time.series[0].points[0].at_ms;
  return told;
}

void Inquiry::Round::Add(FetchRequest request, Handler handler) {
  requests_.push_back(std::move(request));
  handlers_.push_back(std::move(handler));
}

void Inquiry::Round::Run(const Fetch& fetch) {
  if (requests_.empty()) return;
  const std::vector<absl::StatusOr<FetchAnswer>> answers = fetch(requests_);
  for (std::size_t i = 0; i < answers.size(); ++i) handlers_[i](answers[i]);
}

Inquiry::Inquiry(const ProbeQuestion& question, GivenIntervals given, std::int64_t now_ms,
                 ClockAlignment clock, PrometheusKnowledge& known, ProbeAnswer& answer)
    : question_(question),
      given_(given),
      now_ms_(now_ms),
      clock_(clock),
      known_(known),
      answer_(answer),
      values_(question.indicators.size()),
      alerts_(question.alerts.size()),
      rules_(question.alerts.size()) {
  for (const auto& indicator : question.indicators) shapes_.push_back(ShapeOf(indicator.query));
}

void Inquiry::Run(const Fetch& fetch, SteadyTime now) {
  Learn(fetch, now);
  if (known_.config.value) answer_.alert_path = known_.config.value->alert_path;
  std::int64_t least_ms = kLeastIntervals * kUnknownIntervalMs;
  if (intervals_) {
    least_ms = kLeastIntervals *
               ToMs(std::max(intervals_->scrape_interval, intervals_->evaluation_interval));
  }
  const std::int64_t since_ms = ToMs((question_.since - clock_.offset).time_since_epoch());
  since_ms_ = std::min(std::max(since_ms, now_ms_ - kLongestMs), now_ms_ - least_ms);

  Round round;
  std::vector<absl::StatusOr<PrometheusAnswer>> conditions(question_.stop_conditions.size());
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    round.Add(InstantQuery(question_.stop_conditions[i]),
              [&conditions, i](const auto& fetched) { conditions[i] = ParseFetched(fetched); });
  }
  AskHoles(round);
  for (std::size_t i = 0; i < alerts_.size(); ++i) {
    round.Add(InstantQuery(AlertsQuery(question_.alerts[i], WindowMs())),
              [this, i](const auto& fetched) {
                alerts_[i] = Take(fetched, "alert " + question_.alerts[i].name);
              });
  }
  if (!alerts_.empty()) {
    round.Add({"/api/v1/alerts", ""}, [this](const auto& fetched) {
      auto active = ParseAs<std::vector<PrometheusAlert>>(fetched, &ParsePrometheusAlerts);
      if (active.ok()) active_ = *std::move(active);
    });
  }
  for (std::size_t i = 0; i < question_.indicators.size(); ++i) AskIndicator(i, round);
  round.Run(fetch);

  ConcludeBlind();
  ChooseRules();
  AskMarkers(fetch);
  AskTruths(fetch, now);
  for (std::size_t i = 0; i < alerts_.size(); ++i) ConcludeAlert(i);
  const bool blind_now = !holes_.empty() && holes_.back().to_ms >= now_ms_;
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    ProbeAnswer::StopCondition& condition = answer_.stop_conditions[i];
    condition.status = conditions[i].status();
    if (!conditions[i].ok()) continue;
    condition = StopConditionOf(ShapeOf(question_.stop_conditions[i]), *conditions[i], blind_now);
  }
}

// Configuration, rules, and when the indicators' series are scraped: whatever is not known of late.
void Inquiry::Learn(const Fetch& fetch, SteadyTime now) {
  Round round;
  if (known_.config.Old(now, kConfigAge)) {
    round.Add({"/api/v1/status/config", ""}, [this, now](const auto& fetched) {
      const auto config = ParseAs<PrometheusConfig>(fetched, &ParsePrometheusConfig);
      if (config.ok()) known_.config.value = *config;
      known_.config.at = now;
    });
  }
  // Indicators too may read what rules record.
  const bool any = !question_.alerts.empty() || !question_.indicators.empty();
  if (any && known_.rules.Old(now, kRulesAge)) {
    round.Add({"/api/v1/rules?exclude_alerts=true", ""}, [this, now](const auto& fetched) {
      auto rules = ParseAs<std::vector<PrometheusRule>>(fetched, &ParsePrometheusRules);
      known_.rules.value.reset();
      if (rules.ok()) known_.rules.value = std::make_shared<const RuleBook>(*std::move(rules));
      known_.rules.at = now;
    });
  }
  for (const auto& indicator : question_.indicators) AskPhase(indicator.query, round, now);
  round.Run(fetch);
  intervals_ = IntervalsOf(known_, given_);
  TakePhases(now);
}

// When what `query` reads is scraped, unless that is known of late.
void Inquiry::AskPhase(const std::string& query, Round& round, SteadyTime now) {
  const PromqlShape shape = ShapeOf(query);
  if (shape.plain_selector || shape.selectors.empty()) return;
  const PrometheusKnowledge::Aged<ScrapeGrid>& aged = known_.grids[query];
  if (!aged.Old(now, kGridAge) && aged.value && aged.value->known) return;
  if (!phases_.try_emplace(query).second) return;
  round.Add(InstantQuery(PhaseQuery(shape.selectors)), [this, query](const auto& fetched) {
    auto parsed = ParseFetched(fetched);
    if (parsed.ok()) phases_[query] = *std::move(parsed);
  });
}

void Inquiry::TakePhases(SteadyTime now) {
  PrometheusConfig intervals;
  intervals.scrape_interval = intervals.evaluation_interval =
      std::chrono::milliseconds(kUnknownIntervalMs);
  if (intervals_) intervals = *intervals_;
  for (const auto& [query, answer] : phases_) {
    const ScrapeGrid grid = GridOf(answer, ShapeOf(query).selectors, intervals);
    PrometheusKnowledge::Aged<ScrapeGrid>& aged = known_.grids[query];
    // A phase that was known stays: it does not change while the series is away.
    if (grid.known || !aged.value) aged.value = grid;
    aged.at = now;
  }
  phases_.clear();
}

const ScrapeGrid* Inquiry::GridFor(const std::string& query) const {
  const auto learnt = known_.grids.find(query);
  return learnt == known_.grids.end() || !learnt->second.value ? nullptr : &*learnt->second.value;
}

void Inquiry::AskIndicator(std::size_t i, Round& round) {
  ProbeAnswer::Indicator& indicator = answer_.indicators[i];
  const ProbeQuestion::Indicator& asked = question_.indicators[i];
  const PromqlShape& shape = shapes_[i];
  const RuleBook none({});
  const RuleBook& book = Book() != nullptr ? *Book() : none;
  if (shape.plain_selector) {
    const std::string raw = fmt::format("{}[{}ms]", shape.selectors[0], WindowMs());
    const Nanoseconds window = LookBackOf(asked.query, book);
    round.Add(InstantQuery(raw), [this, &indicator, &shape, window](const auto& fetched) {
      const auto parsed = Take(fetched, "indicator " + Quoted(shape.selectors[0]));
      indicator.status = parsed.status();
      if (!parsed.ok()) return;
      indicator = IndicatorOfRaw(*parsed, shape.selectors[0], intervals_, now_ms_, clock_);
      indicator.window = window;
    });
    return;
  }
  ScrapeGrid grid;
  grid.interval_ms = intervals_ ? IntervalMs(*intervals_, "", "") : kUnknownIntervalMs;
  if (const ScrapeGrid* learnt = GridFor(asked.query)) grid = *learnt;
  std::string query = asked.query;
  Nanoseconds window = LookBackOf(query, book);
  if (asked.per_scrape) {
    query = PerScrape(asked.query, [&grid](const std::string& selector) -> Nanoseconds {
      const auto own = grid.selector_ms.find(selector);
      const std::int64_t ms =
          own == grid.selector_ms.end() ? std::max(grid.interval_ms, grid.longest_ms) : own->second;
      return std::chrono::milliseconds(ms);
    });
    // From scrape to scrape is no window.
    window = LookBackOf(PerScrape(asked.query, [](const auto&) { return Nanoseconds(0); }), book);
  }
  const GridRange range = RangeOf(grid, since_ms_, now_ms_);
  const auto conclude = [this, &indicator, i, grid, window](const PrometheusAnswer& newest) {
    indicator = IndicatorOfGrid(*values_[i], newest, grid, now_ms_, clock_);
    indicator.window = window;
  };
  round.Add(RangeQuery(query, range), [this, &indicator, i, grid, conclude](const auto& fetched) {
    values_[i] = Take(fetched, "indicator " + Quoted(question_.indicators[i].query));
    indicator.status = values_[i].status();
    if (values_[i].ok() && !grid.known) conclude({});
  });
  if (!grid.known) return;
  round.Add(RangeQuery(NewestQuery(shape.selectors), range), [this, &indicator, i,
                                                              conclude](const auto& fetched) {
    const auto newest = Take(fetched, "indicator " + Quoted(question_.indicators[i].query));
    if (!values_[i].ok()) return;  // the status is there already
    indicator.status = newest.status();
    if (newest.ok()) conclude(*newest);
  });
}

void Inquiry::AskHoles(Round& round) {
  if (!intervals_) {
    answer_.blind_unknown = "Prometheus does not tell how often it scrapes";
    return;
  }
  Nanoseconds shortest = intervals_->scrape_interval;
  for (const auto& [job, interval] : intervals_->job_scrape_interval) {
    shortest = std::min(shortest, interval);
  }
  ScrapeGrid grid;
  grid.interval_ms = std::max<std::int64_t>(1, ToMs(shortest));
  const GridRange range = RangeOf(grid, since_ms_, now_ms_);
  round.Add(RangeQuery(kNewestScrapeQuery, range), [this, range](const auto& fetched) {
    const auto newest = ParseFetched(fetched);
    if (!newest.ok()) {
      answer_.blind_unknown = std::string(newest.status().message());
      return;
    }
    if (newest->series.empty() || newest->series[0].points.empty()) {
      answer_.blind_unknown = "Prometheus has no series up";
      return;
    }
    holes_ = HolesOf(*newest, 5 * range.step_ms / 2, now_ms_);
  });
}

absl::StatusOr<PrometheusAnswer> Inquiry::Take(const absl::StatusOr<FetchAnswer>& fetched,
                                               const std::string& subject) {
  absl::StatusOr<PrometheusAnswer> answer = ParseFetched(fetched);
  if (!answer.ok()) return answer;
  if (!answer->warnings.empty()) {
    Doubt(fmt::format("{}: Prometheus warns {}", subject, Quoted(answer->warnings[0])));
  }
  // Grids begin up to a step before what was asked for, and end up to one after now.
  std::int64_t step_ms = kUnknownIntervalMs;
  if (intervals_) {
    step_ms = ToMs(std::max(intervals_->scrape_interval, intervals_->evaluation_interval));
    for (const auto& [job, interval] : intervals_->job_scrape_interval) {
      step_ms = std::max(step_ms, ToMs(interval));
    }
  }
  if (KeepWithin(since_ms_ - step_ms - kOverlapMs, now_ms_ + step_ms, kMostSamples, *answer)) {
    Doubt(
        fmt::format("{}: only the latest {} samples of a series are kept", subject, kMostSamples));
  }
  return answer;
}

void Inquiry::Doubt(std::string caveat) {
  const std::vector<std::string>& known = answer_.caveats;
  if (known.size() >= kMostCaveats) return;
  if (std::find(known.begin(), known.end(), caveat) == known.end()) {
    answer_.caveats.push_back(std::move(caveat));
  }
}

void Inquiry::ConcludeBlind() {
  const auto aligned = [this](std::int64_t ms) {
    return SystemTime(std::chrono::milliseconds(ms)) + clock_.offset;
  };
  for (const Hole& hole : holes_) {
    answer_.blind.push_back({aligned(hole.from_ms), aligned(hole.to_ms)});
  }
}

}  // namespace firedrill::controller
