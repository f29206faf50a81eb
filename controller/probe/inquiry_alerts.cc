// SPDX-License-Identifier: Apache-2.0
// The alerts' part of an inquiry: their rules, what these read, where they are sent.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "controller/probe/inquiry.h"
#include "controller/probe/markers.h"

namespace firedrill::controller {

void Inquiry::ChooseRules() {
  for (std::size_t i = 0; i < alerts_.size(); ++i) {
    ProbeAnswer::Alert& alert = answer_.alerts[i];
    alert.status = alerts_[i].status();
    if (alerts_[i].ok()) alert.series = AlertSeriesOf(*alerts_[i], clock_.offset);
    if (Book() == nullptr) continue;
    const RuleChoice choice = ChooseRule(*Book(), question_.alerts[i], alert.series);
    rules_[i] = choice.rule;
    alert.rule_missing = choice.rule == nullptr;
    alert.rule_hint = choice.hint;
    alert.rule_ambiguity = choice.ambiguity;
    // Somebody may be adding it: asked again at once.
    if (choice.rule == nullptr) known_.rules.at.reset();
  }
}

// The interval at which the alert's rule is evaluated.
Nanoseconds Inquiry::EvaluationOf(std::size_t i) const {
  if (rules_[i] != nullptr && rules_[i]->evaluation_interval.count() > 0) {
    return rules_[i]->evaluation_interval;
  }
  if (intervals_) return intervals_->evaluation_interval;
  return std::chrono::milliseconds(kUnknownIntervalMs);
}

// Where a single sample is missing: whether the rule was evaluated there.
void Inquiry::AskMarkers(const Fetch& fetch) {
  struct Asked {
    std::size_t alert;
    MarkerPlan plan;
    absl::StatusOr<PrometheusAnswer> before, at;
  };
  std::vector<Asked> asked;
  for (std::size_t i = 0; i < alerts_.size(); ++i) {
    if (!alerts_[i].ok()) continue;
    if (auto plan = PlanMarkers(question_.alerts[i], *alerts_[i], EvaluationOf(i))) {
      asked.push_back({i, *std::move(plan), PrometheusAnswer(), PrometheusAnswer()});
    }
  }
  Round round;
  for (Asked& one : asked) {
    round.Add(RangeQuery(one.plan.query, one.plan.before),
              [&one](const auto& fetched) { one.before = ParseFetched(fetched); });
    round.Add(RangeQuery(one.plan.query, one.plan.at),
              [&one](const auto& fetched) { one.at = ParseFetched(fetched); });
  }
  round.Run(fetch);
  for (const Asked& one : asked) {
    if (!one.before.ok() || !one.at.ok()) {
      Doubt(
          fmt::format("alert {}: Prometheus did not tell whether an evaluation without a sample "
                      "took place, so what is shown as one episode may be two",
                      question_.alerts[one.alert].name));
      continue;
    }
    AddMarkers(one.plan, *one.before, *one.at, clock_.offset, answer_.alerts[one.alert].series);
  }
}

TruthPlan Inquiry::PlanFor(std::size_t i) const {
  const PrometheusRule& rule = *rules_[i];
  const ProbeQuestion::Alert& asked = question_.alerts[i];
  ScrapeGrid grid;
  if (const ScrapeGrid* learnt = GridFor(rule.expression)) grid = *learnt;
  // Evaluations are as far apart as the group's interval: any sample of ALERTS is one of them.
  std::int64_t tick_ms =
      rule.evaluated_at_ms.value_or(0) -
      ToMs(rule.query_offset.value_or(intervals_ ? intervals_->rule_query_offset : Nanoseconds(0)));
  if (alerts_[i].ok()) {
    for (const PrometheusSeries& series : alerts_[i]->series) {
      if (!series.points.empty()) tick_ms = series.points.back().at_ms;
    }
  }
  const std::int64_t since_ms = std::clamp(
      ToMs((*asked.truth_since - clock_.offset).time_since_epoch()), now_ms_ - kLongestMs, now_ms_);
  return PlanTruth(rule, asked, grid, tick_ms, since_ms, now_ms_);
}

// The rules' own expressions, where they are wanted.
void Inquiry::AskTruths(const Fetch& fetch, SteadyTime now) {
  Round phases;
  for (const PrometheusRule* rule : rules_) {
    if (rule != nullptr) AskPhase(rule->expression, phases, now);
  }
  phases.Run(fetch);
  TakePhases(now);

  struct Asked {
    std::size_t alert;
    TruthPlan plan;
    bool plain;
    absl::StatusOr<PrometheusAnswer> counts = PrometheusAnswer();
    absl::StatusOr<PrometheusAnswer> newest = PrometheusAnswer();
  };
  std::vector<Asked> asked;
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    if (rules_[i] == nullptr || !question_.alerts[i].truth_since) continue;
    asked.push_back({i, PlanFor(i), known_.numbers.count(rules_[i]->expression) != 0});
  }
  const auto ask_counts = [](Asked& one, Round& round) {
    const std::string& query = one.plain ? one.plan.plain_query : one.plan.query;
    round.Add(RangeQuery(query, one.plan.range),
              [&one](const auto& fetched) { one.counts = ParseFetched(fetched); });
  };
  Round round;
  for (Asked& one : asked) {
    ask_counts(one, round);
    if (one.plan.newest_query.empty()) continue;
    round.Add(RangeQuery(one.plan.newest_query, one.plan.range),
              [&one](const auto& fetched) { one.newest = ParseFetched(fetched); });
  }
  round.Run(fetch);
  // A rule may be a number, which cannot be counted.
  Round again;
  for (Asked& one : asked) {
    if (one.plain || !absl::IsInvalidArgument(one.counts.status())) continue;
    one.plain = true;
    ask_counts(one, again);
  }
  again.Run(fetch);
  for (const Asked& one : asked) {
    if (!one.counts.ok() || !one.newest.ok()) continue;
    if (one.plain) known_.numbers.insert(rules_[one.alert]->expression);
    answer_.alerts[one.alert].truth =
        TruthOf(one.plan, *one.counts, one.plain, *one.newest, holes_, now_ms_, clock_.offset);
  }
}

