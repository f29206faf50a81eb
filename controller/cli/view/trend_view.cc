// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/trend_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "controller/cli/view/table.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/words.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

constexpr int kUsualWidth = 100;
constexpr int kListed = 20;

std::string Percent(double share) { return fmt::format("{:.0f}", 100 * share); }

std::string Text(const google::protobuf::Duration& duration) {
  return FormatDuration(FromProto(duration));
}

// "22s (18s–31s)"
std::string QuantileText(const v1::Quantile& quantile) {
  if (!quantile.has_value()) {
    return quantile.has_low() ? "not reached (" + Text(quantile.low()) + " or more)"
                              : "not reached";
  }
  std::string text = Text(quantile.value());
  if (quantile.has_low() && quantile.has_high()) {
    text += " (" + Text(quantile.low()) + "–" + Text(quantile.high()) + ")";
  } else if (quantile.has_low()) {
    text += " (" + Text(quantile.low()) + " or more)";
  } else if (quantile.has_high()) {
    text += " (up to " + Text(quantile.high()) + ")";
  }
  return text;
}

std::string QuantileName(double probability) {
  return probability == 0.5 ? "median" : fmt::format("p{:.0f}", 100 * probability);
}

// What is among the points but not in the estimate: "1 aborted, 2 already firing".
std::string NotCounted(const v1::GetTrendResponse& trend, bool detection) {
  std::map<std::string, int> reasons;
  for (const v1::TrendPoint& point : trend.points()) {
    if (point.aborted()) {
      ++reasons["aborted"];
    } else if (detection && !point.has_time_to_detect()) {
      ++reasons[point.detection() == v1::DETECTION_OUTCOME_UNSPECIFIED ? "without an alert expected"
                                                                       : Word(point.detection())];
    } else if (!detection && !point.has_time_to_recover()) {
      ++reasons[point.recovery() == v1::RECOVERY_OUTCOME_UNSPECIFIED ? "without an indicator"
                                                                     : Word(point.recovery())];
    }
  }
  std::string text;
  for (const auto& [reason, count] : reasons) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, reason);
  }
  return text;
}

std::string Paragraph(const std::string& name, const std::string& text, const Style& style,
                      int width) {
  return style(Colour::kBold, name) + std::string(11 - name.size(), ' ') +
         Wrap(text, std::max(30, width - 11), "           ") + "\n";
}

std::string DateOf(const google::protobuf::Timestamp& at) { return DateText(at).substr(0, 16); }

std::string PointsTable(const v1::GetTrendResponse& trend, const Style& style, int width) {
  const int first = std::max(0, trend.points_size() - kListed);
  // What is the same in every row would only push the rest off the screen.
  const auto all_same = [&](const auto& of) {
    return std::all_of(trend.points().begin(), trend.points().end(),
                       [&](const auto& point) { return of(point) == of(trend.points(0)); });
  };
  const bool one_name = all_same([](const auto& point) { return point.experiment(); });
  const bool one_fault = all_same([](const auto& point) { return point.fault(); });
  std::vector<std::string> heading = {"RUN", "STARTED"};
  if (!one_name) heading.emplace_back("EXPERIMENT");
  if (!one_fault) heading.emplace_back("FAULT");
  for (const char* name :
       {"VERDICT", "DETECTED AFTER", "DETECTION", "RECOVERED AFTER", "RECOVERY"}) {
    heading.emplace_back(name);
  }
  Table table(std::move(heading));
  for (int i = first; i < trend.points_size(); ++i) {
    const v1::TrendPoint& point = trend.points(i);
    std::vector<std::string> row = {Clean(point.run_id()), DateOf(point.at())};
    if (!one_name) row.push_back(Clean(point.experiment()));
    if (!one_fault) row.push_back(Clean(point.fault()));
    row.push_back(style(ColourOf(point.verdict()), Word(point.verdict())));
    row.push_back(MeasureText(point.time_to_detect()));
    row.push_back(Word(point.detection()));
    row.push_back(MeasureText(point.time_to_recover()));
    row.push_back(Word(point.recovery()));
    table.Add(std::move(row));
  }
  std::string text = table.Render(style, width);
  if (first > 0) {
    text += fmt::format("{} older ones are not listed; -o json has them all\n", first);
  }
  return text;
}

}  // namespace

