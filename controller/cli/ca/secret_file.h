// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace firedrill::cli {

/// Writes a file that is either there whole, with exactly this mode, or as it was before: to a
/// temporary file beside it, synced, then renamed. ALREADY_EXISTS unless `replace`.
absl::Status WriteWhole(const std::string& path, std::string_view bytes, mode_t mode, bool replace);

/// Makes the directory and its parents, the last one with mode 0700.
absl::Status MakeDirectory(const std::string& path);

}  // namespace firedrill::cli
