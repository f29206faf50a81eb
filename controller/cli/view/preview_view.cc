// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/preview_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "controller/cli/view/table.h"
#include "controller/cli/view/text_width.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

constexpr const char* kMatched = "_matched";
constexpr int kMostNames = 20;  // of one host, for people

bool IsMatched(const std::string& counter) { return absl::EndsWith(counter, kMatched); }

// Packets first, for they are what is asked for; then by name.
std::vector<std::string> Columns(const PreviewCounts& counts) {
  std::set<std::string> names;
  for (const auto& [host, response] : counts) {
    for (const auto& [name, value] : response.counters()) {
      if (IsMatched(name)) names.insert(name);
    }
  }
  std::vector<std::string> columns(names.begin(), names.end());
  std::stable_partition(columns.begin(), columns.end(),
                        [](const std::string& name) { return name == "packets_matched"; });
  return columns;
}

// A thing that is there has no rate.
bool HasRate(const std::string& counter) { return counter != "processes_matched"; }

std::string Number(double value) {
  return value < 100 ? fmt::format("{:.3g}", value) : fmt::format("{:.0f}", value);
}

}  // namespace

std::string PreviewTable(const PreviewCounts& counts, Nanoseconds counted, const Style& style,
                         int width) {
  const std::vector<std::string> columns = Columns(counts);
  const double seconds = std::max(Seconds(counted), 0.001);
  std::vector<std::string> heading = {"HOST"};
  for (const std::string& column : columns) {
    std::string name(absl::StripSuffix(column, kMatched));
    absl::AsciiStrToUpper(&name);
    heading.push_back(name);
    if (HasRate(column)) heading.push_back(name + "/S");
  }
  heading.emplace_back("");
  Table table(heading);
  std::string names;
  for (const auto& [host, response] : counts) {
    std::vector<std::string> row = {Clean(host)};
    for (const std::string& column : columns) {
      const auto found = response.counters().find(column);
      const bool told = found != response.counters().end();
      row.push_back(told ? Number(found->second) : "—");
      if (HasRate(column)) row.push_back(told ? Number(found->second / seconds) : "—");
    }
    row.push_back(response.error().empty()
                      ? (response.done() || response.counters_size() > 0 ? "" : "counting")
                      : style(Colour::kWarning, Clean(response.error())));
    table.Add(std::move(row));
    for (int i = 0; i < std::min(response.matches_size(), kMostNames); ++i) {
      names += fmt::format("  {}  {}\n", Clean(host), Clean(response.matches(i)));
    }
    if (response.matches_size() > kMostNames) {
      names +=
          fmt::format("  {}  and {} more\n", Clean(host), response.matches_size() - kMostNames);
    }
  }
  return table.Render(style, width) + (names.empty() ? "" : "\n" + names);
}

std::string PreviewJson(const PreviewCounts& counts, Nanoseconds counted) {
  nlohmann::ordered_json hosts = nlohmann::ordered_json::array();
  for (const auto& [host, response] : counts) {
    nlohmann::ordered_json counters = nlohmann::ordered_json::object();
    for (const auto& [name, value] :
         std::map<std::string, double>(response.counters().begin(), response.counters().end())) {
      counters[name] = value;
    }
    hosts.push_back({{"host", host},
                     {"counters", std::move(counters)},
                     {"matches", std::vector<std::string>(response.matches().begin(),
                                                          response.matches().end())},
                     {"error", response.error()}});
  }
  return nlohmann::ordered_json{{"seconds", Seconds(counted)}, {"hosts", std::move(hosts)}}.dump();
}

bool AnythingMatched(const PreviewCounts& counts) {
  for (const auto& [host, response] : counts) {
    for (const auto& [name, value] : response.counters()) {
      if (IsMatched(name) && value > 0) return true;
    }
  }
  return false;
}

}  // namespace firedrill::cli
