// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/waterfall.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "controller/cli/view/text_width.h"
#include "controller/cli/view/words.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

constexpr int kDefaultWidth = 100;
constexpr int kNarrowestBar = 12;
constexpr int kWidestBar = 60;
constexpr int kBeforeBar = 2 + 10 + 2 + 9 + 2;  // margin, name, time

bool AfterFiring(v1::StageKind kind) {
  return kind == v1::STAGE_KIND_GROUPING || kind == v1::STAGE_KIND_DELIVERY;
}

// What is configured can be changed; the rest is the system's own, or a fault of the monitoring.
Colour ColourOf(v1::StageKind kind) {
  switch (kind) {
    case v1::STAGE_KIND_CONDITION:
    case v1::STAGE_KIND_DELIVERY:
      return Colour::kPlain;
    case v1::STAGE_KIND_DELAY:
      return Colour::kBad;
    case v1::STAGE_KIND_FOR:
    case v1::STAGE_KIND_ROUNDING:
      return Colour::kWarning;
    case v1::STAGE_KIND_UNSPECIFIED:
    case v1::STAGE_KIND_SCRAPE:
    case v1::STAGE_KIND_EVALUATION:
    case v1::STAGE_KIND_GROUPING:
    case v1::StageKind_INT_MIN_SENTINEL_DO_NOT_USE_:
    case v1::StageKind_INT_MAX_SENTINEL_DO_NOT_USE_:
      break;
  }
  return Colour::kNote;
}

// To the millisecond, so that what is read adds up.
std::string Exactly(Nanoseconds time) {
  return time < std::chrono::minutes(10) ? fmt::format("{:.3f}s", Seconds(time))
                                         : FormatDuration(time);
}

std::string Spaces(int count) {
  return std::string(static_cast<std::size_t>(std::max(0, count)), ' ');
}

// From column `from` to column `to` of `width`; a stage too short for a column is a thin line.
std::string Bar(int from, int to, int width) {
  if (to <= from) {
    const int at = std::min(from, width - 1);
    return Spaces(at) + "▏" + Spaces(width - at - 1);
  }
  std::string text = Spaces(from);
  for (int i = from; i < to; ++i) text += "█";
  return text + Spaces(width - to);
}

std::string Head(const v1::AlertResult& alert, const Style& style) {
  std::string text = fmt::format("{}: fired {} after the first impact",
                                 style(Colour::kBold, Clean(alert.expected().alert())),
                                 MeasureWithError(alert.time_to_detect()));
  if (alert.has_time_to_notify()) {
    text += ", notified after " + MeasureWithError(alert.time_to_notify());
  }
  return text + "\n";
}

}  // namespace

std::string StagesText(const v1::AlertResult& alert) {
  std::string text;
  for (const v1::Stage& stage : alert.stages()) {
    if (AfterFiring(stage.kind())) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ",
                        FormatDuration(FromProto(stage.value())), Word(stage.kind()));
  }
  return text;
}

std::string Waterfall(const v1::AlertResult& alert, const Style& style, int width) {
  if (alert.stages().empty()) return "";
  if (width <= 0) width = kDefaultWidth;
  Nanoseconds total{0};
  int settings = 0;
  for (const v1::Stage& stage : alert.stages()) {
    total += FromProto(stage.value());
    settings = std::max(settings, DisplayWidth(Clean(stage.setting())));
  }
  const int bar = std::clamp(width - kBeforeBar - 2 - settings, kNarrowestBar, kWidestBar);
  const auto column = [&](Nanoseconds at) {
    return total.count() <= 0 ? 0 : static_cast<int>(Seconds(at) / Seconds(total) * bar + 0.5);
  };
  std::string text = Head(alert, style);
  std::string words;
  Nanoseconds at{0};
  for (const v1::Stage& stage : alert.stages()) {
    const Nanoseconds end = at + FromProto(stage.value());
    std::string line = fmt::format("  {:<10}  {:>9}  {}  {}", Word(stage.kind()), Exactly(end - at),
                                   style(ColourOf(stage.kind()), Bar(column(at), column(end), bar)),
                                   Clean(stage.setting()));
    line.erase(line.find_last_not_of(' ') + 1);
    text += Fit(line, width) + "\n";
    at = end;
    if (stage.explanation().empty()) continue;
    const std::string why =
        fmt::format("  {:<10}  {}", Word(stage.kind()), Clean(stage.explanation()));
    words += style(Colour::kDim, WrapHanging(why, width, "              ")) + "\n";
  }
  return text + words;
}

std::string Waterfalls(const v1::Run& run, const Style& style, int width) {
  std::string text;
  for (const v1::AlertResult& alert : run.alerts()) {
    const std::string picture = Waterfall(alert, style, width);
    if (!picture.empty()) text += "\n" + picture;
  }
  return text;
}

}  // namespace firedrill::cli
