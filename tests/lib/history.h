// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

// A past for a Prometheus, of which the truth is known: Prometheus::StartWithPast.
namespace firedrill::test {

/// Samples of series, in milliseconds since 1970.
class History {
 public:
  /// `series` as PromQL writes it: up{job="shop"}. Samples of one series in the order of time.
  void Add(const std::string& series, std::int64_t at_ms, double value);
  /// OpenMetrics' text of all that was added.
  std::string OpenMetrics() const;

 private:
  struct Sample {
    std::int64_t at_ms;
    double value;
  };
  std::map<std::string, std::vector<Sample>> series_;
};

/// How Prometheus evaluates an alerting rule (docs/measuring.md): one sample of ALERTS at each
/// evaluation at which the expression holds.
struct RuleModel {
  std::string alert;
  std::string labels;  ///< Beside alertname and alertstate: severity="page"
  std::int64_t interval_ms = 1000;
  std::int64_t phase_ms = 0;  ///< Evaluations are at phase + n · interval.
  std::int64_t pending_for_ms = 0;

  /// The first evaluation at or after `at_ms`.
  std::int64_t EvaluationAfter(std::int64_t at_ms) const;

  /// Adds what it writes between `from_ms` and `to_ms`. `holds` says whether the expression holds
  /// at an evaluation's instant; in `blind` nothing is evaluated, and after it the `for` begins
  /// anew, as after a restart with one under ten minutes.
  struct Blind {
    std::int64_t from_ms;
    std::int64_t to_ms;
  };
  template <typename Holds>
  void Write(History& history, std::int64_t from_ms, std::int64_t to_ms, const Holds& holds,
             const std::vector<Blind>& blind = {}) const {
    std::int64_t active_ms = -1;
    for (std::int64_t at = EvaluationAfter(from_ms); at <= to_ms; at += interval_ms) {
      bool seen = true;
      for (const Blind& hole : blind) seen = seen && (at < hole.from_ms || at >= hole.to_ms);
      if (!seen || !holds(at)) {
        active_ms = -1;
        continue;
      }
      if (active_ms < 0) active_ms = at;
      WriteSample(history, at, at - active_ms >= pending_for_ms);
    }
  }

 private:
  void WriteSample(History& history, std::int64_t at_ms, bool firing) const;
};

}  // namespace firedrill::test
