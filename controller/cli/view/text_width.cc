// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/text_width.h"

#include <cstdint>
#include <iterator>

namespace firedrill::cli {
namespace {

struct Range {
  std::uint32_t first, last;
};

// Unicode's East Asian wide and fullwidth blocks and emoji, coarsely: a table needs no more.
constexpr Range kWide[] = {{0x1100, 0x115F},   {0x2E80, 0x303E},   {0x3041, 0x33FF},
                           {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xA000, 0xA4CF},
                           {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE30, 0xFE4F},
                           {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},   {0x1F300, 0x1F64F},
                           {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
constexpr Range kNarrowest[] = {
    {0x0300, 0x036F}, {0x200B, 0x200F}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}};

template <std::size_t n>
bool In(const Range (&ranges)[n], std::uint32_t c) {
  for (const Range& range : ranges) {
    if (c >= range.first && c <= range.last) return true;
  }
  return false;
}

// One step through the text: an escape sequence of colour, a character, or a broken byte.
struct Piece {
  std::string_view bytes;
  int width = 0;
  bool escape = false;
  bool good = true;  // printable
};

Piece Next(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) == 0x1B && text.size() > 1 && text[1] == '[') {
    std::size_t end = 2;
    while (end < text.size() && (byte(end) < 0x40 || byte(end) > 0x7E)) ++end;
    return {text.substr(0, end + 1), 0, true, false};
  }
  const unsigned char lead = byte(0);
  if (lead < 0x80) {
    const bool printable = lead >= 0x20 && lead != 0x7F;
    return {text.substr(0, 1), printable ? 1 : 0, false, printable};
  }
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 0;
  if (length == 0 || lead > 0xF4 || text.size() < length)
    return {text.substr(0, 1), 1, false, false};
  std::uint32_t c = lead & (0x7FU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {text.substr(0, 1), 1, false, false};
    c = c << 6 | (byte(i) & 0x3FU);
  }
  // Control characters of the second kind, and marks that turn the direction of text round.
  const bool good = c >= 0xA0 && !(c >= 0x202A && c <= 0x202E) && !(c >= 0x2066 && c <= 0x2069) &&
                    !(c >= 0xD800 && c <= 0xDFFF) && c <= 0x10FFFF;
  return {text.substr(0, length), In(kNarrowest, c) ? 0 : In(kWide, c) ? 2 : 1, false, good};
}

}  // namespace

int DisplayWidth(std::string_view text) {
  int width = 0;
  while (!text.empty()) {
    const Piece piece = Next(text);
    width += piece.width;
    text.remove_prefix(piece.bytes.size());
  }
  return width;
}

std::string Fit(std::string_view text, int width) {
  if (width <= 0) return "";
  if (DisplayWidth(text) <= width) return std::string(text);
  std::string out;
  int used = 0;
  bool coloured = false;
  while (!text.empty()) {
    const Piece piece = Next(text);
    if (used + piece.width > width - 1) break;
    coloured = coloured || piece.escape;
    out += piece.bytes;
    used += piece.width;
    text.remove_prefix(piece.bytes.size());
  }
  return out + "…" + (coloured ? "\x1b[0m" : "");
}

std::string Clean(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    Piece piece = Next(text);
    if (piece.escape) piece.bytes = piece.bytes.substr(0, 1);
    if (piece.good) {
      out += piece.bytes;
    } else {
      out += '?';
    }
    text.remove_prefix(piece.bytes.size());
  }
  return out;
}

std::string OneLine(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "; ";
    } else {
      out += c;
    }
  }
  return Clean(out);
}

std::string Wrap(std::string_view text, int width, std::string_view indent) {
  std::string out;
  int used = 0;
  while (!text.empty()) {
    const std::size_t end = text.find(' ');
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const int length = DisplayWidth(word);
    if (used > 0 && used + 1 + length > width) {
      out += '\n';
      out += indent;
      used = 0;
    } else if (used > 0) {
      out += ' ';
      ++used;
    }
    out += word;
    used += length;
  }
  return out;
}

std::string WrapHanging(std::string_view text, int width, std::string_view indent) {
  std::string out;
  int used = 0;
  bool fresh = true;  // no word on this line yet
  while (!text.empty()) {
    const std::size_t gap = std::min(text.find_first_not_of(' '), text.size());
    const std::size_t end = std::min(text.find(' ', gap), text.size());
    const std::string_view word = text.substr(gap, end - gap);
    const int length = DisplayWidth(word);
    if (!fresh && used + static_cast<int>(gap) + length > width) {
      out += '\n';
      out += indent;
      used = DisplayWidth(indent);
    } else {
      out.append(gap, ' ');
      used += static_cast<int>(gap);
    }
    out += word;
    used += length;
    fresh = false;
    text.remove_prefix(end);
  }
  return out;
}

}  // namespace firedrill::cli
