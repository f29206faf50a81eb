// SPDX-License-Identifier: Apache-2.0
#include "agent/files/config_edit.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <set>
#include <vector>

#include "absl/strings/str_split.h"

namespace firedrill::agent {
namespace {

absl::StatusOr<std::string> Replace(const std::string& original, const std::string& pattern,
                                    const std::string& text) {
  RE2::Options options;
  options.set_log_errors(false);
  const RE2 regex(pattern, options);
  if (!regex.ok()) {
    return absl::InvalidArgumentError("config_change.pattern: " + regex.error());
  }
  std::string error;
  if (!regex.CheckRewriteString(text, &error)) {
    return absl::InvalidArgumentError("config_change.text: " + error);
  }
  std::string result = original;
  if (RE2::GlobalReplace(&result, regex, text) > 0) return result;
  return absl::FailedPreconditionError(fmt::format("'{}' matches nothing in the file", pattern));
}

std::set<absl::string_view> Lines(const std::string& text) {
  return absl::StrSplit(absl::string_view(text), '\n', absl::SkipWhitespace());
}

}  // namespace

absl::StatusOr<std::string> EditText(const std::string& original, const std::string& pattern,
                                     const std::string& text) {
  absl::StatusOr<std::string> result;
  if (pattern.empty()) {
    result = original;
    if (!result->empty() && result->back() != '\n') *result += '\n';
    *result += text;
    if (result->back() != '\n') *result += '\n';
  } else {
    result = Replace(original, pattern, text);
  }
  if (!result.ok()) return result;
  if (*result == original) {
    return absl::FailedPreconditionError("the file is already as the edit would make it");
  }
  if (result->size() > kLargestFile) {
    return absl::FailedPreconditionError(
        fmt::format("the edit would make the file {} bytes long; {} are allowed", result->size(),
                    kLargestFile));
  }
  return result;
}

AtEnd DecideAtEnd(const std::optional<std::string>& now, const std::string& original,
                  const std::string& written) {
  if (!now) return AtEnd::kLeave;
  if (*now == written) return AtEnd::kRestore;
  if (*now == original) return AtEnd::kPutRight;
  const auto before = Lines(original), ours = Lines(written);
  for (const absl::string_view line : Lines(*now)) {
    if (ours.count(line) != 0 && before.count(line) == 0) return AtEnd::kOursRemains;
  }
  return AtEnd::kLeave;
}

}  // namespace firedrill::agent
