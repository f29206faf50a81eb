// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace firedrill::cli {

/// Columns that UTF-8 text takes on a terminal: 2 for wide characters, 0 for combining ones and for
/// escape sequences of colour.
int DisplayWidth(std::string_view text);

/// At most `width` columns, cut with an ellipsis. Sequences of colour stay whole and are closed.
std::string Fit(std::string_view text, int width);

/// Text from elsewhere, made harmless: control characters (escape sequences, line ends) and broken
/// UTF-8 become '?'.
std::string Clean(std::string_view text);

/// Clean text on one line: line ends become "; ".
std::string OneLine(std::string_view text);

/// Breaks at spaces into lines of at most `width` columns.
std::string Wrap(std::string_view text, int width, std::string_view indent);

/// The same with lines of at most `width` columns in all, the indent included. Gaps between words
/// stay as they are, so that columns do.
std::string WrapHanging(std::string_view text, int width, std::string_view indent);

}  // namespace firedrill::cli
