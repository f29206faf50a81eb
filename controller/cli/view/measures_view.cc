// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/measures_view.h"

#include <fmt/format.h>

#include "controller/cli/view/responders.h"
#include "controller/cli/view/table.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/words.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

constexpr int kDefaultWidth = 100;

std::string SaidBy(const v1::Run& run, v1::MarkKind kind) {
  const v1::Mark* first = FirstMark(run, kind);
  return first == nullptr ? "" : first->detail();
}

std::string Number(double value) { return fmt::format("{:.4g}", value); }

std::string Paragraph(const std::string& text, int width) {
  return WrapHanging("  " + text, width > 0 ? width : kDefaultWidth, "    ") + "\n";
}

}  // namespace

std::vector<MeasureRow> MeasureRows(const v1::Run& run) {
  std::vector<MeasureRow> rows;
  const auto add = [&rows](const char* name, const v1::Measure& measure, const std::string& of,
                           const std::string& note) {
    if (measure.has_value()) rows.push_back({name, measure, of, note});
  };
  for (const v1::IndicatorResult& indicator : run.indicators()) {
    add("time to breach", indicator.time_to_breach(), indicator.indicator().name(), "");
  }
  for (const v1::AlertResult& alert : run.alerts()) {
    add("time to detect", alert.time_to_detect(), alert.expected().alert(), alert.explanation());
    add("time to notify", alert.time_to_notify(), alert.expected().alert(), "");
  }
  add("time to acknowledge", run.time_to_acknowledge(), run.time_to_acknowledge().subject(),
      SaidBy(run, v1::MARK_KIND_ACKNOWLEDGED));
  add("time to mitigate", run.time_to_mitigate(), run.time_to_mitigate().subject(),
      SaidBy(run, v1::MARK_KIND_MITIGATED));
  for (const v1::IndicatorResult& indicator : run.indicators()) {
    add("time to recover", indicator.time_to_recover(), indicator.indicator().name(),
        indicator.explanation());
    add("time to recover", indicator.time_to_recover_from_end(), indicator.indicator().name(), "");
  }
  return rows;
}

std::string MeasureTable(const v1::Run& run, const Style& style, int width) {
  // What people noted stands in the timeline, the rest in the tables of alerts and indicators.
  Table table({"MEASURE", "VALUE", "FROM", "TO", "OF"});
  for (const MeasureRow& row : MeasureRows(run)) {
    table.Add({row.name,
               style(row.measure.censored() ? Colour::kWarning : Colour::kPlain,
                     MeasureWithError(row.measure)),
               Word(row.measure.from()), Word(row.measure.to()), Clean(row.of)});
  }
  return table.empty() ? "" : "\n" + table.Render(style, width);
}

std::string QualityText(const v1::IndicatorResult& indicator) {
  if (!indicator.has_lowest_quality()) return "";
  return fmt::format("{:.3g} %", indicator.lowest_quality() * 100);
}

std::string FloorText(const v1::IndicatorResult& indicator) {
  if (!indicator.indicator().has_degraded()) return "—";
  return FormatComparison(indicator.indicator().degraded()) +
         (!indicator.has_floor_held() ? " unknown"
          : indicator.floor_held()    ? " held"
                                      : " broken");
}

std::string BudgetText(const v1::IndicatorResult& indicator) {
  if (!indicator.has_budget_burned()) return "—";
  return fmt::format("{:.3g} %", indicator.budget_burned() * 100);
}

std::string DepthTable(const v1::Run& run, const Style& style, int width) {
  Table table({"INDICATOR", "FLOOR", "BASELINE", "WORST", "ERROR BUDGET", "FULL SERVICE LOST"});
  for (const v1::IndicatorResult& indicator : run.indicators()) {
    if (!indicator.has_lowest() && !indicator.indicator().has_degraded()) continue;
    std::string worst = indicator.has_lowest() ? Number(indicator.lowest()) : "—";
    if (const std::string quality = QualityText(indicator); !quality.empty()) {
      worst += " (" + quality + ")";
    }
    const bool broken = indicator.has_floor_held() && !indicator.floor_held();
    table.Add({Clean(indicator.indicator().name()),
               style(broken ? Colour::kBad : Colour::kPlain, FloorText(indicator)),
               indicator.has_baseline() ? Number(indicator.baseline()) : "—", worst,
               BudgetText(indicator),
               indicator.has_lost() ? FormatDuration(FromProto(indicator.lost())) : "—"});
  }
  return table.empty() ? "" : "\n" + table.Render(style, width);
}

std::string CaveatsText(const v1::Run& run, const Style& style, int width) {
  if (run.caveats().empty()) return "";
  std::string text =
      style(Colour::kWarning, "Doubtful: what follows is less certain than its ±") + "\n";
  for (const std::string& caveat : run.caveats()) {
    text += style(Colour::kWarning, Paragraph("! " + Clean(caveat), width));
  }
  return text;
}

std::string AdviceLine(const v1::Advice& advice) {
  std::string text = advice.subject().empty() ? "" : advice.subject() + ": ";
  text += advice.message();
  if (advice.has_gain() && FromProto(advice.gain()) > Nanoseconds(0)) {
    text += fmt::format(" (gain: about {})", FormatDuration(FromProto(advice.gain())));
  }
  return text;
}

std::string AdviceText(const v1::Run& run, const Style& style, int width) {
  if (run.advice().empty()) return "";
  std::string text = "\n" + style(Colour::kBold, "What could be changed") + "\n";
  for (const v1::Advice& advice : run.advice()) {
    text += Paragraph("- " + Clean(AdviceLine(advice)), width);
  }
  return text;
}

}  // namespace firedrill::cli
