// SPDX-License-Identifier: Apache-2.0
#include "tests/lib/prometheus.h"

#include <fmt/format.h>

#include <csignal>
#include <cstdlib>

#include "tests/lib/http_peer.h"

namespace firedrill::test {
namespace {

constexpr Nanoseconds kStart = std::chrono::seconds(30);  // for a start, at most

// Waits until GET /-/ready of `port` answers 200.
absl::Status WaitReady(Child& child, int port) {
  bool ready = false;
  WaitFor(
      [&] {
        const auto answer = HttpGet(port, "/-/ready", std::chrono::seconds(1));
        ready = answer.ok() && answer->rfind("HTTP/1.1 200", 0) == 0;
        return ready || !child.Running();
      },
      kStart);
  if (ready && child.Running()) return absl::OkStatus();
  return absl::UnavailableError("not ready: " + child.Log());
}

}  // namespace

std::string ServiceProgram(const std::string& name) {
  const char* services = std::getenv("FIREDRILL_SERVICES");
  if (services != nullptr) return fmt::format("{}/bin/{}", services, name);
  const char* source = std::getenv("FIREDRILL_SOURCE_DIR");
  return fmt::format("{}/build/services/bin/{}", source == nullptr ? "." : source, name);
}

absl::StatusOr<std::unique_ptr<Prometheus>> Prometheus::Start(const std::string& config,
                                                              const std::string& rules) {
  return StartWithPast(config, rules, "");
}

absl::StatusOr<std::unique_ptr<Prometheus>> Prometheus::StartWithPast(
    const std::string& config, const std::string& rules, const std::string& open_metrics) {
  std::unique_ptr<Prometheus> prometheus(new Prometheus);
  if (!open_metrics.empty()) {
    const std::string past = prometheus->folder_.Write("past.om", open_metrics);
    const auto blocks =
        RunToEnd({ServiceProgram("promtool"), "tsdb", "create-blocks-from", "openmetrics",
                  "--max-block-duration=1500h", past, prometheus->folder_.path() + "/data"});
    if (!blocks.ok()) return blocks.status();
    if (blocks->exit_status != 0) return absl::InvalidArgumentError(blocks->output);
  }
  prometheus->folder_.Write("prometheus.yml", config);
  prometheus->folder_.Write("rules.yml", rules.empty() ? "groups: []\n" : rules);
  absl::Status status;
  // Somebody may take the port before it is used.
  for (int tries = 0; tries < 3; ++tries) {
    prometheus->port_ = FreePort();
    status = prometheus->Launch();
    if (status.ok()) return prometheus;
  }
  return status;
}

absl::Status Prometheus::Launch() {
  auto child = Child::Start(
      {ServiceProgram("prometheus"), "--config.file=" + folder_.path() + "/prometheus.yml",
       "--storage.tsdb.path=" + folder_.path() + "/data", "--storage.tsdb.retention.time=10y",
       "--log.level=warn", fmt::format("--web.listen-address=127.0.0.1:{}", port_)},
      folder_.path() + "/log");
  if (!child.ok()) return child.status();
  child_ = *std::move(child);
  return WaitReady(*child_, port_);
}

absl::Status Prometheus::Restart(int signal) {
  child_->Stop(signal);
  return Launch();
}

absl::StatusOr<std::string> Prometheus::Get(const std::string& path) const {
  // By HTTP/1.1 it would come in chunks if it is over 2 kB.
  const auto answer = Exchange(port_, fmt::format("GET {} HTTP/1.0\r\n\r\n", path));
  if (!answer.ok()) return answer.status();
  return BodyOf(*answer);
}

absl::StatusOr<std::unique_ptr<Alertmanager>> Alertmanager::Start(const std::string& webhook_url) {
  std::unique_ptr<Alertmanager> alertmanager(new Alertmanager);
  const std::string& folder = alertmanager->folder_.path();
  alertmanager->folder_.Write("alertmanager.yml", fmt::format(R"(
route: {{receiver: test, group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: test
    webhook_configs:
      - {{url: '{}', send_resolved: true}}
)",
                                                              webhook_url));
  absl::Status status;
  for (int tries = 0; tries < 3; ++tries) {
    alertmanager->port_ = FreePort();
    auto child = Child::Start(
        {ServiceProgram("alertmanager"), "--config.file=" + folder + "/alertmanager.yml",
         "--storage.path=" + folder + "/data", "--cluster.listen-address=",
         fmt::format("--web.listen-address=127.0.0.1:{}", alertmanager->port_)},
        folder + "/log");
    if (!child.ok()) return child.status();
    alertmanager->child_ = *std::move(child);
    status = WaitReady(*alertmanager->child_, alertmanager->port_);
    if (status.ok()) return alertmanager;
  }
  return status;
}

std::string PrometheusConfigText(int exporter_port, int alertmanager_port) {
  std::string text = fmt::format(R"(
global: {{scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: shop
    static_configs: [{{targets: ['127.0.0.1:{}']}}]
)",
                                 exporter_port);
  if (alertmanager_port == 0) return text;
  return text + fmt::format(R"(
alerting:
  alertmanagers:
    - static_configs: [{{targets: ['127.0.0.1:{}']}}]
)",
                            alertmanager_port);
}

}  // namespace firedrill::test
