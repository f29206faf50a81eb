// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "controller/cli/commands/arguments.h"
#include "controller/cli/commands/command.h"
#include "firedrill/v1/operator.pb.h"

// Which hosts, as options of inject and preview say it.
namespace firedrill::cli {

/// --target, --host and --target-pick.
std::vector<Option> TargetOptions();

/// Sets in `target` what the options say. INVALID_ARGUMENT names the one that cannot be read.
absl::Status SetTarget(const Arguments& arguments, v1::Target* target);

/// Adds what `option` was given, a label and its value such as `example`, to those of `target`.
absl::Status SetLabel(const std::string& option, const std::string& given,
                      const std::string& example, v1::Target* target);

/// Whether the agent is one that the target means.
bool Matches(const v1::Target& target, const v1::Agent& agent);

}  // namespace firedrill::cli
