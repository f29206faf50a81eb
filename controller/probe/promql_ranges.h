// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/support/clock.h"

// How far back a PromQL expression looks. For text that is no PromQL the answers mean nothing.
namespace firedrill::controller {

/// One place at which an expression reads series.
struct PromqlReading {
  std::string selector;  ///< Without range and offset: `up{job="shop"}`.
  /// Its range, and those of the subqueries around it: 15m of `max_over_time(rate(x[5m])[10m:])`.
  Nanoseconds range{0};
};

/// Every selector of the expression, in order. Offsets do not count: they move, and do not widen.
std::vector<PromqlReading> ReadingsOf(std::string_view expression);

/// The metric's name in a selector, also of {__name__="up"} and {"up"}; empty: several, or none.
std::string MetricNameOf(std::string_view selector);

/// The expression with counters read from each scrape to the next, whatever window it names:
/// `rate(x[5m])` becomes `irate(x[2S])`, which takes the last two samples, reset-aware and without
/// extrapolation; `increase(x[5m])` that times S; `delta` becomes `idelta`; `irate` and `idelta`
/// get the range. S is what `interval` tells of the selector. Everything else stays as it is, also
/// ranges of subqueries and of avg_over_time() and its like.
std::string PerScrape(std::string_view expression,
                      const std::function<Nanoseconds(const std::string& selector)>& interval);

}  // namespace firedrill::controller
