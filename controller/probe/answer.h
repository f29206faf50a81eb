// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/probe/relabel.h"
#include "proto/support/clock.h"

// The answers of Prometheus' HTTP API as plain structs. The text comes from the network: any text
// gives a value or a status, never more.
namespace firedrill::controller {

struct PrometheusPoint {
  std::int64_t at_ms = 0;  ///< Prometheus' own clock, milliseconds since 1970.
  double value = 0;        ///< May be NaN or infinite.
};

struct PrometheusSeries {
  std::map<std::string, std::string> labels;
  std::vector<PrometheusPoint> points;  ///< One of a vector or scalar, several of a matrix.
};

struct PrometheusAnswer {
  std::vector<PrometheusSeries> series;
  std::vector<std::string> warnings;
};

/// Whether it is an instant that can be told in nanoseconds: from 1970 on, finite.
bool IsUnixTime(double seconds);

/// Reads the answer of /api/v1/query and /api/v1/query_range. An answer that tells an error gives a
/// status with Prometheus' own text: INVALID_ARGUMENT (bad_data, execution), DEADLINE_EXCEEDED
/// (timeout, canceled), UNAVAILABLE. DATA_LOSS: not what Prometheus answers.
absl::StatusOr<PrometheusAnswer> ParsePrometheusAnswer(std::string_view body);

struct PrometheusRule {
  std::string name;        ///< The alert's; of a recording rule the name of what it records.
  bool recording = false;  ///< Else it alerts.
  std::string expression;
  std::string group;
  std::string file;
  std::map<std::string, std::string>
      labels;  ///< Those that the rule itself sets, templates as such.
  Nanoseconds pending_for{0};
  Nanoseconds keep_firing_for{0};
  Nanoseconds evaluation_interval{0};       ///< Of its group.
  std::optional<Nanoseconds> query_offset;  ///< Of its group, where the API tells it.
  /// When its group was evaluated last, Prometheus' time: up to some ms after the tick. nullopt:
  /// not yet.
  std::optional<std::int64_t> evaluated_at_ms;
};

/// Reads the rules of /api/v1/rules, in their order.
absl::StatusOr<std::vector<PrometheusRule>> ParsePrometheusRules(std::string_view body);

/// What the evaluator of the rules itself holds as active.
struct PrometheusAlert {
  std::map<std::string, std::string> labels;  ///< alertname among them.
  std::int64_t active_at_ms = 0;  ///< The first evaluation at which it held, Prometheus' time.
};

/// Reads /api/v1/alerts: what is pending or firing.
absl::StatusOr<std::vector<PrometheusAlert>> ParsePrometheusAlerts(std::string_view body);

struct PrometheusConfig {
  Nanoseconds scrape_interval{0};      ///< Global.
  Nanoseconds evaluation_interval{0};  ///< Global.
  std::map<std::string, Nanoseconds> job_scrape_interval;
  Nanoseconds rule_query_offset{0};             ///< Global; since Prometheus 2.53.
  bool has_alertmanagers = false;               ///< It is told where to find some.
  std::shared_ptr<const AlertPath> alert_path;  ///< Never null where a configuration was read.
  /// The intervals of the groups that record a series, by its name. Not in the configuration: it is
  /// filled in from the rules.
  std::map<std::string, Nanoseconds> recorded_interval;
};

/// Reads what is wanted out of /api/v1/status/config.
absl::StatusOr<PrometheusConfig> ParsePrometheusConfig(std::string_view body);

/// 1m30s, 500ms, 1d: as Prometheus writes durations. nullopt: it is none, or over 100 years.
std::optional<Nanoseconds> ParsePrometheusDuration(std::string_view text);

/// The status for an HTTP answer other than 2xx: with Prometheus' error text if the body has one,
/// else with the beginning of the body.
absl::Status HttpStatusError(int http_status, std::string_view body);

}  // namespace firedrill::controller
