// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace firedrill::cli {

/// What a shell evaluates so that Tab works: a small script that asks `firedrill __complete`.
/// INVALID_ARGUMENT for another shell than bash, zsh or fish.
absl::StatusOr<std::string> CompletionScript(const std::string& shell);

/// What may stand where the last of `words` (the one being typed, maybe empty) stands: one a line,
/// with its meaning after a tab. ":files" asks the shell for files.
std::string Complete(const std::vector<std::string>& words);

}  // namespace firedrill::cli
