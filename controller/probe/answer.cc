// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/answer.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/time/time.h"
#include "controller/json/json_reader.h"
#include "proto/support/status_macros.h"

namespace firedrill::controller {
namespace {

using Json = nlohmann::json;

constexpr int kDeepest = 12;              // Prometheus nests seven deep
constexpr std::size_t kQuotedText = 300;  // of a foreign text in a message

// The beginning of a foreign text, made fit for one line.
std::string Quoted(std::string_view text) {
  std::string quoted;
  for (const char c : text.substr(0, kQuotedText)) {
    quoted += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  if (text.size() > kQuotedText) quoted += "…";
  return quoted;
}

absl::Status Malformed(std::string_view what) {
  return absl::DataLossError(fmt::format("this is not an answer of Prometheus' API: {}", what));
}

std::string Text(const Json* value) {
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

absl::Status ErrorOf(const Json& root) {
  const std::string type = Text(Member(root, "errorType"));
  const std::string message =
      fmt::format("Prometheus says {}: {}", Quoted(type), Quoted(Text(Member(root, "error"))));
  if (type == "timeout" || type == "canceled") return absl::DeadlineExceededError(message);
  if (type == "bad_data" || type == "execution") return absl::InvalidArgumentError(message);
  if (type == "not_found") return absl::NotFoundError(message);
  return absl::UnavailableError(message);
}

// The member `data` of a successful answer.
absl::StatusOr<Json> ParseData(std::string_view body, std::vector<std::string>* warnings) {
  if (body.empty()) return Malformed("it is empty");
  const absl::StatusOr<Json> parsed = ParseJson(body, kDeepest);
  if (!parsed.ok()) {
    return Malformed(
        fmt::format("it {}: {}", std::string(parsed.status().message()), Quoted(body)));
  }
  const Json& root = *parsed;
  const std::string status = Text(Member(root, "status"));
  if (status == "error") return ErrorOf(root);
  if (status != "success") return Malformed("it has no status");
  const Json* data = Member(root, "data");
  if (data == nullptr) return Malformed("it has no data");
  const Json* notes = Member(root, "warnings");
  if (warnings != nullptr && notes != nullptr && notes->is_array()) {
    for (const Json& note : *notes) warnings->push_back(Quoted(Text(&note)));
  }
  return *data;
}

absl::StatusOr<PrometheusPoint> PointOf(const Json& pair) {
  if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number() || !pair[1].is_string()) {
    return Malformed("a sample is not [seconds, \"value\"]");
  }
  const double seconds = pair[0].get<double>();
  if (!IsUnixTime(seconds)) return Malformed("a sample's time is out of range");
  const std::string& text = pair[1].get_ref<const std::string&>();
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0') {
    return Malformed(fmt::format("a sample's value is '{}'", Quoted(text)));
  }
  return PrometheusPoint{std::llround(seconds * 1000), value};
}

absl::StatusOr<std::map<std::string, std::string>> LabelsOf(const Json* labels) {
  std::map<std::string, std::string> read;
  if (labels == nullptr || !labels->is_object()) return Malformed("labels are missing");
  for (const auto& [name, value] : labels->items()) {
    if (!value.is_string()) return Malformed("a label is not a text");
    read[name] = value.get<std::string>();
  }
  return read;
}

absl::StatusOr<PrometheusSeries> SeriesOf(const Json& element, bool matrix) {
  PrometheusSeries series;
  ASSIGN_OR_RETURN(series.labels, LabelsOf(Member(element, "metric")));
  const Json* values = Member(element, matrix ? "values" : "value");
  if (values == nullptr || !values->is_array()) return Malformed("a series has no samples");
  if (!matrix) {
    ASSIGN_OR_RETURN(PrometheusPoint point, PointOf(*values));
    series.points.push_back(point);
    return series;
  }
  series.points.reserve(values->size());
  for (const Json& value : *values) {
    ASSIGN_OR_RETURN(PrometheusPoint point, PointOf(value));
    if (!series.points.empty() && series.points.back().at_ms >= point.at_ms) {
      return Malformed("a series' samples are not in the order of time");
    }
    series.points.push_back(point);
  }
  return series;
}

Nanoseconds FromSeconds(const Json* seconds) {
  const double value = seconds != nullptr && seconds->is_number() ? seconds->get<double>() : 0;
  if (!(value > 0) || value > 1e9) return Nanoseconds(0);
  return Nanoseconds(std::llround(value * 1e9));
}

// Of no released Prometheus' API, but of some that answer in its place: seconds, or a duration.
std::optional<Nanoseconds> OffsetOf(const Json* offset) {
  if (offset == nullptr) return std::nullopt;
  return offset->is_string() ? ParsePrometheusDuration(Text(offset)) : FromSeconds(offset);
}

std::optional<std::int64_t> MsOf(const std::string& time) {
  absl::Time parsed;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, time, &parsed, &error)) return std::nullopt;
  const std::int64_t ms = absl::ToUnixMillis(parsed);
  return ms > 0 ? std::optional(ms) : std::nullopt;  // the year 1: not evaluated yet
}

}  // namespace

