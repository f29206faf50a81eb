// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tests/lib/process.h"

// A real Prometheus and Alertmanager on loopback, from `tests/lib/services test`.
namespace firedrill::test {

/// The path of a program that tests/lib/services provides: prometheus, alertmanager, promtool.
std::string ServiceProgram(const std::string& name);

class Prometheus {
 public:
  /// Starts with this configuration (rules in a file that it may name as `rules.yml`; `rules` may
  /// be empty) and waits until it answers. Everything lies in a folder of its own.
  static absl::StatusOr<std::unique_ptr<Prometheus>> Start(const std::string& config,
                                                           const std::string& rules);
  /// The same with a past: samples in OpenMetrics' text (see history.h), stored as blocks before it
  /// starts.
  static absl::StatusOr<std::unique_ptr<Prometheus>> StartWithPast(const std::string& config,
                                                                   const std::string& rules,
                                                                   const std::string& open_metrics);
  int port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  Child& process() { return *child_; }
  /// Stops it by `signal` and starts it again on the same port and storage.
  absl::Status Restart(int signal);
  /// The body of the answer to a GET of `path`.
  absl::StatusOr<std::string> Get(const std::string& path) const;

 private:
  Prometheus() = default;
  absl::Status Launch();
  TemporaryFolder folder_;
  int port_ = 0;
  std::unique_ptr<Child> child_;
};

class Alertmanager {
 public:
  /// Sends every alert at once (group_wait 0s, group_interval 1s, send_resolved) to `webhook_url`.
  static absl::StatusOr<std::unique_ptr<Alertmanager>> Start(const std::string& webhook_url);
  int port() const { return port_; }
  Child& process() { return *child_; }

 private:
  Alertmanager() = default;
  TemporaryFolder folder_;
  int port_ = 0;
  std::unique_ptr<Child> child_;
};

/// A configuration that scrapes 127.0.0.1:`exporter_port` as job `shop` every second, evaluates
/// every second, and sends alerts to `alertmanager_port` unless that is 0.
std::string PrometheusConfigText(int exporter_port, int alertmanager_port = 0);

}  // namespace firedrill::test
