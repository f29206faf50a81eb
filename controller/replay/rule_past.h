// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/probe/answer.h"
#include "controller/probe/probe.h"
#include "controller/probe/prometheus.h"
#include "controller/probe/sampling.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// An alerting rule of which the stored past is asked.
struct RulePastQuestion {
  std::string expression;
  Nanoseconds evaluation_interval{0};  ///< Over zero.
  Nanoseconds query_offset{0};         ///< It is evaluated over data so old.
  /// One of the rule's evaluations, in milliseconds on Prometheus' own clock; absent: not known.
  std::optional<std::int64_t> evaluated_at_ms;
  Nanoseconds look_back{0};
};

/// Evaluations, one after the other, at which a series of the expression was there. In milliseconds
/// on Prometheus' own clock.
struct Stretch {
  std::int64_t first_ms = 0;
  std::int64_t last_ms = 0;
};

/// What a rule's expression gave over the past. Milliseconds on Prometheus' own clock.
struct RulePast {
  std::int64_t from_ms = 0;  ///< The first evaluation of which there are data.
  std::int64_t to_ms = 0;
  std::int64_t step_ms = 0;     ///< Between the evaluations that were replayed.
  bool clipped = false;         ///< Stored is less than was asked for.
  Nanoseconds clock_offset{0};  ///< The controller's clock minus Prometheus'.
  std::map<std::string, std::vector<Stretch>> series;  ///< By the series' labels, in words.
  /// Prometheus scraped nothing; short ones may be missing. Each in order of time.
  std::vector<Hole> holes;
  std::string holes_unknown;  ///< Why it cannot be told whether there are any; empty: it can.

  /// Adds the points of one series; those of later calls are newer. A point that follows the last
  /// one by a step prolongs its stretch.
  void Add(const std::string& labels, const std::vector<PrometheusPoint>& points,
           std::int64_t moved_by_ms);
};

/// Knows the past of rules.
class PastReader {
 public:
  virtual ~PastReader() = default;
  /// Blocks, for two minutes at most. `stop` is asked now and then: true ends it with CANCELLED.
  /// DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED: the past is more than can be replayed, with what to do;
  /// INVALID_ARGUMENT: Prometheus' own words; UNAVAILABLE.
  virtual absl::StatusOr<RulePast> Read(const RulePastQuestion& question,
                                        const std::function<bool()>& stop) = 0;
};

/// Evaluates the expression by query_range at the rule's own evaluations: at most 11,000 of them a
/// query (Prometheus' own limit), two queries at a time, 64 queries in all. A longer past is
/// replayed with a step of several evaluation intervals. Thread-safe.
class PrometheusPast : public PastReader {
 public:
  /// INVALID_ARGUMENT as PrometheusProbe::Create. Does not connect.
  static absl::StatusOr<std::unique_ptr<PrometheusPast>> Create(PrometheusOptions options,
                                                                const Clock& clock = Clock::Real());

  absl::StatusOr<RulePast> Read(const RulePastQuestion& question,
                                const std::function<bool()>& stop) override;

 private:
  PrometheusPast(PrometheusOptions options, const Clock& clock);
  const PrometheusOptions options_;
  const Clock& clock_;
};

}  // namespace firedrill::controller
