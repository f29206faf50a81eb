// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace firedrill::controller {

/// Strings, braces and brackets are one token each, with all that stands in them.
enum class PromqlTokenKind {
  kWord,
  kNumber,
  kString,
  kOpen,
  kClose,
  kBraces,
  kBrackets,
  kOperator
};

struct PromqlToken {
  PromqlTokenKind kind;
  std::string text;
  std::size_t at = 0;  ///< Where it begins in the expression.
};

/// The words and signs of a PromQL expression, without spaces and comments. Any text gives some.
std::vector<PromqlToken> PromqlTokens(std::string_view text);

}  // namespace firedrill::controller
