// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace firedrill {

/// One mistake in a message that somebody wrote.
struct Problem {
  std::string field;     ///< Path from the root: method[0].fault.packet_loss.percent; may be empty.
  std::string found;     ///< "found 120 %", "missing", "unknown field".
  std::string allowed;   ///< What is allowed, or what to do.
  bool missing = false;  ///< The field is absent, or has the value that an absent field has.
};

using Problems = std::vector<Problem>;

/// "field: found; allowed", without the parts that are empty.
std::string ToString(const Problem& problem);

/// OK without problems; else InvalidArgument, one problem a line.
absl::Status ToStatus(const Problems& problems);

/// Paths: JoinPath("method[0]", "fault") is "method[0].fault"; JoinPath("", "name") is "name".
std::string JoinPath(std::string_view path, std::string_view field);
/// IndexPath("method", 0) is "method[0]".
std::string IndexPath(std::string_view path, int index);
/// KeyPath("targets", "cache") is "targets.cache"; a key that is no plain name stands in quotes.
std::string KeyPath(std::string_view path, std::string_view key);

/// The text in double quotes, shortened to 60 bytes, control characters escaped.
std::string Quoted(std::string_view text);

/// "a, b or c".
std::string OneOf(const std::vector<std::string>& names);

/// The candidate that `name` is a slip of, or empty if none is near (edit distance, case ignored).
std::string Nearest(std::string_view name, const std::vector<std::string>& candidates);

/// "did you mean x? allowed: a, b or c", or without the first part when nothing is near.
std::string SuggestFrom(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace firedrill
