// SPDX-License-Identifier: Apache-2.0
#include "controller/options.h"

#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <fstream>
#include <sstream>

#include "absl/strings/numbers.h"
#include "proto/support/status_macros.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

namespace po = boost::program_options;

constexpr const char* kBefore =
    "firedrill-controller: schedules and runs experiments on the agents that dial it.\n\n"
    "Usage: firedrill-controller [--config FILE] [flags]\n\n";
constexpr const char* kAfter = R"(
Examples:
  One machine, to try it (no TLS, so loopback only):
    firedrill-controller --insecure --listen 127.0.0.1:7443 --data /tmp/firedrill \
        --prometheus http://127.0.0.1:9090 --http-listen 127.0.0.1:7480

  A small fleet (certificates: firedrill ca init, firedrill ca issue):
    firedrill-controller --listen 0.0.0.0:7443 --ca ca.crt --cert controller.crt \
        --key controller.key --prometheus http://prometheus:9090

  The same with faults as annotations in Grafana, and PagerDuty's webhook as marks of the run:
    firedrill-controller --config controller.conf --http-listen 0.0.0.0:7480 \
        --grafana-url https://grafana:3000 --grafana-token-file grafana.token \
        --pager-secret-file pagerduty.secrets

Every flag can stand in a file, one a line, as `prometheus = http://prometheus:9090`.
SIGTERM and SIGINT abort what runs, end its faults, and then stop.
)";

po::options_description General() {
  po::options_description general("General");
  general.add_options()                                                          //
      ("help,h", "show this text")                                               //
      ("version", "show the version")                                            //
      ("config", po::value<std::string>(), "read further flags from this file")  //
      ("data", po::value<std::string>()->default_value("/var/lib/firedrill"),
       "folder of the database; made if it is missing")  //
      ("log-level", po::value<std::string>()->default_value("info"),
       "debug, info, warning or error");
  return general;
}

po::options_description Network() {
  po::options_description network("Agents and operators (gRPC)");
  network.add_options()  //
      ("listen",
       po::value<std::vector<std::string>>()->composing()->default_value({"0.0.0.0:7443"},
                                                                         "0.0.0.0:7443"),
       "host:port; may be given several times; port 0 lets the system choose")  //
      ("ca", po::value<std::string>()->default_value(""),
       "PEM file of the CA that every agent's and operator's certificate must come from")  //
      ("cert", po::value<std::string>()->default_value(""),
       "PEM file of this controller's certificate")(
          "key", po::value<std::string>()->default_value(""), "PEM file of its private key")  //
      ("insecure", po::bool_switch(),
       "no TLS and no roles; accepted with loopback addresses alone")  //
      ("lease", po::value<std::string>()->default_value("15s"),
       "faults end by themselves so long after the last word from here; 3s to 5m");
  return network;
}

po::options_description Http() {
  po::options_description http("Metrics, webhook, health (HTTP)");
  http.add_options()  //
      ("http-listen", po::value<std::string>()->default_value("127.0.0.1:7480"),
       "host:port of /metrics, /healthz and /webhook/…; empty for none")  //
      ("http-cert", po::value<std::string>()->default_value(""),
       "PEM file: serve HTTPS, with --http-key")                             //
      ("http-key", po::value<std::string>()->default_value(""), "PEM file")  //
      ("webhook-token-file", po::value<std::string>()->default_value(""),
       "file with the bearer token that both webhooks demand")  //
      ("pager-secret-file", po::value<std::string>()->default_value(""),
       "file with the secrets of PagerDuty's subscriptions, one a line, whose signature "
       "/webhook/pager then demands; read again at each request");
  return http;
}

po::options_description Prometheus() {
  po::options_description prometheus("Prometheus");
  prometheus.add_options()  //
      ("prometheus", po::value<std::string>()->default_value(""),
       "its URL; without it only experiments that measure nothing can run")  //
      ("prometheus-ca", po::value<std::string>()->default_value(""),
       "PEM file of the CA of its certificate; default: the system's")  //
      ("prometheus-cert", po::value<std::string>()->default_value(""),
       "PEM file of a client certificate")                                                    //
      ("prometheus-key", po::value<std::string>()->default_value(""), "PEM file of its key")  //
      ("prometheus-bearer-file", po::value<std::string>()->default_value(""),
       "file with a bearer token, read again for each question")  //
      ("prometheus-basic-user", po::value<std::string>()->default_value(""),
       "user for basic authentication")  //
      ("prometheus-basic-password-file", po::value<std::string>()->default_value(""),
       "file with the password, read again for each question")  //
      ("prometheus-deadline", po::value<std::string>()->default_value("3s"),
       "for one question, retries included; 100ms to 1m")  //
      ("prometheus-scrape-interval", po::value<std::string>()->default_value(""),
       "for a server that does not tell its configuration, such as Mimir or Thanos")  //
      ("prometheus-evaluation-interval", po::value<std::string>()->default_value(""),
       "the same, of its rules");
  return prometheus;
}

