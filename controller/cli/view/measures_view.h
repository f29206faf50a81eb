// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "controller/cli/view/style.h"
#include "firedrill/v1/run.pb.h"

// The figures of a run: measures, depth, what makes them doubtful, what could be changed.
namespace firedrill::cli {

/// One figure with what it is of, as the terminal's table and the report's show it.
struct MeasureRow {
  std::string name;  ///< time to detect
  v1::Measure measure;
  std::string of;    ///< The alert or the indicator; may be empty.
  std::string note;  ///< In words; may be empty.
};

/// Every figure that there is, in the order in which things happen. Texts are as they came.
std::vector<MeasureRow> MeasureRows(const v1::Run& run);

/// MEASURE, VALUE, FROM, TO and OF; empty if nothing was measured.
std::string MeasureTable(const v1::Run& run, const Style& style, int width = 0);

/// How deep each indicator fell: floor, baseline, worst, budget, what was lost; empty if nothing is
/// known.
std::string DepthTable(const v1::Run& run, const Style& style, int width = 0);

/// The worst share of its baseline, "95.3 %"; empty if it is not known.
std::string QualityText(const v1::IndicatorResult& indicator);
/// ">= 0.9 held", "… broken", "… unknown"; — without a floor.
std::string FloorText(const v1::IndicatorResult& indicator);
/// "3.4 %"; — if there is no objective.
std::string BudgetText(const v1::IndicatorResult& indicator);

/// What makes the figures doubtful, a paragraph that is not overlooked; empty if nothing does.
std::string CaveatsText(const v1::Run& run, const Style& style, int width = 0);

/// "What could be changed", a paragraph each; empty if there is no advice.
std::string AdviceText(const v1::Run& run, const Style& style, int width = 0);

/// "ShopSlow: …, would gain 3s": one advice on one line, without markup.
std::string AdviceLine(const v1::Advice& advice);

}  // namespace firedrill::cli
