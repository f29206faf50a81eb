// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/table.h"

#include <algorithm>
#include <cstddef>

#include "controller/cli/view/text_width.h"

namespace firedrill::cli {

std::string Table::Render(const Style& style, int width) const {
  std::vector<int> widths(heading_.size(), 0);
  const auto measure = [&](const std::vector<std::string>& row) {
    for (std::size_t i = 0; i < std::min(row.size(), widths.size()); ++i) {
      widths[i] = std::max(widths[i], DisplayWidth(row[i]));
    }
  };
  measure(heading_);
  for (const auto& row : rows_) measure(row);

  std::string out;
  const auto write = [&](const std::vector<std::string>& row, Colour colour) {
    std::string line;
    int used = 0;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const std::string cell = i < row.size() ? row[i] : "";
      const bool last = i + 1 == widths.size();
      const std::string shown = last && width > 0 ? Fit(cell, std::max(8, width - used)) : cell;
      line += style(colour, shown);
      const int gap = widths[i] - DisplayWidth(shown) + 2;
      if (!last) line.append(static_cast<std::size_t>(gap), ' ');
      used += widths[i] + 2;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  write(heading_, Colour::kDim);
  for (const auto& row : rows_) write(row, Colour::kPlain);
  return out;
}

}  // namespace firedrill::cli