po::options_description Grafana() {
  po::options_description grafana("Grafana: faults as annotations");
  grafana.add_options()  //
      ("grafana-url", po::value<std::string>()->default_value(""),
       "its URL; with --grafana-token-file each fault's window is written there")  //
      ("grafana-token-file", po::value<std::string>()->default_value(""),
       "file with a service account's token, read again for each request");
  return grafana;
}

po::options_description Retention() {
  po::options_description retention("Retention of finished runs");
  retention.add_options()  //
      ("retain-age", po::value<std::string>()->default_value(""),
       "drop runs older than this, such as 90d or 12w; default: keep all")  //
      ("retain-runs", po::value<std::string>()->default_value(""),
       "keep at most so many; default: keep all");
  return retention;
}

po::options_description All() {
  po::options_description all;
  all.add(General()).add(Network()).add(Http()).add(Prometheus()).add(Grafana()).add(Retention());
  return all;
}

absl::StatusOr<Nanoseconds> Duration(const po::variables_map& given, const std::string& flag,
                                     Nanoseconds least, Nanoseconds most) {
  const std::string& text = given[flag].as<std::string>();
  const absl::StatusOr<Nanoseconds> duration = ParseDuration(text);
  if (!duration.ok() || *duration < least || *duration > most) {
    return absl::InvalidArgumentError(fmt::format("--{}: found \"{}\"; allowed: {} to {}", flag,
                                                  text, FormatDuration(least),
                                                  FormatDuration(most)));
  }
  return *duration;
}

// program_options throws: its exceptions end here.
absl::StatusOr<po::variables_map> Read(int argc, const char* const* argv) {
  po::variables_map given;
  try {
    const po::options_description all = All();
    po::store(
        po::command_line_parser(argc, argv)
            .options(all)
            .positional({})
            .style(po::command_line_style::default_style & ~po::command_line_style::allow_guessing)
            .run(),
        given);
    if (given.count("config") > 0) {
      const std::string& path = given["config"].as<std::string>();
      std::ifstream file(path);
      if (!file) {
        return absl::InvalidArgumentError(fmt::format("--config: cannot read {}", path));
      }
      try {
        po::store(po::parse_config_file(file, all), given);
      } catch (const po::error& error) {
        return absl::InvalidArgumentError(fmt::format("{}: {}", path, error.what()));
      }
    }
    po::notify(given);
  } catch (const po::error& error) {
    return absl::InvalidArgumentError(error.what());
  }
  return given;
}

absl::Status ReadRetention(const po::variables_map& given, Options& options) {
  if (!given["retain-age"].as<std::string>().empty()) {
    ASSIGN_OR_RETURN(options.retain_age, Duration(given, "retain-age", std::chrono::hours(1),
                                                  std::chrono::hours(24 * 3650)));
  }
  const std::string& runs = given["retain-runs"].as<std::string>();
  if (!runs.empty()) {
    std::uint32_t number = 0;
    if (!absl::SimpleAtoi(runs, &number) || number == 0) {
      return absl::InvalidArgumentError(
          fmt::format("--retain-runs: found \"{}\"; allowed: a number, 1 or more", runs));
    }
    options.retain_runs = number;
  }
  return absl::OkStatus();
}

