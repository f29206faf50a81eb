// SPDX-License-Identifier: Apache-2.0
// The part of answer.h that reads Prometheus' configuration, which is YAML inside JSON.
#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <cctype>
#include <nlohmann/json.hpp>
#include <utility>

#include "controller/json/json_reader.h"
#include "controller/probe/answer.h"

namespace firedrill::controller {
namespace {

constexpr int kDeepest = 12;  // of the JSON, in which the configuration is one text
constexpr Nanoseconds kDefaultInterval = std::chrono::minutes(1);  // Prometheus' own
// Of an alert's path. An alias of YAML is short, and may stand for something long many times.
constexpr std::size_t kMostSteps = 100;
constexpr std::size_t kMostEntries = 64;  // of a step, and of its source_labels
constexpr std::size_t kMostPathBytes = 256 << 10;

std::optional<Nanoseconds> DurationOf(const YAML::Node& map, const char* name) {
  if (!map || !map.IsMap()) return std::nullopt;
  const YAML::Node value = map[name];
  if (!value || !value.IsScalar()) return std::nullopt;
  const std::optional<Nanoseconds> read = ParsePrometheusDuration(value.Scalar());
  return read && read->count() > 0 ? read : std::nullopt;
}

// What happens to alerts on their way to Alertmanager, up to where it becomes too much; then the
// path is not known. Throws what yaml-cpp throws.
class AlertPathReader {
 public:
  std::shared_ptr<const AlertPath> Read(const YAML::Node& root) {
    const YAML::Node global = root["global"];
    if (global && global.IsMap()) ReadExternalLabels(global["external_labels"]);
    const YAML::Node alerting = root["alerting"];
    if (alerting && alerting.IsMap()) ReadAlerting(alerting);
    return std::make_shared<const AlertPath>(std::move(path_));
  }

 private:
  // Whether there is room for it.
  bool Take(const YAML::Node& node, std::string& text) {
    if (!node || !node.IsScalar()) return true;
    if (node.Scalar().size() > left_) return path_.known = false;
    left_ -= node.Scalar().size();
    text = node.Scalar();
    return true;
  }

  void ReadExternalLabels(const YAML::Node& external) {
    if (!external || !external.IsMap()) return;
    for (const auto& label : external) {
      if (!label.first.IsScalar() || !label.second.IsScalar()) continue;
      std::string name;
      std::string value;
      if (!Take(label.first, name) || !Take(label.second, value)) return;
      path_.external_labels[name] = value;
    }
  }

  bool ReadSources(const YAML::Node& sources, std::vector<std::string>& names) {
    if (!sources || !sources.IsSequence()) return true;
    if (sources.size() > kMostEntries) return path_.known = false;
    for (const YAML::Node& source : sources) {
      if (!Take(source, names.emplace_back())) return false;
    }
    return true;
  }

  void ReadSteps(const YAML::Node& relabel) {
    if (!relabel || !relabel.IsSequence()) return;
    for (const YAML::Node& yaml : relabel) {
      if (!path_.known) return;
      if (!yaml.IsMap()) continue;
      RelabelStep step;
      if (path_.steps.size() >= kMostSteps || yaml.size() > kMostEntries ||
          !Take(yaml["action"], step.action) ||
          !ReadSources(yaml["source_labels"], step.source_labels) ||
          !Take(yaml["separator"], step.separator) || !Take(yaml["regex"], step.regex) ||
          !Take(yaml["target_label"], step.target_label) ||
          !Take(yaml["replacement"], step.replacement)) {
        path_.known = false;
        return;
      }
      for (char& c : step.action)
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      path_.steps.push_back(Compiled(std::move(step)));
    }
  }

  void ReadAlerting(const YAML::Node& alerting) {
    ReadSteps(alerting["alert_relabel_configs"]);
    const YAML::Node alertmanagers = alerting["alertmanagers"];
    if (!alertmanagers || !alertmanagers.IsSequence()) return;
    // Since Prometheus 2.51 each may have steps of its own, after those of all.
    for (const YAML::Node& one : alertmanagers) {
      if (!one.IsMap() || !one["alert_relabel_configs"]) continue;
      if (alertmanagers.size() == 1) {
        ReadSteps(one["alert_relabel_configs"]);
      } else {
        path_.known = false;
      }
    }
  }

