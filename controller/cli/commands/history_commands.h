// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/cli/commands/command.h"
#include "proto/support/clock.h"

// Commands over finished runs, and over a Prometheus' past.
namespace firedrill::cli {

/// Their lines of the table: trend, compare, measure, replay.
std::vector<Command> HistoryCommands();

ExitCode RunTrend(Invocation& invocation);
ExitCode RunCompare(Invocation& invocation);
ExitCode RunMeasure(Invocation& invocation);
ExitCode RunReplay(Invocation& invocation);

}  // namespace firedrill::cli
