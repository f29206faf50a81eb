// SPDX-License-Identifier: Apache-2.0
#include "proto/support/quantity.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <span>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace firedrill {
namespace {

struct Suffix {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::uint64_t kPower10[] = {
    1, 1'000, 1'000'000, 1'000'000'000, 1'000'000'000'000, 1'000'000'000'000'000};

constexpr Suffix kSizes[] = {
    {"B", 1},
    {"kB", kPower10[1]},
    {"MB", kPower10[2]},
    {"GB", kPower10[3]},
    {"TB", kPower10[4]},
    {"PB", kPower10[5]},
    {"KiB", 1ULL << 10},
    {"MiB", 1ULL << 20},
    {"GiB", 1ULL << 30},
    {"TiB", 1ULL << 40},
    {"PiB", 1ULL << 50},
};

constexpr Suffix kRates[] = {
    {"bit", 1},
    {"kbit", kPower10[1]},
    {"Mbit", kPower10[2]},
    {"Gbit", kPower10[3]},
    {"Tbit", kPower10[4]},
};

__extension__ using Wide = unsigned __int128;

// A decimal number, to its last digit: 1.5 is 15 and a scale of 10.
struct Decimal {
  Wide digits = 0;
  Wide scale = 1;
};

// The number at the start of `text`, which is cut off; none if it is not one, or longer than any
// that could be meant.
std::optional<Decimal> TakeNumber(std::string_view* text) {
  constexpr int kMostDigits = 20;
  Decimal number;
  int digits = 0;
  bool point = false;
  std::size_t at = 0;
  for (; at < text->size(); ++at) {
    const char c = (*text)[at];
    if (c == '.' && !point) {
      point = true;
    } else if (absl::ascii_isdigit(static_cast<unsigned char>(c))) {
      if (++digits > kMostDigits) return std::nullopt;
      number.digits = number.digits * 10 + static_cast<unsigned>(c - '0');
      if (point) number.scale *= 10;
    } else {
      break;
    }
  }
  if (digits == 0 || (*text)[0] == '.' || (*text)[at - 1] == '.') return std::nullopt;
  text->remove_prefix(at);
  return number;
}

// Case tells nothing apart here but helps nobody: mib and MIB are MiB.
const Suffix* Find(std::span<const Suffix> suffixes, std::string_view name) {
  for (const Suffix& suffix : suffixes) {
    if (absl::EqualsIgnoreCase({suffix.name.data(), suffix.name.size()},
                               {name.data(), name.size()})) {
      return &suffix;
    }
  }
  return nullptr;
}

// Times its suffix; none if that is no whole number, or none that fits.
std::optional<std::uint64_t> Exact(const Decimal& number, std::uint64_t factor) {
  constexpr Wide kMost = std::numeric_limits<std::int64_t>::max();
  const Wide product = number.digits * factor;  // at most 67 and 50 bits
  if (product % number.scale != 0 || product / number.scale > kMost) return std::nullopt;
  return static_cast<std::uint64_t>(product / number.scale);
}

std::string Shortest(std::uint64_t value, std::span<const Suffix> suffixes) {
  std::string shortest = fmt::format("{}{}", value, suffixes.front().name);
  for (const Suffix& suffix : suffixes) {
    if (value == 0 || value % suffix.factor != 0) continue;
    std::string text = fmt::format("{}{}", value / suffix.factor, suffix.name);
    if (text.size() - suffix.name.size() < shortest.find_first_not_of("0123456789")) {
      shortest = std::move(text);
    }
  }
  return shortest;
}

std::string_view Trimmed(std::string_view text) {
  const absl::string_view trimmed = absl::StripAsciiWhitespace({text.data(), text.size()});
  return {trimmed.data(), trimmed.size()};
}

}  // namespace

absl::StatusOr<std::uint64_t> ParseBytes(std::string_view text) {
  const absl::Status refused =
      absl::InvalidArgumentError("allowed: a size, such as 512MiB, 10GiB or 1.5GB");
  text = Trimmed(text);
  const std::string number(text.substr(0, text.find_first_not_of("0123456789.")));
  const std::optional<Decimal> decimal = TakeNumber(&text);
  if (!decimal.has_value()) return refused;
  text = Trimmed(text);
  if (text.size() == 1 && absl::StrContains("kKmMgGtTpP", text[0])) {
    const char letter = absl::ascii_toupper(static_cast<unsigned char>(text[0]));
    return absl::InvalidArgumentError(fmt::format("did you mean {0}{1}iB or {0}{2}B?", number,
                                                  letter, letter == 'K' ? 'k' : letter));
  }
  const Suffix* suffix = text.empty() ? &kSizes[0] : Find(kSizes, text);
  if (suffix == nullptr) return refused;
  if (const auto bytes = Exact(*decimal, suffix->factor); bytes.has_value()) return *bytes;
  return absl::InvalidArgumentError("allowed: a whole number of bytes below 8 EiB, such as 512MiB");
}

std::string FormatBytes(std::uint64_t bytes) { return Shortest(bytes, kSizes); }

absl::StatusOr<std::uint64_t> ParseRate(std::string_view text) {
  const absl::Status refused =
      absl::InvalidArgumentError("allowed: a rate, such as 10Mbit, 1.5Gbit or 800kbit");
  text = Trimmed(text);
  const std::string number(text.substr(0, text.find_first_not_of("0123456789.")));
  const std::optional<Decimal> decimal = TakeNumber(&text);
  if (!decimal.has_value()) return refused;
  text = Trimmed(text);
  if (text.empty() || absl::EqualsIgnoreCase({text.data(), text.size()}, "m")) {
    return absl::InvalidArgumentError(
        fmt::format("allowed: a rate with its unit, such as {0}Mbit, {0}Gbit or {0}kbit", number));
  }
  // mbps is bits to some and bytes to tc: nobody's guess is taken.
  std::string_view name = text;
  if (name.size() > 2 && name.substr(name.size() - 2) == "/s") name.remove_suffix(2);
  const Suffix* suffix = Find(kRates, name);
  if (suffix == nullptr) return refused;
  if (const auto bits = Exact(*decimal, suffix->factor); bits.has_value()) return *bits;
  return absl::InvalidArgumentError("allowed: a whole number of bits a second, such as 10Mbit");
}

std::string FormatRate(std::uint64_t bits) { return Shortest(bits, kRates); }

}  // namespace firedrill
