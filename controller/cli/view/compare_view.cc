// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/compare_view.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "controller/cli/view/table.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/words.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string OrDash(const std::string& text) { return text.empty() ? "—" : Clean(text); }

std::string Signed(Nanoseconds duration) {
  return (duration.count() > 0 ? "+" : "") + FormatDuration(duration);
}

const char* DifferenceName(Difference difference) {
  switch (difference) {
    case Difference::kUnknown:
      return "unknown";
    case Difference::kWithinError:
      return "within_uncertainty";
    case Difference::kWithinPhase:
      return "within_phase";
    case Difference::kBeyondError:
      return "beyond_uncertainty";
    case Difference::kAtLeast:
      return "at_least";
  }
  return "";
}

// In words: whether the second is longer, and whether that may be chance of measuring alone.
std::string Saying(const ComparedMeasure& measure, const Style& style) {
  const bool longer = measure.by.count() > 0;
  const auto coloured = [&](const std::string& text) {
    return style(longer ? Colour::kWarning : Colour::kGood, text);
  };
  switch (measure.difference) {
    case Difference::kUnknown:
      return measure.first && measure.second ? "not known: censored" : "only one has it";
    case Difference::kWithinError:
      return "no difference beyond the ±";
    case Difference::kWithinPhase:
      return measure.of_alert ? "within one scrape and evaluation" : "within one scrape";
    case Difference::kBeyondError:
      return coloured(longer ? "longer, beyond both ±" : "shorter, beyond both ±");
    case Difference::kAtLeast:
      return coloured(longer ? "longer by at least that" : "shorter by at least that");
  }
  return "";
}

std::string MeasureCell(const std::optional<v1::Measure>& measure) {
  return measure ? MeasureWithError(*measure) : "—";
}

std::string StageCell(const std::optional<Nanoseconds>& stage) {
  return stage ? FormatDuration(*stage) : "—";
}

std::string Section(const std::string& table) { return table.empty() ? "" : "\n" + table; }

Json SecondsOf(const std::optional<v1::Measure>& measure) {
  if (!measure) return nullptr;
  return {{"seconds", Seconds(FromProto(measure->value()))},
          {"censored", measure->censored()},
          {"uncertainty_seconds", Seconds(FromProto(measure->uncertainty()))}};
}

Json ChangesJson(const std::vector<Change>& changes, const char* name) {
  Json all = Json::array();
  for (const Change& change : changes) {
    all.push_back({{name, change.field}, {"first", change.first}, {"second", change.second}});
  }
  return all;
}

}  // namespace

std::string CompareText(const v1::Run& first, const v1::Run& second, const Style& style,
                        int width) {
  const RunComparison comparison = Compare(first, second);
  Table head({"", Clean(first.id()), Clean(second.id())});
  head.Add({"experiment", OrDash(first.experiment().name()), OrDash(second.experiment().name())});
  head.Add({"started", DateText(first.created_at()), DateText(second.created_at())});
  for (const Change& outcome : comparison.outcomes) {
    const bool same = outcome.first == outcome.second;
    head.Add({Clean(outcome.field), OrDash(outcome.first),
              style(same ? Colour::kPlain : Colour::kBold, OrDash(outcome.second))});
  }
  std::string text = head.Render(style, width);

  Table measures({"MEASURE", "OF", "FIRST", "SECOND", "DIFFERENCE", ""});
  for (const ComparedMeasure& measure : comparison.measures) {
    const bool known = measure.difference != Difference::kUnknown;
    measures.Add({measure.name, OrDash(measure.subject), MeasureCell(measure.first),
                  MeasureCell(measure.second), known ? Signed(measure.by) : "—",
                  Saying(measure, style)});
  }
  if (!measures.empty()) text += Section(measures.Render(style, width));

  Table stages({"STAGE", "OF", "FIRST", "SECOND", "DIFFERENCE"});
  for (const ComparedStage& stage : comparison.stages) {
    stages.Add({stage.stage, OrDash(stage.alert), StageCell(stage.first), StageCell(stage.second),
                stage.first && stage.second ? Signed(*stage.second - *stage.first) : "—"});
  }
  if (!stages.empty()) text += Section(stages.Render(style, width));

  Table changes({"WHAT DIFFERED", "FIRST", "SECOND"});
  for (const Change& change : comparison.changes) {
    changes.Add(
        {Clean(change.field), OrDash(OneLine(change.first)), OrDash(OneLine(change.second))});
  }
  if (changes.empty()) {
    return text +
           "\nNothing differed in the experiment, nor in the rules and routes as far as both "
           "runs hold them.\n";
  }
  return text + Section(changes.Render(style, width));
}

std::string CompareJson(const v1::Run& first, const v1::Run& second) {
  const RunComparison comparison = Compare(first, second);
  Json measures = Json::array();
  for (const ComparedMeasure& measure : comparison.measures) {
    const bool known = measure.difference != Difference::kUnknown;
    measures.push_back({{"name", measure.name},
                        {"of", measure.subject},
                        {"first", SecondsOf(measure.first)},
                        {"second", SecondsOf(measure.second)},
                        {"difference", DifferenceName(measure.difference)},
                        {"difference_seconds", known ? Json(Seconds(measure.by)) : Json(nullptr)}});
  }
  Json stages = Json::array();
  const auto seconds = [](const std::optional<Nanoseconds>& stage) {
    return stage ? Json(Seconds(*stage)) : Json(nullptr);
  };
  for (const ComparedStage& stage : comparison.stages) {
    stages.push_back({{"alert", stage.alert},
                      {"stage", stage.stage},
                      {"first_seconds", seconds(stage.first)},
                      {"second_seconds", seconds(stage.second)}});
  }
  const Json all = {{"runs", {first.id(), second.id()}},
                    {"outcomes", ChangesJson(comparison.outcomes, "name")},
                    {"measures", measures},
                    {"stages", stages},
                    {"changes", ChangesJson(comparison.changes, "field")}};
  return all.dump();
}

}  // namespace firedrill::cli
