// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "controller/cli/commands/command.h"
#include "controller/cli/view/style.h"

namespace firedrill::cli {

/// All commands with their summaries, the common options, the exit codes.
std::string GeneralHelp(const Style& style);

/// One command: usage, options (with those that `words` bring), examples.
std::string CommandHelp(const Command& command, const std::vector<std::string>& words,
                        const Style& style);

}  // namespace firedrill::cli
