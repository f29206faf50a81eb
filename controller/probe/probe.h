// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "controller/probe/relabel.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// Older samples are stale to Prometheus, unless --query.lookback-delta says otherwise.
inline constexpr Nanoseconds kDefaultLookBack = std::chrono::minutes(5);

/// One raw sample as Prometheus stored it, or for an expression over several series the value at an
/// evaluation instant that is a scrape's instant.
struct RawSample {
  SystemTime at;     ///< Prometheus' own timestamp, moved onto the controller's clock.
  double value = 0;  ///< Never NaN: such a sample is left out, it says nothing.
};

/// From `from` to `to`, in which something did not happen.
struct TimeSpan {
  SystemTime from;
  SystemTime to;
};

/// What Prometheus' own API says of an alerting rule.
struct AlertRule {
  std::string group;
  std::string file;
  std::string expression;
  std::map<std::string, std::string> labels;  ///< Those that the rule itself adds.
  Nanoseconds evaluation_interval{0};
  Nanoseconds pending_for{0};  ///< The rule's `for`.
  Nanoseconds keep_firing_for{0};
  Nanoseconds query_offset{0};  ///< It is evaluated over the past, so long ago.
  /// The longest scrape interval of what its expression reads.
  std::optional<Nanoseconds> scrape_interval;
  Nanoseconds window{0};  ///< The longest range that its expression looks back; 0: none.
  /// Other alerting rules that call absent() on something that this one reads.
  std::vector<std::string> absent_in;
};

/// One series of ALERTS. With a query offset Prometheus stamps samples so much before the
/// evaluation.
struct AlertSeries {
  std::map<std::string, std::string> labels;  ///< Without __name__ and alertstate.
  bool firing = false;                        ///< alertstate="firing", else "pending".
  /// In order of time; each is an evaluation's instant. A value of 0: a stale marker, between two
  /// samples of 1: the rule was evaluated, and the alert was not active (markers.h).
  std::vector<RawSample> samples;
};

/// Where Alertmanager's configuration sends an alert.
struct AlertRoute {
  std::string receiver;  ///< Empty: Prometheus sends it to no Alertmanager.
  Nanoseconds group_wait{0};
  Nanoseconds group_interval{0};
  std::vector<std::string> group_by;
  bool delivers = false;  ///< The receiver has at least one way out.
};

/// One time that an alert was active, read from raw samples of ALERTS.
struct AlertEpisode {
  std::map<std::string, std::string> labels;
  std::optional<SystemTime> pending_at;
  std::optional<SystemTime> firing_at;
  std::optional<SystemTime> resolved_at;  ///< The end, if it has ended.
  /// ± of `resolved_at` beside the clocks': Prometheus was blind when it ended.
  Nanoseconds resolved_uncertainty{0};
};

/// What the probe looks at for one run.
struct ProbeQuestion {
  struct Alert {
    std::string name;
    std::map<std::string, std::string> labels;
    /// The rule's expression is wanted too, at each scrape of what it reads since then.
    std::optional<SystemTime> truth_since = std::nullopt;
  };
  struct Indicator {
    Indicator(std::string promql, bool each_scrape = false)  // NOLINT: a query is an indicator
        : query(std::move(promql)), per_scrape(each_scrape) {}
    Indicator(const char* promql) : query(promql) {}  // NOLINT: likewise
    std::string query;                                ///< PromQL
    /// Counters are read from each scrape to the next, whatever window the query names: see
    /// PerScrape in promql_ranges.h. Else the query stays as it is written.
    bool per_scrape = false;
  };
  std::vector<Indicator> indicators;
  std::vector<Alert> alerts;
  std::vector<std::string> stop_conditions;  ///< PromQL
  SystemTime since;                          ///< How far back samples are wanted.
};

/// What Prometheus said. A part that could not be had carries its status: unknown, never good.
struct ProbeAnswer {
  struct Indicator {
    absl::Status status;                  ///< NOT_FOUND: the query has no data now (or gives NaN).
    std::vector<RawSample> samples;       ///< Since the question's `since`, in order of time.
    std::optional<Nanoseconds> interval;  ///< Between scrapes of what the query reads.
    Nanoseconds uncertainty{0};           ///< ± of the samples' instants, the clock's included.
    Nanoseconds window{0};  ///< How far back a value looks, at most, so breach and recovery may
                            ///< seem late by so much. 0: not at all, or only to the scrape before.
    bool raw = false;  ///< The samples are as stored; else the query was evaluated at each scrape.
  };
  struct Alert {
    absl::Status status;
    bool firing_now = false;
    std::vector<AlertSeries> series;  ///< Raw, since the question's `since`.
    /// How many series of the question's labels the rule's expression gave, at each scrape of what
    /// it reads, stamped with the scrape (or the missing one); 0: it did not hold. Of an expression
    /// that reads nothing at each evaluation. Empty unless asked for and known.
    std::vector<RawSample> truth;
    /// The first of `routes` that delivers, with the shortest wait; else the first. Absent:
    /// Alertmanager's configuration cannot be had. Without a receiver: Prometheus has no
    /// Alertmanager.
    std::optional<AlertRoute> route;
    /// All that the alert takes (`continue`). A notification's receiver tells which one was ours.
    std::vector<AlertRoute> routes;
    std::optional<AlertRule> rule;  ///< Absent: no such rule, or the rules could not be had.
    bool rule_missing = false;      ///< The rules were read, and this alert is in none of them.
    std::string rule_hint;  ///< Then: what there is instead, in words; empty if nothing is near.
    std::string rule_ambiguity;  ///< Which others it might be, in words; empty: `rule` is the one.
  };
  struct StopCondition {
    absl::Status status;
    bool holds = false;
  };
  absl::Status status;  ///< Whether Prometheus answered at all; then every part carries it too.
  SystemTime asked_at;
  Nanoseconds clock_offset{0};       ///< The controller's clock minus Prometheus'.
  Nanoseconds clock_uncertainty{0};  ///< ± of the alignment of Prometheus' clock with ours.
  bool clock_jumped = false;         ///< Against earlier answers, by more than both are uncertain.
  std::vector<TimeSpan> blind;       ///< Times since `since` in which Prometheus scraped nothing.
  /// Why it is not known whether there were such times; empty: it is known.
  std::string blind_unknown;
  /// What happens to alerts on their way to Alertmanager; null: the configuration is not known.
  std::shared_ptr<const AlertPath> alert_path;
  std::vector<std::string> caveats;  ///< What makes samples doubtful, in words; few and short.
  std::vector<Indicator> indicators;
  std::vector<Alert> alerts;
  std::vector<StopCondition> stop_conditions;
};

/// What an Alertmanager told us by its webhook about one alert.
struct AlertNotice {
  std::string alert;
  std::map<std::string, std::string> labels;
  bool firing = false;
  SystemTime starts_at;
  std::optional<SystemTime> ends_at;
  SystemTime received_at;
  std::string fingerprint;
  std::string receiver;  ///< The name that Alertmanager's configuration gives us.
};

/// Looks at a monitoring system. Thread-safe. Every call is bounded in time by the probe's
/// deadline.
class Probe {
 public:
  virtual ~Probe() = default;
  /// Asks everything once. Blocks for at most the probe's deadline.
  virtual ProbeAnswer Ask(const ProbeQuestion& question) = 0;
  /// The interval at which the indicator's samples come, for gaps; nullopt if it cannot be known.
  virtual std::optional<Nanoseconds> ScrapeInterval() = 0;
};

}  // namespace firedrill::controller
