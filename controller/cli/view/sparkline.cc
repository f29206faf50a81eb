// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/sparkline.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace firedrill::cli {

std::string Sparkline(const std::vector<double>& values, int width, double reference) {
  static constexpr const char* kBars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  if (width <= 0) return "";
  const std::size_t shown = std::min(values.size(), static_cast<std::size_t>(width));
  double low = reference, high = reference;
  for (auto value = values.end() - static_cast<std::ptrdiff_t>(shown); value != values.end();
       ++value) {
    if (!std::isfinite(*value)) continue;
    low = std::min(low, *value);
    high = std::max(high, *value);
  }
  std::string line;
  for (auto value = values.end() - static_cast<std::ptrdiff_t>(shown); value != values.end();
       ++value) {
    if (!std::isfinite(*value)) {
      line += "·";
    } else if (high - low <= 0) {
      line += kBars[4];
    } else {
      line += kBars[static_cast<std::size_t>(std::lround((*value - low) / (high - low) * 7))];
    }
  }
  return line;
}

}  // namespace firedrill::cli
