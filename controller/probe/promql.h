// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "controller/probe/promql_tokens.h"

// What must be known of a PromQL expression before it is asked. Prometheus parses it in full and
// says what is wrong with it; for text that is no PromQL these answers mean nothing, but do no
// harm.
namespace firedrill::controller {

struct PromqlShape {
  /// The vector selectors, without ranges and offsets: `up{job="shop"}`. Each once, in order.
  std::vector<std::string> selectors;
  bool plain_selector = false;  ///< The expression is one instant vector selector and nothing else.
  /// Its outermost comparison drops what does not match (`a == 0`, not `a == bool 0`), and so gives
  /// the left side's value.
  bool filters = false;
  /// Can be empty although there is data: filters somewhere, absent(), `and`, `unless`.
  bool may_be_empty = false;
  /// The functions and aggregations that it calls, in lower case. Each once, in order.
  std::vector<std::string> functions;
  bool divides = false;  ///< It divides something by a vector: a ratio.
};

PromqlShape ShapeOf(std::string_view expression);

/// The expression's words and signs without lists of labels: `sum by (job) (a)` is `sum ( a )`.
std::vector<PromqlToken> PromqlOperands(std::string_view expression);

/// Stands between two operands or changes one: and, on, offset, … In any case of letters.
bool IsPromqlKeyword(const std::string& word);

/// A label's name as it stands in braces: in quotes where it is no plain word (Prometheus 3).
std::string QuoteLabelName(std::string_view name);

/// A label's value as a PromQL string, quotes included.
std::string QuoteLabelValue(std::string_view value);

}  // namespace firedrill::controller