  AlertPath path_;
  std::size_t left_ = kMostPathBytes;
};

bool HasAlertmanagers(const YAML::Node& root) {
  const YAML::Node alerting = root["alerting"];
  if (!alerting || !alerting.IsMap()) return false;
  const YAML::Node alertmanagers = alerting["alertmanagers"];
  return alertmanagers && alertmanagers.IsSequence() && alertmanagers.size() > 0;
}

// Throws what yaml-cpp throws.
PrometheusConfig ReadYaml(const std::string& text) {
  PrometheusConfig config;
  const YAML::Node root = YAML::Load(text);
  const YAML::Node global = root.IsMap() ? root["global"] : YAML::Node();
  config.scrape_interval = DurationOf(global, "scrape_interval").value_or(kDefaultInterval);
  config.evaluation_interval = DurationOf(global, "evaluation_interval").value_or(kDefaultInterval);
  config.rule_query_offset = DurationOf(global, "rule_query_offset").value_or(Nanoseconds(0));
  config.alert_path = std::make_shared<const AlertPath>();
  if (!root.IsMap()) return config;
  config.alert_path = AlertPathReader().Read(root);
  config.has_alertmanagers = HasAlertmanagers(root);
  const YAML::Node jobs = root["scrape_configs"];
  if (!jobs || !jobs.IsSequence()) return config;
  for (const YAML::Node& job : jobs) {
    if (!job.IsMap() || !job["job_name"] || !job["job_name"].IsScalar()) continue;
    config.job_scrape_interval[job["job_name"].Scalar()] =
        DurationOf(job, "scrape_interval").value_or(config.scrape_interval);
  }
  return config;
}

}  // namespace

absl::StatusOr<PrometheusConfig> ParsePrometheusConfig(std::string_view body) {
  const absl::StatusOr<nlohmann::json> parsed = ParseJson(body, kDeepest);
  if (!parsed.ok()) {
    return absl::DataLossError(fmt::format("the answer of /api/v1/status/config {}",
                                           std::string(parsed.status().message())));
  }
  const nlohmann::json& root = *parsed;
  const nlohmann::json::json_pointer where("/data/yaml");
  if (!root.is_object() || !root.contains(where) || !root.at(where).is_string()) {
    return absl::DataLossError("the answer of /api/v1/status/config holds no configuration");
  }
  try {
    return ReadYaml(root.at(where).get<std::string>());
  } catch (const YAML::Exception& error) {
    return absl::DataLossError(
        fmt::format("the configuration that Prometheus tells is no YAML: {}", error.what()));
  }
}

std::optional<Nanoseconds> ParsePrometheusDuration(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::int64_t ms;
  };
  static constexpr Unit kUnits[] = {
      {"ms", 1},         {"s", 1000},        {"m", 60'000},        {"h", 3'600'000},
      {"d", 86'400'000}, {"w", 604'800'000}, {"y", 31'536'000'000}};
  constexpr std::int64_t kMostMs = 100 * 31'536'000'000;
  if (text == "0") return Nanoseconds(0);
  if (text.empty()) return std::nullopt;
  std::int64_t total = 0;
  while (!text.empty()) {
    std::size_t digits = 0;
    std::int64_t number = 0;
    for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
      number = number * 10 + (text[digits] - '0');
      if (number > kMostMs) return std::nullopt;
    }
    if (digits == 0) return std::nullopt;
    text.remove_prefix(digits);
    std::size_t letters = 0;
    while (letters < text.size() && (text[letters] < '0' || text[letters] > '9')) ++letters;
    std::int64_t unit_ms = 0;
    for (const Unit& unit : kUnits) {
      if (text.substr(0, letters) == unit.name) unit_ms = unit.ms;
    }
    if (unit_ms == 0 || number > (kMostMs - total) / unit_ms) return std::nullopt;
    total += number * unit_ms;
    text.remove_prefix(letters);
  }
  return std::chrono::milliseconds(total);
}

}  // namespace firedrill::controller
