// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "controller/cli/view/style.h"
#include "firedrill/v1/run.pb.h"

namespace firedrill::cli {

/// One mark on one line: when, after the first impact, what, where, from whom and how exactly.
std::string MarkLine(const v1::Run& run, const v1::Mark& mark, const Style& style);

/// The run's timeline, one mark a line, in the order of their instants.
std::string Timeline(const v1::Run& run, const Style& style);

/// The closing words: verdict with its reasons, times to detect and to recover, faults whose end is
/// not proven.
std::string Summary(const v1::Run& run, const Style& style);

/// Everything of a run for a terminal: head, what makes the figures doubtful, timeline, injections,
/// alerts, indicators, measures, waterfalls, depth, advice, summary. `width`: of the terminal; 0:
/// lines may be as long as they are.
std::string DescribeRun(const v1::Run& run, const Style& style, int width = 0);

/// A row for each run.
std::string RunTable(const std::vector<v1::Run>& runs, const Style& style, int width);

}  // namespace firedrill::cli
