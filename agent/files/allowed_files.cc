// SPDX-License-Identifier: Apache-2.0
#include "agent/files/allowed_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "absl/strings/str_split.h"

namespace firedrill::agent {

absl::Status CheckFilePattern(std::string_view pattern) {
  const absl::string_view text(pattern.data(), pattern.size());
  bool good = pattern.size() > 1 && pattern.front() == '/' && pattern.back() != '/';
  for (const absl::string_view part : absl::StrSplit(text, '/')) {
    if (part == "." || part == "..") good = false;
  }
  if (good && pattern.find("//") == std::string_view::npos) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "an absolute path without . and .. in it; * stands for anything but a slash: "
      "/etc/shop/*.conf");
}

bool MatchesFilePattern(std::string_view pattern, std::string_view path) {
  std::size_t p = 0, t = 0;
  std::size_t star = std::string_view::npos, taken = 0;  // the last * and what it stands for
  while (t < path.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = t;
    } else if (p < pattern.size() && pattern[p] == path[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos && path[taken] != '/') {
      p = star + 1;
      t = ++taken;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

absl::Status CheckFileAllowed(const std::vector<std::string>& patterns, const std::string& path) {
  const bool allowed =
      std::any_of(patterns.begin(), patterns.end(),
                  [&](const std::string& pattern) { return MatchesFilePattern(pattern, path); });
  if (!allowed) {
    return absl::PermissionDeniedError(
        fmt::format("this host's owner has not allowed edits of {0}: start the agent with "
                    "--allow-file {0}",
                    path));
  }
  char* const real = realpath(path.c_str(), nullptr);
  if (real == nullptr) return absl::ErrnoToStatus(errno, path);
  const std::string resolved = real;
  std::free(real);
  if (resolved == path) return absl::OkStatus();
  return absl::PermissionDeniedError(
      fmt::format("{0} is, or leads through, a symbolic link to {1}: allow that file itself "
                  "(--allow-file {1}) and name it in the experiment",
                  path, resolved));
}

}  // namespace firedrill::agent
