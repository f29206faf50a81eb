// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "controller/cli/view/style.h"

namespace firedrill::cli {

/// Rows under a heading, columns aligned by what terminals show. Not thread-safe.
class Table {
 public:
  explicit Table(std::vector<std::string> heading) : heading_(std::move(heading)) {}

  /// Fewer cells than columns leave the rest empty. Cells may hold colour.
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }

  /// With a line end after each row. `width` > 0 shortens the last column so that lines fit.
  std::string Render(const Style& style, int width = 0) const;

 private:
  std::vector<std::string> heading_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace firedrill::cli
