// SPDX-License-Identifier: Apache-2.0
// The pictures of trend_view.h.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/time/time.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/trend_view.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

constexpr int kHeight = 8;               // rows of a curve
constexpr int kPointRows = kHeight + 1;  // both ends of the axis have one
constexpr int kAxis = 9;                 // columns left of it: "  59.5s ┤"
constexpr int kLeastWidth = 60;
constexpr int kMostWidth = 72;  // a curve is not clearer for being wider
constexpr int kLeastEvents = 3;

std::string AxisLine(const std::string& label, const std::string& row) {
  std::string line(static_cast<std::size_t>(std::max(0, kAxis - 2 - DisplayWidth(label))), ' ');
  line += label + " ┤" + row;
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

std::string Rule(int width) {
  std::string line(kAxis - 1, ' ');
  line += "└";
  for (int i = 0; i < width; ++i) line += "─";
  return line + "\n";
}

// Two labels below a plot, at its ends.
std::string Ends(const std::string& left, const std::string& right, int width) {
  const int gap = std::max(1, width - DisplayWidth(left) - DisplayWidth(right));
  return std::string(kAxis, ' ') + left + std::string(static_cast<std::size_t>(gap), ' ') + right +
         "\n";
}

std::string Day(const google::protobuf::Timestamp& at) {
  return absl::FormatTime("%Y-%m-%d", absl::FromUnixNanos(FromProto(at).time_since_epoch().count()),
                          absl::LocalTimeZone());
}

// The next round length, of which a half is round too.
double RoundUp(double seconds) {
  for (double unit = 1e-3; unit < 10; unit *= 10) {
    for (const double step : {1.0, 2.0, 5.0}) {
      if (step * unit < 10 && step * unit >= seconds) return step * unit;
    }
  }
  for (const double unit : {1.0, 60.0, 3600.0}) {
    for (const double step : {10.0, 20.0, 30.0, 60.0, 120.0, 300.0}) {
      if (step * unit >= seconds) return step * unit;
    }
  }
  return seconds;
}

std::string SecondsText(double seconds) {
  return FormatDuration(Nanoseconds(std::llround(seconds * 1e9)));
}

const char* MarkOf(const v1::TrendPoint& point) {
  if (point.aborted()) return "×";
  return point.time_to_detect().censored() ? ">" : "●";
}

Colour ColourOfPoint(const v1::TrendPoint& point) {
  if (point.aborted() || !point.has_time_to_detect()) return Colour::kDim;
  return point.time_to_detect().censored() ? Colour::kBad : Colour::kNote;
}

}  // namespace

std::string PointsPlot(const v1::GetTrendResponse& trend, const Style& style, int width) {
  const int room = std::max(10, width - kAxis - 1);
  const int first = std::max(0, trend.points_size() - room);
  double longest = 0;
  for (int i = first; i < trend.points_size(); ++i) {
    if (!trend.points(i).has_time_to_detect()) continue;
    longest = std::max(longest, Seconds(FromProto(trend.points(i).time_to_detect().value())));
  }
  if (longest <= 0) return "";
  const double top = RoundUp(longest);
  const int columns = trend.points_size() - first;
  std::vector<std::vector<std::string>> rows(
      kPointRows, std::vector<std::string>(static_cast<std::size_t>(columns), " "));
  for (int i = first; i < trend.points_size(); ++i) {
    const v1::TrendPoint& point = trend.points(i);
    const auto column = static_cast<std::size_t>(i - first);
    if (!point.has_time_to_detect()) {
      rows[kPointRows - 1][column] = style(ColourOfPoint(point), point.aborted() ? "×" : "?");
      continue;
    }
    const double share = Seconds(FromProto(point.time_to_detect().value())) / top;
    const auto row =
        static_cast<std::size_t>(std::lround((1 - std::clamp(share, 0.0, 1.0)) * (kPointRows - 1)));
    rows[row][column] = style(ColourOfPoint(point), MarkOf(point));
  }
  std::string text = "Time to detect, a column a run";
  text += first > 0 ? fmt::format(" (the newest {} of {})\n", columns, trend.points_size()) : "\n";
  for (int row = 0; row < kPointRows; ++row) {
    std::string line;
    for (const std::string& cell : rows[static_cast<std::size_t>(row)]) line += cell;
    const double value = top * (kPointRows - 1 - row) / (kPointRows - 1);
    text += AxisLine(row % (kHeight / 2) == 0 ? SecondsText(value) : "", line);
  }
  text += Rule(columns);
  const std::string left = Day(trend.points(first).at());
  const std::string right = Day(trend.points(trend.points_size() - 1).at());
  const bool both = columns >= 2 * DisplayWidth(left) + 1 && left != right;
  text += Ends(left, both ? right : "", both ? columns : 0);
  return text +
         style(Colour::kDim,
               "         ● detected   > not within the time watched   × aborted   "
               "? says nothing") +
         "\n";
}

std::string CurvePlot(const v1::Survival& survival, const std::string& title, const Style& style,
                      int width) {
  if (width < kLeastWidth || survival.events() < kLeastEvents) return "";
  const int columns = std::min(kMostWidth, width - kAxis - 1);
  const double end = RoundUp(Seconds(FromProto(survival.curve(survival.curve_size() - 1).at())));
  std::vector<v1::Survival::Step> at;  // of each column's middle
  for (int column = 0; column < columns; ++column) {
    const double seconds = end * (column + 0.5) / columns;
    v1::Survival::Step step;
    step.set_remaining(1);
    step.set_low(1);
    step.set_high(1);
    for (const v1::Survival::Step& other : survival.curve()) {
      if (Seconds(FromProto(other.at())) <= seconds) step = other;
    }
    at.push_back(step);
  }
  std::string text = title + "\n";
  for (int row = 0; row < kHeight; ++row) {
    const double share = 1 - (row + 0.5) / kHeight;
    std::string line;
    for (const v1::Survival::Step& step : at) {
      line += share <= step.low()         ? "█"
              : share <= step.remaining() ? "▓"
              : share <= step.high()      ? "░"
                                          : " ";
    }
    text += AxisLine(row % 2 == 0 ? fmt::format("{} %", 100 - 100 * row / kHeight) : "",
                     style(Colour::kNote, line));
  }
  return text + Rule(columns) + Ends("0s", SecondsText(end), columns);
}

}  // namespace firedrill::cli
