// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace firedrill::cli {

enum class Colour { kPlain, kBold, kDim, kGood, kBad, kWarning, kNote };

/// Colours text, or leaves it alone where there is no terminal or NO_COLOR is set. A value type.
class Style {
 public:
  explicit Style(bool colours) : colours_(colours) {}
  std::string operator()(Colour colour, std::string_view text) const;
  bool colours() const { return colours_; }

 private:
  bool colours_;
};

}  // namespace firedrill::cli