absl::Status ReadPrometheus(const po::variables_map& given, Options& options) {
  PrometheusOptions prometheus;
  prometheus.url = given["prometheus"].as<std::string>();
  prometheus.ca_file = given["prometheus-ca"].as<std::string>();
  prometheus.certificate_file = given["prometheus-cert"].as<std::string>();
  prometheus.key_file = given["prometheus-key"].as<std::string>();
  prometheus.bearer_token_file = given["prometheus-bearer-file"].as<std::string>();
  prometheus.user = given["prometheus-basic-user"].as<std::string>();
  prometheus.password_file = given["prometheus-basic-password-file"].as<std::string>();
  ASSIGN_OR_RETURN(prometheus.deadline,
                   Duration(given, "prometheus-deadline", std::chrono::milliseconds(100),
                            std::chrono::minutes(1)));
  const auto interval = [&given](const char* flag, std::optional<Nanoseconds>& into) {
    if (given[flag].as<std::string>().empty()) return absl::OkStatus();
    const auto read = Duration(given, flag, std::chrono::milliseconds(10), std::chrono::hours(24));
    if (read.ok()) into = *read;
    return read.status();
  };
  RETURN_IF_ERROR(interval("prometheus-scrape-interval", prometheus.scrape_interval));
  RETURN_IF_ERROR(interval("prometheus-evaluation-interval", prometheus.evaluation_interval));
  if (!prometheus.url.empty()) options.prometheus = prometheus;
  return absl::OkStatus();
}

absl::Status ReadGrafana(const po::variables_map& given, Options& options) {
  GrafanaOptions grafana;
  grafana.url = given["grafana-url"].as<std::string>();
  grafana.token_file = given["grafana-token-file"].as<std::string>();
  if (grafana.url.empty() != grafana.token_file.empty()) {
    return absl::InvalidArgumentError(
        "--grafana-url and --grafana-token-file: each needs the other");
  }
  if (!grafana.url.empty()) options.grafana = grafana;
  return absl::OkStatus();
}

}  // namespace

std::string HelpText() {
  std::ostringstream text;
  text << kBefore << All() << kAfter;
  return text.str();
}

absl::StatusOr<Options> ParseOptions(int argc, const char* const* argv) {
  ASSIGN_OR_RETURN(const po::variables_map given, Read(argc, argv));
  Options options;
  options.help = given.count("help") > 0;
  options.version = given.count("version") > 0;
  if (options.help || options.version) return options;
  options.listen = given["listen"].as<std::vector<std::string>>();
  for (const std::string& address : options.listen) {
    RETURN_IF_ERROR(SplitAddress(address, "listen").status());
  }
  options.http_listen = given["http-listen"].as<std::string>();
  if (!options.http_listen.empty()) {
    RETURN_IF_ERROR(SplitAddress(options.http_listen, "http-listen").status());
  }
  options.http_certificate = given["http-cert"].as<std::string>();
  options.http_key = given["http-key"].as<std::string>();
  options.webhook_token_file = given["webhook-token-file"].as<std::string>();
  options.pager_secret_file = given["pager-secret-file"].as<std::string>();
  options.data = given["data"].as<std::string>();
  options.credentials.ca = given["ca"].as<std::string>();
  options.credentials.cert = given["cert"].as<std::string>();
  options.credentials.key = given["key"].as<std::string>();
  options.credentials.insecure = given["insecure"].as<bool>();
  options.log_level = given["log-level"].as<std::string>();
  if (options.log_level != "debug" && options.log_level != "info" &&
      options.log_level != "warning" && options.log_level != "error") {
    return absl::InvalidArgumentError(fmt::format(
        "--log-level: found \"{}\"; allowed: debug, info, warning or error", options.log_level));
  }
  ASSIGN_OR_RETURN(options.lease,
                   Duration(given, "lease", std::chrono::seconds(3), std::chrono::minutes(5)));
  RETURN_IF_ERROR(ReadPrometheus(given, options));
  RETURN_IF_ERROR(ReadGrafana(given, options));
  RETURN_IF_ERROR(ReadRetention(given, options));
  return options;
}

absl::StatusOr<HostPort> SplitAddress(const std::string& address, const std::string& flag) {
  const std::size_t colon = address.rfind(':');
  HostPort parts;
  if (colon != std::string::npos) {
    parts.host = address.substr(0, colon);
    const bool bracketed =
        parts.host.size() > 2 && parts.host.front() == '[' && parts.host.back() == ']';
    if (bracketed) parts.host = parts.host.substr(1, parts.host.size() - 2);
    const std::string port = address.substr(colon + 1);
    const bool one_colon = bracketed || parts.host.find(':') == std::string::npos;
    if (one_colon && !parts.host.empty() && absl::SimpleAtoi(port, &parts.port) &&
        parts.port >= 0 && parts.port <= 65535) {
      return parts;
    }
  }
  return absl::InvalidArgumentError(fmt::format(
      "--{}: found \"{}\"; allowed: host:port, for example 127.0.0.1:7443 or [::1]:7443", flag,
      address));
}

}  // namespace firedrill::controller
