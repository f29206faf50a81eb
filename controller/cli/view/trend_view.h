// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "controller/cli/view/style.h"
#include "firedrill/v1/operator.pb.h"

namespace firedrill::cli {

/// "detected in 9 of 12 runs (75 %, 47–91 %); median 22s (18s–31s), p90 over the longest watch".
/// `happened`: detected. Without runs: "no run says".
std::string SurvivalText(const v1::Survival& survival, const std::string& happened);

/// Times to detect, a column a run, the newest on the right: ● detected, > not within the time
/// watched, × aborted, ? says nothing. The newest that `width` has room for. Empty: no run has a
/// time.
std::string PointsPlot(const v1::GetTrendResponse& trend, const Style& style, int width);

/// The share of runs in which it had not happened yet, over time: █ below its 95 % interval, ▓ up
/// to the estimate, ░ up to the interval's upper end. Empty with fewer than three events, or where
/// `width` is under 60.
std::string CurvePlot(const v1::Survival& survival, const std::string& title, const Style& style,
                      int width);

/// Everything for a terminal: words, plots, and the points as a table, the newest 20 at the end.
/// `width` 0: as if 100 columns.
std::string TrendText(const v1::GetTrendResponse& trend, const Style& style, int width);

/// What another `for` would have gained and cost.
std::string ReplayText(const v1::ReplayRuleResponse& response, const Style& style, int width);

}  // namespace firedrill::cli
