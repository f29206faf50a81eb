// SPDX-License-Identifier: Apache-2.0
#include "controller/service/checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace firedrill::controller {
namespace {

constexpr std::size_t kLongestId = 63;
constexpr std::size_t kLongestReason = 500;

}  // namespace

absl::Status CheckRunId(const std::string& id) {
  const bool plain = std::all_of(id.begin(), id.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  });
  if (plain && id.size() <= kLongestId) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "run_id: allowed are up to {} letters, digits, dots, dashes and underscores", kLongestId));
}

absl::Status CheckLength(const char* field, const std::string& text, std::size_t most) {
  if (text.size() <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: {} bytes; at most {} are allowed", field, text.size(), most));
}

absl::Status CheckReason(const std::string& reason) {
  return CheckLength("reason", reason, kLongestReason);
}

}  // namespace firedrill::controller
