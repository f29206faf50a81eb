// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"

// What an edit makes of a file's text, and what becomes of it at the end. Pure functions.
namespace firedrill::agent {

inline constexpr std::size_t kLargestFile = 1 << 20;  ///< Bytes, before and after the edit.

/// `original` with every match of `pattern` (RE2) replaced by `text`, in which \1 is the first
/// group; without a pattern, with `text` as its last line. INVALID_ARGUMENT: the pattern is none;
/// FAILED_PRECONDITION: it matches nothing, or nothing would change, or the result is too large.
absl::StatusOr<std::string> EditText(const std::string& original, const std::string& pattern,
                                     const std::string& text);

/// What is to be done with an edited file once the edit's time is over.
enum class AtEnd {
  kRestore,      ///< It is as we wrote it: the original comes back.
  kPutRight,     ///< Somebody has put it right: nothing.
  kLeave,        ///< Somebody has made it something else, or removed it: not ours any more.
  kOursRemains,  ///< Somebody has changed it, and a line of ours is still in it: for a person.
};

/// `now`: what the file holds, if there is one.
AtEnd DecideAtEnd(const std::optional<std::string>& now, const std::string& original,
                  const std::string& written);

}  // namespace firedrill::agent
