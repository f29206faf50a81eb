// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
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

/// Reads the answer of /api/v1/query and /api/v1/query_range. An answer that tells an error gives a
/// status with Prometheus' own text: INVALID_ARGUMENT (bad_data, execution), DEADLINE_EXCEEDED
/// (timeout, canceled), UNAVAILABLE. DATA_LOSS: not what Prometheus answers.
absl::StatusOr<PrometheusAnswer> ParsePrometheusAnswer(std::string_view body);

struct PrometheusRule {
  std::string alert;
  std::map<std::string, std::string> labels;  ///< Those that the rule itself adds.
  Nanoseconds pending_for{0};
  Nanoseconds evaluation_interval{0};  ///< Of its group.
};

/// Reads the alerting rules of /api/v1/rules.
absl::StatusOr<std::vector<PrometheusRule>> ParsePrometheusRules(std::string_view body);

struct PrometheusConfig {
  Nanoseconds scrape_interval{0};      ///< Global.
  Nanoseconds evaluation_interval{0};  ///< Global.
  std::map<std::string, Nanoseconds> job_scrape_interval;
};

/// Reads the intervals out of /api/v1/status/config.
absl::StatusOr<PrometheusConfig> ParsePrometheusConfig(std::string_view body);

/// 1m30s, 500ms, 1d: as Prometheus writes durations. nullopt: it is none, or over 100 years.
std::optional<Nanoseconds> ParsePrometheusDuration(std::string_view text);

/// The status for an HTTP answer other than 2xx: with Prometheus' error text if the body has one,
/// else with the beginning of the body.
absl::Status HttpStatusError(int http_status, std::string_view body);

}  // namespace firedrill::controller
