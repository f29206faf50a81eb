// SPDX-License-Identifier: Apache-2.0
#include "tests/system/dashboards.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/lib/http_peer.h"

namespace firedrill::test {
namespace {

using Json = nlohmann::json;

std::string Escaped(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      escaped += c;
    } else {
      escaped += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return escaped;
}

void Replace(std::string& text, const std::string& what, const std::string& by) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at)) {
    text.replace(at, what.size(), by);
    at += by.size();
  }
}

std::string LabelsOf(const Json& metric) {
  std::string labels;
  for (const auto& [label, value] : metric.items()) {
    labels += (labels.empty() ? "" : ",") + label + "=" + value.get<std::string>();
  }
  return labels;
}

std::pair<double, double> SampleOf(const Json& sample) {
  return {sample[0].get<double>(), std::stod(sample[1].get<std::string>())};
}

// Says what differs.
void ExpectSeries(const Series& got, const Expected& expected, const std::string& what) {
  for (const auto& [labels, samples] : got) {
    EXPECT_EQ(expected.series.count(labels), 1U) << what << ": {" << labels << "} is too much";
  }
  for (const auto& [labels, wanted] : expected.series) {
    const auto found = got.find(labels);
    if (found == got.end()) {
      ADD_FAILURE() << what << ": {" << labels << "} is missing";
      continue;
    }
    Samples samples = found->second;
    if (expected.last_only) samples = {{wanted.front().first, samples.back().second}};
    EXPECT_EQ(samples.size(), wanted.size()) << what << " {" << labels << "}: samples";
    for (std::size_t i = 0; i < std::min(samples.size(), wanted.size()); ++i) {
      EXPECT_NEAR(samples[i].second, wanted[i].second, expected.tolerance)
          << what << " {" << labels << "}, sample " << i;
      if (wanted[i].first == 0) continue;
      EXPECT_GE(samples[i].first, wanted[i].first) << what << " {" << labels << "} is too early";
      EXPECT_LE(samples[i].first, wanted[i].first + expected.late) << what << " {" << labels << "}";
    }
  }
}

}  // namespace

std::vector<Asked> ReadDashboard(const std::string& name) {
  const char* source = std::getenv("FIREDRILL_SOURCE_DIR");
  const std::string path = fmt::format("{}/controller/grafana/dashboards/{}.json",
                                       source == nullptr ? "." : source, name);
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  const Json dashboard = Json::parse(file);
  std::vector<Asked> all;
  for (const Json& panel : dashboard["panels"]) {
    for (const Json& target : panel.value("targets", Json::array())) {
      all.push_back({panel["title"], target["refId"], target["expr"], target["instant"]});
    }
  }
  for (const Json& annotation : dashboard["annotations"]["list"]) {
    if (!annotation.contains("expr")) continue;  // Grafana's own
    all.push_back(
        {"annotation: " + annotation["name"].get<std::string>(), "A", annotation["expr"], false});
  }
  return all;
}

Series Ask(const Prometheus& prometheus, const Asked& asked, const View& view) {
  std::string expression = asked.expression;
  Replace(expression, "$__interval_ms", std::to_string(view.step * 1000));
  Replace(expression, "$__interval", fmt::format("{}s", view.step));
  Replace(expression, "$__range", fmt::format("{}s", std::lround(view.to - view.from)));
  Replace(expression, "$experiment", ".*");
  Replace(expression, "$fault", ".*");
  EXPECT_EQ(expression.find('$'), std::string::npos) << expression;
  const std::string query =
      asked.instant
          ? fmt::format("/api/v1/query?query={}&time={:.3f}", Escaped(expression), view.to)
          : fmt::format("/api/v1/query_range?query={}&start={:.3f}&end={:.3f}&step={}",
                        Escaped(expression), view.from, view.to, view.step);
  // By HTTP/1.0, for long answers come in chunks otherwise.
  auto body = Exchange(prometheus.port(), fmt::format("GET {} HTTP/1.0\r\n\r\n", query));
  if (body.ok()) body = BodyOf(*body);
  EXPECT_TRUE(body.ok()) << body.status();
  const Json answer = Json::parse(body.ok() ? *body : "{}", nullptr, false);
  Series series;
  if (answer.is_discarded() || answer.value("status", "") != "success") {
    ADD_FAILURE() << asked.title << ": " << expression << "\n" << (body.ok() ? *body : "");
    return series;
  }
  const Json& data = answer["data"];
  if (data["resultType"] == "scalar") return {{"", {SampleOf(data["result"])}}};
  for (const Json& one : data["result"]) {
    Samples& samples = series[LabelsOf(one["metric"])];
    if (one.contains("value")) samples.push_back(SampleOf(one["value"]));
    for (const Json& sample : one.value("values", Json::array())) {
      samples.push_back(SampleOf(sample));
    }
  }
  return series;
}

Expected Number(double value, double tolerance) { return Numbers({{"", value}}, tolerance); }

Expected Numbers(const std::map<std::string, double>& values, double tolerance) {
  Expected expected;
  expected.tolerance = tolerance;
  for (const auto& [labels, value] : values) expected.series[labels] = {{0, value}};
  return expected;
}

void ExpectDashboard(const Prometheus& prometheus, const std::string& name, const View& view,
                     const Expectations& expectations) {
  Json kept = Json::object();
  std::set<std::string> met;
  for (const Asked& asked : ReadDashboard(name)) {
    const std::string with_ref = asked.title + "/" + asked.ref;
    const std::string key = expectations.count(with_ref) > 0 ? with_ref : asked.title;
    met.insert(key);
    const auto expected = expectations.find(key);
    if (expected == expectations.end()) {
      ADD_FAILURE() << name << ": nobody knows what \"" << with_ref << "\" must show";
      continue;
    }
    const View& shown = expected->second.view.to > 0 ? expected->second.view : view;
    const Series series = Ask(prometheus, asked, shown);
    ExpectSeries(series, expected->second, name + ", \"" + with_ref + "\"");
    kept["answers"][asked.title][asked.ref] = series;
  }
  for (const auto& [key, expected] : expectations) {
    EXPECT_EQ(met.count(key), 1U) << name << " has no \"" << key << "\"";
  }
  const char* folder = std::getenv("FIREDRILL_DASHBOARD_ANSWERS");
  if (folder == nullptr) return;
  kept["from"] = view.from;
  kept["to"] = view.to;
  std::ofstream(fmt::format("{}/{}.json", folder, name)) << kept.dump(1);
}

}  // namespace firedrill::test
