// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/lib/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

namespace firedrill::bench {
namespace {

std::string Goal(const Figure& figure) {
  if (figure.at_most) return fmt::format("≤ {:.4g}", *figure.at_most);
  if (figure.at_least) return fmt::format("≥ {:.4g}", *figure.at_least);
  return "";
}

std::optional<bool> Met(const Figure& figure) {
  if (figure.at_most) return figure.value <= *figure.at_most;
  if (figure.at_least) return figure.value >= *figure.at_least;
  return std::nullopt;
}

}  // namespace

Report::Report(std::string title) : title_(std::move(title)) {
  fmt::print("\n{}\n{:<52} {:>10} {:<8} {:>10} {:>6}  {:<28} {}\n", title_, "", "firedrill", "",
             "other", "ratio", "than", "goal");
}

void Report::Add(const Figure& figure) {
  const bool ratio = figure.other && *figure.other != 0;
  const std::optional<bool> met = Met(figure);
  fmt::print("{:<52} {:>10.4g} {:<8} {:>10} {:>6}  {:<28} {} {}\n", figure.what, figure.value,
             figure.unit, figure.other ? fmt::format("{:.4g}", *figure.other) : "",
             ratio ? fmt::format("{:.2f}", figure.value / *figure.other) : "", figure.than,
             Goal(figure), met ? (*met ? "met" : "NOT MET") : "");
  std::fflush(stdout);
  const char* path = std::getenv("FIREDRILL_BENCH_OUT");
  if (path == nullptr) return;
  nlohmann::ordered_json json = {
      {"bench", title_}, {"what", figure.what}, {"value", figure.value}, {"unit", figure.unit}};
  if (figure.other) {
    json["than"] = figure.than;
    json["other"] = *figure.other;
  }
  if (ratio) json["ratio"] = figure.value / *figure.other;
  if (met) {
    json["goal"] = Goal(figure);
    json["met"] = *met;
  }
  std::ofstream(path, std::ios::app) << json.dump() << "\n";
}

double Quantile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
  return values[std::min(values.size(), std::max<std::size_t>(rank, 1)) - 1];
}

double Median(std::vector<double> values) { return Quantile(values, 0.5); }

}  // namespace firedrill::bench
