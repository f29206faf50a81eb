// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "controller/probe/probe.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

struct PrometheusOptions {
  std::string url;               ///< http://127.0.0.1:9090, with a path prefix if there is one.
  std::string ca_file;           ///< PEM; empty: the system's.
  std::string certificate_file;  ///< Of this client, PEM, with key_file.
  std::string key_file;
  std::string bearer_token_file;  ///< Read again at each question, so it can be rotated.
  std::string user;               ///< Basic authentication, with password_file.
  std::string password_file;
  Nanoseconds deadline = std::chrono::seconds(3);  ///< For one Ask, retries included.
  int retries = 2;  ///< Of a request that found no connection or was answered by 502, 503 or 429.
  std::size_t answer_bytes = 16u << 20;  ///< A longer answer is an error (RESOURCE_EXHAUSTED).
  /// Given only for a server that does not tell its configuration (Mimir, Thanos).
  std::optional<Nanoseconds> scrape_interval;
  std::optional<Nanoseconds> evaluation_interval;
};

/// Asks a Prometheus by its HTTP API. All questions of one Ask go out at the same time.
///
/// Indicators. A plain selector (`up{job="shop"}`) is asked for its raw samples
/// (`up{job="shop"}[300s]`): instants and values exactly as stored. Any other expression is
/// evaluated by query_range at the instants at which what it reads was scraped: a grid with the
/// scrape interval as step and the scrape's own phase, found by `max(timestamp(selector))`, moved
/// by a tenth of the interval (at most 100 ms) for scrapes that are late. An evaluation that saw no
/// newer sample than the one before is dropped, so a hole stays a hole though Prometheus would fill
/// it for five minutes; the others carry the newest sample's timestamp. ±: that tenth, and the
/// spread of the phases if several targets are read. Where no selector's timestamps can be had, the
/// grid is the evaluation's own and ± the whole interval.
///
/// Alerts. Raw samples of ALERTS, see alerts.h; the rule from Prometheus' own API, see rules.h; its
/// expression looked at as an indicator is; the route from the configuration that Alertmanager
/// tells (route_watch.h): asked for on a thread of its own, so the first answers may come without
/// it.
///
/// Stop conditions. Hold when the answer is neither empty nor 0. Where the query is a comparison
/// that filters (`sum(up) == 0`, not `== bool 0`) any answer that is not empty makes it hold, for
/// the value is then the left side's: 0 in this example. So an alerting rule reads it.
///
/// Several series where one value is wanted are an error (FAILED_PRECONDITION). No data and NaN are
/// NOT_FOUND. Redirects are not followed. Prometheus' own words are in the messages of its errors.
class PrometheusProbe : public Probe {
 public:
  /// INVALID_ARGUMENT: the URL, or a file that cannot be read. Does not connect.
  static absl::StatusOr<std::unique_ptr<PrometheusProbe>> Create(
      PrometheusOptions options, const Clock& clock = Clock::Real());
  ~PrometheusProbe() override;

  ProbeAnswer Ask(const ProbeQuestion& question) override;
  /// The global scrape_interval of Prometheus' configuration.
  std::optional<Nanoseconds> ScrapeInterval() override;

 private:
  class Impl;
  explicit PrometheusProbe(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace firedrill::controller
