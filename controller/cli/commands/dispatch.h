// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "controller/cli/session/exit_code.h"

namespace firedrill::cli {

struct Context;

/// Runs the command that `argv` (without the program's name) names.
ExitCode Dispatch(Context& context, std::vector<std::string> argv);

/// The whole program, from the process' own streams, terminal and environment to its exit code.
int Main(const std::vector<std::string>& argv);

}  // namespace firedrill::cli
