// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/style.h"

#include <fmt/format.h>

namespace firedrill::cli {
namespace {

const char* Code(Colour colour) {
  switch (colour) {
    case Colour::kPlain:
      return "";
    case Colour::kBold:
      return "1";
    case Colour::kDim:
      return "2";
    case Colour::kGood:
      return "32";
    case Colour::kBad:
      return "1;31";
    case Colour::kWarning:
      return "33";
    case Colour::kNote:
      return "36";
  }
  return "";
}

}  // namespace

std::string Style::operator()(Colour colour, std::string_view text) const {
  if (!colours_ || colour == Colour::kPlain || text.empty()) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", Code(colour), text);
}

}  // namespace firedrill::cli
