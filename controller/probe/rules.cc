// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "controller/probe/promql.h"
#include "controller/probe/promql_ranges.h"
#include "proto/support/problem.h"

namespace firedrill::controller {
namespace {

constexpr int kLevels = 3;                 // of recording rules that are followed
constexpr std::size_t kMostFollowed = 64;  // readings, of one expression
constexpr std::size_t kMostPlaces = 3;     // that are named

const std::string* Find(const std::map<std::string, std::string>& labels, const std::string& name) {
  const auto found = labels.find(name);
  return found == labels.end() ? nullptr : &found->second;
}

// Whether the rule sets a label otherwise than `labels` have it.
bool Contradicts(const PrometheusRule& rule, const std::map<std::string, std::string>& labels,
                 bool complete) {
  return std::any_of(rule.labels.begin(), rule.labels.end(), [&](const auto& label) {
    if (IsTemplate(label.second)) return false;
    const std::string* value = Find(labels, label.first);
    if (value == nullptr) return complete && !label.second.empty();
    return *value != label.second;
  });
}

// What there is instead of a rule that was not found.
std::string HintOf(const RuleBook& book, const ProbeQuestion::Alert& alert) {
  std::vector<std::string> names;
  for (const PrometheusRule& rule : book.rules) {
    if (rule.recording) continue;
    names.push_back(rule.name);
    if (rule.name != alert.name) continue;
    for (const auto& [label, value] : rule.labels) {
      const std::string* wanted = Find(alert.labels, label);
      if (wanted == nullptr || *wanted == value || IsTemplate(value)) continue;
      return fmt::format("the rule sets {}={}, not {}", label, value, *wanted);
    }
  }
  const std::string nearest = Nearest(alert.name, names);
  return nearest.empty() ? "" : fmt::format("did you mean {}?", nearest);
}

bool Alike(const PrometheusRule& left, const PrometheusRule& right) {
  return left.expression == right.expression && left.pending_for == right.pending_for &&
         left.keep_firing_for == right.keep_firing_for && left.labels == right.labels &&
         left.evaluation_interval == right.evaluation_interval;
}

std::string AmbiguityOf(const std::vector<const PrometheusRule*>& rules) {
  const bool alike = std::all_of(rules.begin(), rules.end(), [&](const PrometheusRule* rule) {
    return Alike(*rule, *rules.front());
  });
  if (alike) return "";
  std::string places;
  for (std::size_t i = 0; i < std::min(rules.size(), kMostPlaces); ++i) {
    places += fmt::format("{}{} in {}", i == 0 ? "" : ", ", Quoted(rules[i]->group),
                          Quoted(rules[i]->file));
  }
  if (rules.size() > kMostPlaces) places += ", …";
  return fmt::format("{} rules could raise it (groups {}); the first one is taken", rules.size(),
                     places);
}

Nanoseconds LookBack(const std::string& expression, const RuleBook& book, int levels,
                     std::size_t& followed) {
  Nanoseconds longest{0};
  for (const PromqlReading& reading : ReadingsOf(expression)) {
    Nanoseconds below{0};
    if (levels > 0) {
      const auto [first, last] = book.recorded.equal_range(MetricNameOf(reading.selector));
      for (auto rule = first; rule != last && followed < kMostFollowed; ++rule) {
        ++followed;
        below = std::max(below,
                         LookBack(book.rules[rule->second].expression, book, levels - 1, followed));
      }
    }
    longest = std::max(longest, reading.range + below);
  }
  return longest;
}

// The job that a selector names: {job="shop"}.
std::string JobOf(const std::string& selector) {
  const std::size_t brace = selector.find('{');
  if (brace == std::string::npos) return "";
  const std::vector<PromqlToken> inside =
      PromqlTokens(std::string_view(selector).substr(brace + 1, selector.size() - brace - 2));
  for (std::size_t i = 0; i + 2 < inside.size(); ++i) {
    const std::string& value = inside[i + 2].text;
    if (inside[i].text == "job" && inside[i + 1].text == "=" && value.size() >= 2) {
      return value.substr(1, value.size() - 2);
    }
  }
  return "";
}

// The longest scrape interval of what is read, without having seen any of it.
std::optional<Nanoseconds> ConfiguredInterval(const std::string& expression,
                                              const PrometheusConfig& config) {
  std::set<Nanoseconds> all;
  for (const auto& [job, interval] : config.job_scrape_interval) all.insert(interval);
  if (all.empty()) all.insert(config.scrape_interval);
  std::optional<Nanoseconds> longest;
  for (const std::string& selector : ShapeOf(expression).selectors) {
    const std::string job = JobOf(selector);
    const std::string name = MetricNameOf(selector);
    const bool recorded =
        config.recorded_interval.count(name) != 0 || name.find(':') != std::string::npos;
    if (!recorded && config.job_scrape_interval.count(job) == 0 && all.size() > 1) {
      return std::nullopt;
    }
    Nanoseconds interval = *all.begin();
    if (recorded || config.job_scrape_interval.count(job) != 0) {
      interval = std::chrono::milliseconds(IntervalMs(config, job, selector));
    }
    longest = std::max(longest.value_or(interval), interval);
  }
  return longest;
}

std::set<std::string> MetricsIn(const std::string& expression) {
  std::set<std::string> metrics;
  for (const PromqlReading& reading : ReadingsOf(expression)) {
    metrics.insert(MetricNameOf(reading.selector));
  }
  metrics.erase("");
  return metrics;
}

// Other alerting rules that say something once a metric that `rule` reads is gone.
std::vector<std::string> AbsentIn(const PrometheusRule& rule, const RuleBook& book) {
  const std::set<std::string> metrics = MetricsIn(rule.expression);
  std::set<std::string> names;
  for (const PrometheusRule& other : book.rules) {
    if (other.recording || other.expression == rule.expression) continue;
    const std::vector<std::string> functions = ShapeOf(other.expression).functions;
    const bool absent =
        std::any_of(functions.begin(), functions.end(), [](const std::string& function) {
          return function == "absent" || function == "absent_over_time";
        });
    if (!absent) continue;
    for (const std::string& metric : MetricsIn(other.expression)) {
      if (metrics.count(metric) != 0) names.insert(other.name);
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace

bool IsTemplate(const std::string& value) { return value.find("{{") != std::string::npos; }

const AlertSeries* LeadOf(const std::vector<AlertSeries>& series) {
  const AlertSeries* first = nullptr;
  for (const AlertSeries& one : series) {
    if (one.samples.empty()) continue;
    const bool better =
        first == nullptr || std::pair(!one.firing, one.samples.front().at) <
                                std::pair(!first->firing, first->samples.front().at);
    if (better) first = &one;
  }
  return first;
}

RuleBook::RuleBook(std::vector<PrometheusRule> all) : rules(std::move(all)) {
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (!rules[i].recording) continue;
    recorded.emplace(rules[i].name, i);
    Nanoseconds& interval = recorded_interval[rules[i].name];
    interval = std::max(interval, rules[i].evaluation_interval);
  }
}

RuleChoice ChooseRule(const RuleBook& book, const ProbeQuestion::Alert& alert,
                      const std::vector<AlertSeries>& series) {
  std::vector<const PrometheusRule*> able;
  for (const PrometheusRule& rule : book.rules) {
    if (rule.recording || rule.name != alert.name) continue;
    if (!Contradicts(rule, alert.labels, /*complete=*/false)) able.push_back(&rule);
  }
  RuleChoice choice;
  if (able.empty()) {
    choice.hint = HintOf(book, alert);
    return choice;
  }
  if (const AlertSeries* first = LeadOf(series); first != nullptr && able.size() > 1) {
    std::vector<const PrometheusRule*> fit;
    std::size_t explained = 0;
    for (const PrometheusRule* rule : able) {
      if (Contradicts(*rule, first->labels, /*complete=*/true)) continue;
      const std::size_t labels = rule->labels.size();
      if (labels > explained) fit.clear();
      explained = std::max(explained, labels);
      if (labels == explained) fit.push_back(rule);
    }
    if (!fit.empty()) able = std::move(fit);
  }
  choice.rule = able.front();
  choice.ambiguity = AmbiguityOf(able);
  return choice;
}

Nanoseconds LookBackOf(const std::string& expression, const RuleBook& book) {
  std::size_t followed = 0;
  return LookBack(expression, book, kLevels, followed);
}

AlertRule AlertRuleOf(const PrometheusRule& rule, const RuleBook& book,
                      const std::optional<PrometheusConfig>& config,
                      const std::optional<ScrapeGrid>& grid) {
  AlertRule told;
  told.group = rule.group;
  told.file = rule.file;
  told.expression = rule.expression;
  told.labels = rule.labels;
  told.evaluation_interval = rule.evaluation_interval;
  told.pending_for = rule.pending_for;
  told.keep_firing_for = rule.keep_firing_for;
  told.query_offset = config ? config->rule_query_offset : Nanoseconds(0);
  if (rule.query_offset) told.query_offset = *rule.query_offset;
  if (grid && grid->longest_ms > 0) {
    told.scrape_interval = std::chrono::milliseconds(grid->longest_ms);
  } else if (config) {
    told.scrape_interval = ConfiguredInterval(rule.expression, *config);
  }
  told.window = LookBackOf(rule.expression, book);
  told.absent_in = AbsentIn(rule, book);
  return told;
}

}  // namespace firedrill::controller
