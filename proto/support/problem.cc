// SPDX-License-Identifier: Apache-2.0
#include "proto/support/problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "absl/strings/ascii.h"

namespace firedrill {
namespace {

bool IsPlain(std::string_view key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
  });
}

// Damerau's distance with neighbours swapped counted once (optimal string alignment).
std::size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> before(b.size() + 1), row(b.size() + 1), next(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    next[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      next[j] = std::min({row[j] + 1, next[j - 1] + 1, row[j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        next[j] = std::min(next[j], before[j - 2] + 1);
      }
    }
    before.swap(row);
    row.swap(next);
  }
  return row[b.size()];
}

}  // namespace

std::string ToString(const Problem& problem) {
  std::string text = problem.field;
  if (!problem.found.empty()) text += (text.empty() ? "" : ": ") + problem.found;
  if (!problem.allowed.empty()) text += (text.empty() ? "" : "; ") + problem.allowed;
  return text;
}

absl::Status ToStatus(const Problems& problems) {
  if (problems.empty()) return absl::OkStatus();
  std::string text;
  for (const Problem& problem : problems) {
    if (!text.empty()) text += '\n';
    text += ToString(problem);
  }
  return absl::InvalidArgumentError(text);
}

std::string JoinPath(std::string_view path, std::string_view field) {
  return path.empty() ? std::string(field) : fmt::format("{}.{}", path, field);
}

std::string IndexPath(std::string_view path, int index) {
  return fmt::format("{}[{}]", path, index);
}

std::string KeyPath(std::string_view path, std::string_view key) {
  return IsPlain(key) ? JoinPath(path, key) : fmt::format("{}[{}]", path, Quoted(key));
}

std::string Quoted(std::string_view text) {
  constexpr std::size_t kLongest = 60;
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // Cuts between two characters of UTF-8 only.
    if (i >= kLongest && (byte & 0xC0) != 0x80) {
      out += "…";
      break;
    }
    if (byte == '\n') {
      out += "\\n";
    } else if (byte == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      if (byte == '"' || byte == '\\') out += '\\';
      out += text[i];
    }
  }
  return out + '"';
}

std::string OneOf(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += names[i];
  }
  return text;
}

std::string Nearest(std::string_view name, const std::vector<std::string>& candidates) {
  constexpr std::size_t kLongest = 64;  // bounds the work on a hostile file
  if (name.empty() || name.size() > kLongest) return "";
  const std::string wanted = absl::AsciiStrToLower(std::string(name));
  std::size_t best = std::max<std::size_t>(1, wanted.size() / 3) + 1;
  std::string nearest;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > kLongest) continue;
    const std::string other = absl::AsciiStrToLower(candidate);
    std::size_t distance = EditDistance(wanted, other);
    // "loss" for "packet_loss", "durations" for "duration".
    const bool inside =
        std::min(wanted.size(), other.size()) >= 3 &&
        (other.find(wanted) != std::string::npos || wanted.find(other) != std::string::npos);
    if (inside) distance = std::min<std::size_t>(distance, 1);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::string SuggestFrom(std::string_view name, const std::vector<std::string>& candidates) {
  const std::string nearest = Nearest(name, candidates);
  const std::string all = candidates.empty() ? "" : "allowed: " + OneOf(candidates);
  return nearest.empty() ? all : fmt::format("did you mean {}? {}", nearest, all);
}

}  // namespace firedrill
