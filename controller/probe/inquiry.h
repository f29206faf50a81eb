// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/probe/alerts.h"
#include "controller/probe/alignment.h"
#include "controller/probe/answer.h"
#include "controller/probe/fetch.h"
#include "controller/probe/probe.h"
#include "controller/probe/promql.h"
#include "controller/probe/route.h"
#include "controller/probe/rules.h"
#include "controller/probe/sampling.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// What was learnt of a Prometheus and stays true for a while.
struct PrometheusKnowledge {
  template <typename T>
  struct Aged {
    std::optional<T> value;
    std::optional<SteadyTime> at;  ///< When it was asked last, with or without success.
    bool Old(SteadyTime now, Nanoseconds age) const { return !at || now - *at > age; }
  };
  Aged<PrometheusConfig> config;
  Aged<std::shared_ptr<const RuleBook>> rules;
  std::map<std::string, Aged<ScrapeGrid>> grids;  ///< By the query of an indicator or of a rule.
  std::set<std::string> numbers;                  ///< Rules' expressions that are no vectors.
};

/// Intervals that are given rather than asked for.
struct GivenIntervals {
  std::optional<Nanoseconds> scrape;
  std::optional<Nanoseconds> evaluation;
};

/// The intervals that hold: the given ones, else what Prometheus told, with those of what its rules
/// record; nullopt: neither.
std::optional<PrometheusConfig> IntervalsOf(const PrometheusKnowledge& known,
                                            const GivenIntervals& given);

absl::StatusOr<PrometheusAnswer> ParseFetched(const absl::StatusOr<FetchAnswer>& fetched);
FetchRequest InstantQuery(const std::string& query);
/// At each instant of `range`. `timeout`: then Prometheus gives up; 0: its own.
FetchRequest RangeQuery(const std::string& query, const GridRange& range,
                        Nanoseconds timeout = Nanoseconds(0));

/// Runs requests: one answer for each, in their order.
using Fetch = std::function<std::vector<absl::StatusOr<FetchAnswer>>(
    const std::vector<FetchRequest>& requests)>;

/// What Prometheus' clock showed at some instant between `sent` and `received`.
struct ToldTime {
  std::int64_t now_ms = 0;
  SystemTime sent;
  SystemTime received;
};
/// Asks for it alone, so that the round trip is the bound. DATA_LOSS: it is not told.
absl::StatusOr<ToldTime> AskTime(const Fetch& fetch, const Clock& clock);

/// Where Prometheus does not tell, and no option does.
inline constexpr std::int64_t kUnknownIntervalMs = 15'000;
/// Looked back at most: the longest run and its recovery.
inline constexpr std::int64_t kLongestMs = 48 * 3'600'000;

/// One question to Prometheus on its way: first what must be learnt, then all that is asked at the
/// same time. Not thread-safe.
class Inquiry {
 public:
  /// `now_ms` is Prometheus' time, `clock` how it stands to ours. Everything passed by reference
  /// must outlive this object.
  Inquiry(const ProbeQuestion& question, GivenIntervals given, std::int64_t now_ms,
          ClockAlignment clock, PrometheusKnowledge& known, ProbeAnswer& answer);

  /// Fills the answer's parts, all but the alerts' routes. `now` is for the age of what is known.
  void Run(const Fetch& fetch, SteadyTime now);

  /// Fills the alerts' routes from what Alertmanagers told; after Run.
  void Route(const std::vector<AlertRoutes>& alertmanagers);

 private:
  // Requests that go out together, each with what is done with its answer.
  class Round {
   public:
    using Handler = std::function<void(const absl::StatusOr<FetchAnswer>&)>;
    void Add(FetchRequest request, Handler handler);
    void Run(const Fetch& fetch);  // handlers run in the order in which they were added

   private:
    std::vector<FetchRequest> requests_;
    std::vector<Handler> handlers_;
  };

  void Learn(const Fetch& fetch, SteadyTime now);
  void AskPhase(const std::string& query, Round& round, SteadyTime now);
  void TakePhases(SteadyTime now);
  const ScrapeGrid* GridFor(const std::string& query) const;
  void AskIndicator(std::size_t i, Round& round);
  void AskHoles(Round& round);
  // ParseFetched, kept to the time that was asked for; `subject` names it in caveats.
  absl::StatusOr<PrometheusAnswer> Take(const absl::StatusOr<FetchAnswer>& fetched,
                                        const std::string& subject);
  void ChooseRules();
  void AskMarkers(const Fetch& fetch);
  Nanoseconds EvaluationOf(std::size_t i) const;
  void AskTruths(const Fetch& fetch, SteadyTime now);
  TruthPlan PlanFor(std::size_t i) const;
  void ConcludeAlert(std::size_t i);
  void Doubt(std::string caveat);
  void ConcludeBlind();
  const RuleBook* Book() const { return known_.rules.value ? known_.rules.value->get() : nullptr; }
  std::int64_t WindowMs() const { return now_ms_ - since_ms_; }

  const ProbeQuestion& question_;
  const GivenIntervals given_;
  const std::int64_t now_ms_;
  const ClockAlignment clock_;
  PrometheusKnowledge& known_;
  ProbeAnswer& answer_;
  std::int64_t since_ms_ = 0;
  std::map<std::string, PrometheusAnswer> phases_;        // by query, until they are taken
  std::optional<PrometheusConfig> intervals_;             // after Learn
  std::vector<PromqlShape> shapes_;                       // of the indicators
  std::vector<absl::StatusOr<PrometheusAnswer>> values_;  // of indicators on a grid
  std::vector<absl::StatusOr<PrometheusAnswer>> alerts_;
  std::vector<PrometheusAlert> active_;       // empty: none, or not known
  std::vector<const PrometheusRule*> rules_;  // of the alerts; nullptr: none, or not known
  std::vector<Hole> holes_;
};

}  // namespace firedrill::controller
