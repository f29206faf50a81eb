// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controller/probe/answer.h"
#include "controller/probe/probe.h"
#include "controller/probe/sampling.h"

// Which of Prometheus' rules an alert comes from, and what its expression reads. Pure functions.
namespace firedrill::controller {

/// All rules of a Prometheus, with what is looked up often. Immutable.
struct RuleBook {
  explicit RuleBook(std::vector<PrometheusRule> all);
  std::vector<PrometheusRule> rules;
  std::multimap<std::string, std::size_t> recorded;      ///< Recording rules by what they record.
  std::map<std::string, Nanoseconds> recorded_interval;  ///< The longest of each.
};

/// Whether a rule's label is a template, of which Prometheus makes a value for each series.
bool IsTemplate(const std::string& value);

/// The series of an alert by which its rule and its route are told: the one that fired first, else
/// the one that was pending first. nullptr: none has a sample.
const AlertSeries* LeadOf(const std::vector<AlertSeries>& series);

struct RuleChoice {
  const PrometheusRule* rule = nullptr;  ///< nullptr: none could raise it.
  std::string hint;                      ///< Then: what there is instead; empty if nothing is near.
  /// Several rules could raise it, and which one is meant cannot be told: their number and places.
  std::string ambiguity;
};

/// The rule that raises what `alert` asks for. A rule could raise it if it has its name and sets no
/// label to something else (a template may become anything). Of several the one whose labels are
/// those of LeadOf's series counts; labels that more of a rule explain win. What is then left is
/// the same but for its place, or ambiguous: the first one is taken.
RuleChoice ChooseRule(const RuleBook& book, const ProbeQuestion::Alert& alert,
                      const std::vector<AlertSeries>& series);

/// How far back the expression looks, with what the recording rules that it reads look back (and
/// what those read: three levels).
Nanoseconds LookBackOf(const std::string& expression, const RuleBook& book);

/// What is told of a rule. `grid` is that of its expression, if it is known. Without it the scrape
/// interval is told only if the selectors name their jobs, or every job has the same.
AlertRule AlertRuleOf(const PrometheusRule& rule, const RuleBook& book,
                      const std::optional<PrometheusConfig>& config,
                      const std::optional<ScrapeGrid>& grid);

}  // namespace firedrill::controller