void Inquiry::ConcludeAlert(std::size_t i) {
  ProbeAnswer::Alert& alert = answer_.alerts[i];
  const Nanoseconds interval = EvaluationOf(i);
  if (rules_[i] != nullptr) {
    const ScrapeGrid* grid = GridFor(rules_[i]->expression);
    alert.rule = AlertRuleOf(*rules_[i], *Book(), intervals_,
                             grid == nullptr ? std::nullopt : std::optional(*grid));
  }
  if (!alerts_[i].ok()) return;
  std::string contradiction =
      Contradiction(active_, *alerts_[i], interval,
                    alert.rule ? alert.rule->query_offset : Nanoseconds(0), since_ms_);
  if (!contradiction.empty()) Doubt(std::move(contradiction));
  alert.firing_now = FiringNow(alert.series, interval, answer_.blind,
                               SystemTime(std::chrono::milliseconds(now_ms_)) + clock_.offset);
}

void Inquiry::Route(const std::vector<AlertRoutes>& alertmanagers) {
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    ProbeAnswer::Alert& alert = answer_.alerts[i];
    if (rules_[i] == nullptr || !known_.config.value) continue;
    // A Prometheus that has just started has not found them yet.
    if (alertmanagers.empty() && !known_.config.value->has_alertmanagers) {
      alert.route = AlertRoute{};
    }
    const SentAlert sent = SentLabels(*rules_[i], question_.alerts[i], LeadOf(alert.series),
                                      *known_.config.value->alert_path);
    if (!sent.sent) {
      alert.route = AlertRoute{};
      continue;
    }
    if (!sent.known) continue;
    for (const AlertRoutes& routes : alertmanagers) {
      for (AlertRoute& route : routes.For(sent.labels)) alert.routes.push_back(std::move(route));
    }
    const auto best = std::min_element(alert.routes.begin(), alert.routes.end(),
                                       [](const AlertRoute& left, const auto& right) {
                                         return std::pair(!left.delivers, left.group_wait) <
                                                std::pair(!right.delivers, right.group_wait);
                                       });
    if (best != alert.routes.end()) alert.route = *best;
  }
}

}  // namespace firedrill::controller
