// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/terminal/screen.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "controller/cli/view/text_width.h"

namespace firedrill::cli {
namespace {

// Terminals that know "synchronized output" show the whole change at once; others ignore it.
constexpr const char* kBegin = "\x1b[?2026h\x1b[?25l";
constexpr const char* kEnd = "\x1b[?2026l";
constexpr const char* kShowCursor = "\x1b[?25h";

void WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return;  // the terminal is gone: nobody looks
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

bool IsTerminal(int fd) {
  const char* term = std::getenv("TERM");
  return isatty(fd) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

int TerminalWidth(int fd) {
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

Screen::Screen(int fd) : fd_(fd) {}

Screen::~Screen() { WriteAll(fd_, EraseBlock() + kShowCursor); }

// The block's lines fitted when they were drawn; a terminal that became narrower has wrapped them.
std::string Screen::EraseBlock() const {
  if (block_.empty()) return "";
  const int columns = std::max(1, width());
  int rows = 0;
  for (const std::string& line : block_) {
    rows += std::max(1, (DisplayWidth(line) + columns - 1) / columns);
  }
  // The cursor rests at the end of the last row.
  return rows > 1 ? fmt::format("\r\x1b[{}A\x1b[J", rows - 1) : "\r\x1b[J";
}

void Screen::Draw(const std::vector<std::string>& lines, const std::vector<std::string>& block) {
  if (lines.empty() && block == block_) return;
  std::string out = kBegin + EraseBlock();
  for (const std::string& line : lines) out += line + "\r\n";
  for (std::size_t i = 0; i < block.size(); ++i) out += (i > 0 ? "\r\n" : "") + block[i];
  WriteAll(fd_, out + kEnd);
  block_ = block;
}

}  // namespace firedrill::cli
