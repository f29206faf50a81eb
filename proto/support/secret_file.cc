// SPDX-License-Identifier: Apache-2.0
#include "proto/support/secret_file.h"

#include <fmt/format.h>

#include <cstddef>
#include <fstream>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "proto/support/status_macros.h"

namespace firedrill {
namespace {

constexpr std::size_t kLongest = 64 << 10;
constexpr std::size_t kMostLines = 16;

absl::Status Wrong(const std::string& path, std::string_view what) {
  return absl::InvalidArgumentError(fmt::format("the secret in '{}' {}", path, what));
}

// The lines with something on them, at least one.
absl::StatusOr<std::vector<std::string>> ReadLines(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::string text(kLongest + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.size() > kLongest) return Wrong(path, "is over 64 KiB");
  // Of what cannot be opened, or is a directory, the end is not reached.
  if (!stream.eof()) return Wrong(path, "cannot be read");
  std::vector<std::string> lines;
  for (absl::string_view line : absl::StrSplit(text, absl::ByAnyChar("\r\n"))) {
    line = absl::StripAsciiWhitespace(line);
    if (!line.empty()) lines.emplace_back(line);
  }
  if (lines.empty()) return Wrong(path, "is missing: the file is empty");
  return lines;
}

}  // namespace

absl::StatusOr<std::string> ReadSecretFile(const std::string& path) {
  ASSIGN_OR_RETURN(std::vector<std::string> lines, ReadLines(path));
  if (lines.size() > 1) return Wrong(path, "must be one line");
  return std::move(lines.front());
}

absl::StatusOr<std::vector<std::string>> ReadSecretLines(const std::string& path) {
  ASSIGN_OR_RETURN(std::vector<std::string> lines, ReadLines(path));
  if (lines.size() > kMostLines) {
    return Wrong(path, fmt::format("must be at most {} lines, one secret each", kMostLines));
  }
  return lines;
}

}  // namespace firedrill
