// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/inquiry.h"

#include <fmt/format.h>

#include <algorithm>

#include "proto/support/problem.h"

namespace firedrill::controller {
namespace {

constexpr Nanoseconds kConfigAge = std::chrono::seconds(60);  // then it is asked again
constexpr Nanoseconds kRulesAge = std::chrono::seconds(30);
constexpr Nanoseconds kGridAge = std::chrono::seconds(60);
constexpr std::int64_t kUnknownIntervalMs = 15'000;  // where Prometheus does not tell and no option
constexpr std::int64_t kLongestMs = 48 * 3'600'000;  // looked back: the longest run and recovery
constexpr int kLeastIntervals = 4;  // looked back, even if nothing is wanted of the past

std::int64_t ToMs(Nanoseconds duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

std::string SecondsText(std::int64_t ms) { return fmt::format("{}.{:03}", ms / 1000, ms % 1000); }

FetchRequest RangeQuery(const std::string& query, const GridRange& range) {
  return {"/api/v1/query_range",
          FormField("query", query) + "&start=" + SecondsText(range.start_ms) +
              "&end=" + SecondsText(range.end_ms) + "&step=" + SecondsText(range.step_ms)};
}

std::string AlertsQuery(const ProbeQuestion::Alert& alert, std::int64_t window_ms) {
  std::string query = "ALERTS{alertname=" + QuoteLabelValue(alert.name);
  for (const auto& [name, value] : alert.labels) query += "," + name + "=" + QuoteLabelValue(value);
  return query + fmt::format("}}[{}ms]", window_ms);
}

template <typename T>
absl::StatusOr<T> ParseAs(const absl::StatusOr<FetchAnswer>& answer,
                          absl::StatusOr<T> (*parse)(std::string_view)) {
  if (!answer.ok()) return answer.status();
  if (answer->http_status / 100 != 2) return HttpStatusError(answer->http_status, answer->body);
  return parse(answer->body);
}

const PrometheusRule* FindRule(const std::vector<PrometheusRule>& rules,
                               const ProbeQuestion::Alert& alert) {
  for (const PrometheusRule& rule : rules) {
    if (rule.alert != alert.name) continue;
    const bool contradicts = std::any_of(rule.labels.begin(), rule.labels.end(), [&](auto& label) {
      const auto wanted = alert.labels.find(label.first);
      // A label's template is filled for each alert: it may become what is wanted.
      return wanted != alert.labels.end() && wanted->second != label.second &&
             label.second.find("{{") == std::string::npos;
    });
    if (!contradicts) return &rule;
  }
  return nullptr;
}

// What there is instead of a rule that was not found.
std::string HintOf(const std::vector<PrometheusRule>& rules, const ProbeQuestion::Alert& alert) {
  std::vector<std::string> names;
  for (const PrometheusRule& rule : rules) {
    names.push_back(rule.alert);
    if (rule.alert != alert.name) continue;
    for (const auto& [label, value] : rule.labels) {
      const auto wanted = alert.labels.find(label);
      if (wanted == alert.labels.end() || wanted->second == value) continue;
      return fmt::format("the rule sets {}={}, not {}", label, value, wanted->second);
    }
  }
  const std::string nearest = Nearest(alert.name, names);
  return nearest.empty() ? "" : fmt::format("did you mean {}?", nearest);
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
  return intervals;
}

absl::StatusOr<PrometheusAnswer> ParseFetched(const absl::StatusOr<FetchAnswer>& fetched) {
  return ParseAs<PrometheusAnswer>(fetched, &ParsePrometheusAnswer);
}

FetchRequest InstantQuery(const std::string& query) {
  return {"/api/v1/query", FormField("query", query)};
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
      alerts_(question.alerts.size()) {
  for (const std::string& query : question.indicators) shapes_.push_back(ShapeOf(query));
}

void Inquiry::Run(const Fetch& fetch, SteadyTime now) {
  Learn(fetch, now);
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
              [this, i](const auto& fetched) { alerts_[i] = ParseFetched(fetched); });
  }
  for (std::size_t i = 0; i < question_.indicators.size(); ++i) AskIndicator(i, round);
  round.Run(fetch);

  ConcludeBlind();
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
  if (!question_.alerts.empty() && known_.rules.Old(now, kRulesAge)) {
    round.Add({"/api/v1/rules?type=alert", ""}, [this, now](const auto& fetched) {
      auto rules = ParseAs<std::vector<PrometheusRule>>(fetched, &ParsePrometheusRules);
      known_.rules.value.reset();
      if (rules.ok()) known_.rules.value = *std::move(rules);
      known_.rules.at = now;
    });
  }
  std::map<std::string, PrometheusAnswer> phases;
  LearnGrids(round, now, phases);
  round.Run(fetch);

  intervals_ = IntervalsOf(known_, given_);
  PrometheusConfig intervals;
  intervals.scrape_interval = intervals.evaluation_interval =
      std::chrono::milliseconds(kUnknownIntervalMs);
  if (intervals_) intervals = *intervals_;
  for (const auto& [query, answer] : phases) {
    const ScrapeGrid grid = GridOf(answer, ShapeOf(query).selectors, intervals);
    PrometheusKnowledge::Aged<ScrapeGrid>& aged = known_.grids[query];
    // A phase that was known stays: it does not change while the series is away.
    if (grid.known || !aged.value) aged.value = grid;
    aged.at = now;
  }
}

void Inquiry::LearnGrids(Round& round, SteadyTime now,
                         std::map<std::string, PrometheusAnswer>& phases) {
  for (std::size_t i = 0; i < shapes_.size(); ++i) {
    const std::string& query = question_.indicators[i];
    if (shapes_[i].plain_selector || shapes_[i].selectors.empty()) continue;
    const PrometheusKnowledge::Aged<ScrapeGrid>& aged = known_.grids[query];
    if (!aged.Old(now, kGridAge) && aged.value && aged.value->known) continue;
    if (!phases.try_emplace(query).second) continue;
    round.Add(InstantQuery(PhaseQuery(shapes_[i].selectors)),
              [&phases, &query](const auto& fetched) {
                auto parsed = ParseFetched(fetched);
                if (parsed.ok()) phases[query] = *std::move(parsed);
              });
  }
}

void Inquiry::AskIndicator(std::size_t i, Round& round) {
  ProbeAnswer::Indicator& indicator = answer_.indicators[i];
  const std::string& query = question_.indicators[i];
  const PromqlShape& shape = shapes_[i];
  if (shape.plain_selector) {
    const std::string raw = fmt::format("{}[{}ms]", shape.selectors[0], WindowMs());
    round.Add(InstantQuery(raw), [this, &indicator, &shape](const auto& fetched) {
      const auto parsed = ParseFetched(fetched);
      indicator.status = parsed.status();
      if (!parsed.ok()) return;
      indicator = IndicatorOfRaw(*parsed, shape.selectors[0], intervals_, now_ms_, clock_);
    });
    return;
  }
  ScrapeGrid grid;
  grid.interval_ms = intervals_ ? IntervalMs(*intervals_, "", "") : kUnknownIntervalMs;
  const auto learnt = known_.grids.find(query);
  if (learnt != known_.grids.end() && learnt->second.value) grid = *learnt->second.value;
  const GridRange range = RangeOf(grid, since_ms_, now_ms_);
  round.Add(RangeQuery(query, range), [this, &indicator, i, grid](const auto& fetched) {
    values_[i] = ParseFetched(fetched);
    indicator.status = values_[i].status();
    if (!values_[i].ok() || grid.known) return;
    indicator = IndicatorOfGrid(*values_[i], {}, grid, now_ms_, clock_);
  });
  if (!grid.known) return;
  round.Add(RangeQuery(NewestQuery(shape.selectors), range),
            [this, &indicator, i, grid](const auto& fetched) {
              const auto newest = ParseFetched(fetched);
              if (!values_[i].ok()) return;  // the status is there already
              indicator.status = newest.status();
              if (!newest.ok()) return;
              indicator = IndicatorOfGrid(*values_[i], *newest, grid, now_ms_, clock_);
            });
}

void Inquiry::AskHoles(Round& round) {
  if (!intervals_) return;
  Nanoseconds shortest = intervals_->scrape_interval;
  for (const auto& [job, interval] : intervals_->job_scrape_interval) {
    shortest = std::min(shortest, interval);
  }
  ScrapeGrid grid;
  grid.interval_ms = std::max<std::int64_t>(1, ToMs(shortest));
  const GridRange range = RangeOf(grid, since_ms_, now_ms_);
  round.Add(RangeQuery("max(timestamp(up))", range), [this, range](const auto& fetched) {
    const auto newest = ParseFetched(fetched);
    if (newest.ok()) holes_ = HolesOf(*newest, range.step_ms, now_ms_);
  });
}

void Inquiry::ConcludeBlind() {
  const auto aligned = [this](std::int64_t ms) {
    return SystemTime(std::chrono::milliseconds(ms)) + clock_.offset;
  };
  for (const EpisodeOptions::Hole& hole : holes_) {
    answer_.blind.push_back({aligned(hole.from_ms), aligned(hole.to_ms)});
  }
}

void Inquiry::ConcludeAlert(std::size_t i) {
  ProbeAnswer::Alert& alert = answer_.alerts[i];
  EpisodeOptions options;
  options.now_ms = now_ms_;
  options.blind = holes_;
  options.clock_offset = clock_.offset;
  options.interval_ms = intervals_ ? ToMs(intervals_->evaluation_interval) : kUnknownIntervalMs;
  if (known_.rules.value) {
    const PrometheusRule* rule = FindRule(*known_.rules.value, question_.alerts[i]);
    alert.rule_missing = rule == nullptr;
    if (rule == nullptr) {
      alert.rule_hint = HintOf(*known_.rules.value, question_.alerts[i]);
      known_.rules.at.reset();  // somebody may be adding it: asked again at once
    }
    if (rule != nullptr) {
      alert.rule.emplace();
      alert.rule->evaluation_interval = rule->evaluation_interval;
      alert.rule->pending_for = rule->pending_for;
      const std::int64_t interval_ms = ToMs(rule->evaluation_interval);
      if (interval_ms > 0) options.interval_ms = interval_ms;
    }
  }
  alert.status = alerts_[i].status();
  if (!alerts_[i].ok()) return;
  alert.episodes = EpisodesOf(alerts_[i]->series, options);
  alert.firing_now = std::any_of(
      alert.episodes.begin(), alert.episodes.end(),
      [](const AlertEpisode& episode) { return episode.firing_at && !episode.resolved_at; });
}

}  // namespace firedrill::controller
