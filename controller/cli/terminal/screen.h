// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace firedrill::cli {

/// True for a terminal that understands cursor movement.
bool IsTerminal(int fd);

/// Columns of the terminal; 80 if it does not say.
int TerminalWidth(int fd);

/// Lines that stay, and below them a block that is drawn anew in place. Each change is one write,
/// so that nothing flickers. Destroying it removes the block and shows the cursor. Not thread-safe.
class Screen {
 public:
  explicit Screen(int fd);
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  /// Prints `lines` for good above the block, and replaces the block.
  void Draw(const std::vector<std::string>& lines, const std::vector<std::string>& block);
  int width() const { return TerminalWidth(fd_); }

 private:
  std::string EraseBlock() const;

  const int fd_;
  std::vector<std::string> block_;
};

}  // namespace firedrill::cli