absl::StatusOr<PrometheusAnswer> ParsePrometheusAnswer(std::string_view body) {
  PrometheusAnswer answer;
  ASSIGN_OR_RETURN(const Json data, ParseData(body, &answer.warnings));
  const std::string type = Text(Member(data, "resultType"));
  const Json* result = Member(data, "result");
  if (result == nullptr || !result->is_array()) return Malformed("it has no result");
  if (type == "scalar") {
    ASSIGN_OR_RETURN(PrometheusPoint point, PointOf(*result));
    answer.series.push_back({{}, {point}});
    return answer;
  }
  if (type != "vector" && type != "matrix") {
    return Malformed(fmt::format("a result of type '{}' is no number", Quoted(type)));
  }
  for (const Json& element : *result) {
    ASSIGN_OR_RETURN(PrometheusSeries series, SeriesOf(element, type == "matrix"));
    answer.series.push_back(std::move(series));
  }
  return answer;
}

absl::StatusOr<std::vector<PrometheusRule>> ParsePrometheusRules(std::string_view body) {
  ASSIGN_OR_RETURN(const Json data, ParseData(body, nullptr));
  const Json* groups = Member(data, "groups");
  if (groups == nullptr || !groups->is_array()) return Malformed("it has no groups of rules");
  std::vector<PrometheusRule> rules;
  for (const Json& group : *groups) {
    const Json* members = Member(group, "rules");
    if (members == nullptr || !members->is_array()) return Malformed("a group has no rules");
    for (const Json& member : *members) {
      const std::string type = Text(Member(member, "type"));
      if (type != "alerting" && type != "recording") continue;
      PrometheusRule rule;
      rule.recording = type == "recording";
      rule.name = Text(Member(member, "name"));
      rule.expression = Text(Member(member, "query"));
      rule.group = Text(Member(group, "name"));
      rule.file = Text(Member(group, "file"));
      const Json* labels = Member(member, "labels");
      if (labels != nullptr && labels->is_object()) {
        ASSIGN_OR_RETURN(rule.labels, LabelsOf(labels));
      }
      rule.pending_for = FromSeconds(Member(member, "duration"));
      rule.keep_firing_for = FromSeconds(Member(member, "keepFiringFor"));
      rule.evaluation_interval = FromSeconds(Member(group, "interval"));
      rule.query_offset = OffsetOf(Member(group, "queryOffset"));
      rule.evaluated_at_ms = MsOf(Text(Member(group, "lastEvaluation")));
      rules.push_back(std::move(rule));
    }
  }
  return rules;
}

absl::StatusOr<std::vector<PrometheusAlert>> ParsePrometheusAlerts(std::string_view body) {
  ASSIGN_OR_RETURN(const Json data, ParseData(body, nullptr));
  const Json* members = Member(data, "alerts");
  if (members == nullptr || !members->is_array()) return Malformed("it has no alerts");
  std::vector<PrometheusAlert> alerts;
  for (const Json& member : *members) {
    PrometheusAlert alert;
    ASSIGN_OR_RETURN(alert.labels, LabelsOf(Member(member, "labels")));
    const auto active_at_ms = MsOf(Text(Member(member, "activeAt")));
    if (!active_at_ms) return Malformed("an alert does not tell since when it is active");
    alert.active_at_ms = *active_at_ms;
    alerts.push_back(std::move(alert));
  }
  return alerts;
}

bool IsUnixTime(double seconds) { return seconds >= 0 && seconds <= 9e9; }  // 2255; no NaN

absl::Status HttpStatusError(int http_status, std::string_view body) {
  if (http_status == 401 || http_status == 403) {
    return absl::PermissionDeniedError(fmt::format(
        "HTTP {}: it wants other credentials (token, user and password, or certificate)",
        http_status));
  }
  if (http_status >= 300 && http_status < 400) {
    return absl::FailedPreconditionError(fmt::format(
        "HTTP {}: it redirects, which is not followed; give the URL it leads to", http_status));
  }
  const absl::StatusOr<Json> root = ParseJson(body, kDeepest);
  if (root.ok() && Text(Member(*root, "status")) == "error") return ErrorOf(*root);
  const std::string message = fmt::format("HTTP {}: {}", http_status, Quoted(body));
  if (http_status == 404) return absl::NotFoundError(message + " (is the URL's path right?)");
  if (http_status >= 500 || http_status == 429) return absl::UnavailableError(message);
  return absl::InvalidArgumentError(message);
}

}  // namespace firedrill::controller