std::string SurvivalText(const v1::Survival& survival, const std::string& happened) {
  if (survival.runs() == 0) return "no run says";
  std::string text =
      fmt::format("{} in {} of {} run{} ({} %, {}–{} %)", happened, survival.events(),
                  survival.runs(), survival.runs() == 1 ? "" : "s", Percent(survival.rate()),
                  Percent(survival.rate_low()), Percent(survival.rate_high()));
  const char* separator = "; ";
  for (const v1::Quantile& quantile : survival.quantiles()) {
    text += fmt::format("{}{} {}", separator, QuantileName(quantile.probability()),
                        QuantileText(quantile));
    separator = ", ";
  }
  return text;
}

std::string TrendText(const v1::GetTrendResponse& trend, const Style& style, int width) {
  const int room = width > 0 ? width : kUsualWidth;
  std::string text;
  for (const bool detection : {true, false}) {
    const v1::Survival& survival = detection ? trend.detection() : trend.recovery();
    std::string words = SurvivalText(survival, detection ? "detected" : "recovered");
    const std::string left_out = NotCounted(trend, detection);
    if (!left_out.empty()) words += "; not counted: " + left_out;
    text += Paragraph(detection ? "Detection" : "Recovery", words, style, room);
  }
  text += style(Colour::kDim, "           in brackets: 95 % intervals") + "\n";
  for (const std::string& plot :
       {PointsPlot(trend, style, room),
        CurvePlot(trend.detection(), "Share of runs not detected yet, by time after the impact",
                  style, room),
        CurvePlot(trend.recovery(), "Share of runs not recovered yet, by time after the impact",
                  style, room),
        PointsTable(trend, style, width)}) {
    if (!plot.empty()) text += "\n" + plot;
  }
  return text;
}

std::string ReplayText(const v1::ReplayRuleResponse& response, const Style& style, int width) {
  const v1::AlertRule& rule = response.rule();
  std::string text = fmt::format("{}: {}\n", style(Colour::kBold, Clean(response.alert())),
                                 Clean(OneLine(rule.expression())));
  text += fmt::format("for {}, evaluated every {}; replayed from {} to {}\n\n",
                      Text(rule.pending_for()), Text(rule.evaluation_interval()),
                      DateOf(response.from()), DateOf(response.to()));
  Table table({"FOR", "DETECTED AFTER", "GAIN", "PAGES", "MORE PAGES"});
  for (int i = 0; i < response.replayed_size(); ++i) {
    const v1::ReplayedFor& row = response.replayed(i);
    const int more = static_cast<int>(row.pages()) - static_cast<int>(response.replayed(0).pages());
    table.Add({Text(row.pending_for()) + (i == 0 ? " (as it is)" : ""),
               row.has_time_to_detect() ? Text(row.time_to_detect()) : "not",
               i == 0           ? "—"
               : row.has_gain() ? Text(row.gain())
               : row.has_time_to_detect() && !response.replayed(0).has_time_to_detect()
                   ? "it would have fired"
                   : "—",
               std::to_string(row.pages()), i == 0 ? "—" : fmt::format("{:+}", more)});
  }
  text += table.Render(style, width);
  for (const std::string& caveat : response.caveats()) {
    text += "\n" + style(Colour::kWarning, "caveat") + "  " +
            Wrap(Clean(caveat), (width > 0 ? width : kUsualWidth) - 8, "        ");
  }
  return text + (response.caveats_size() > 0 ? "\n" : "");
}

}  // namespace firedrill::cli
