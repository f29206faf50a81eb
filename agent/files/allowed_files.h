// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

// Files that a host's owner has allowed to be edited (--allow-file).
namespace firedrill::agent {

/// OK for an absolute path without . and .. in it, in which * stands for anything but a slash.
absl::Status CheckFilePattern(std::string_view pattern);

/// Whether the whole path is as the pattern says.
bool MatchesFilePattern(std::string_view pattern, std::string_view path);

/// OK if `path` is allowed by one of `patterns`, and is what it looks like: a symbolic link, or a
/// path through one, is refused, so that nobody leads us to another file. PERMISSION_DENIED says
/// what to do; NOT_FOUND if there is no such file.
absl::Status CheckFileAllowed(const std::vector<std::string>& patterns, const std::string& path);

}  // namespace firedrill::agent
