// SPDX-License-Identifier: Apache-2.0
#include "proto/support/text.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <csignal>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/support/problem.h"

namespace firedrill {
namespace {

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

std::string_view Trimmed(std::string_view text) {
  const absl::string_view trimmed = absl::StripAsciiWhitespace(Absl(text));
  return {trimmed.data(), trimmed.size()};
}

template <typename T>
bool ParseWhole(std::string_view text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return !text.empty() && error == std::errc() && end == text.data() + text.size();
}

constexpr std::pair<std::string_view, v1::Operator> kOperators[] = {
    {"<=", v1::OPERATOR_LESS_OR_EQUAL}, {">=", v1::OPERATOR_GREATER_OR_EQUAL},
    {"==", v1::OPERATOR_EQUAL},         {"!=", v1::OPERATOR_NOT_EQUAL},
    {"<", v1::OPERATOR_LESS},           {">", v1::OPERATOR_GREATER},
};

constexpr std::pair<std::string_view, int> kSignals[] = {
    {"HUP", SIGHUP},       {"INT", SIGINT},   {"QUIT", SIGQUIT},   {"ILL", SIGILL},
    {"TRAP", SIGTRAP},     {"ABRT", SIGABRT}, {"BUS", SIGBUS},     {"FPE", SIGFPE},
    {"KILL", SIGKILL},     {"USR1", SIGUSR1}, {"SEGV", SIGSEGV},   {"USR2", SIGUSR2},
    {"PIPE", SIGPIPE},     {"ALRM", SIGALRM}, {"TERM", SIGTERM},   {"STKFLT", SIGSTKFLT},
    {"CHLD", SIGCHLD},     {"CONT", SIGCONT}, {"STOP", SIGSTOP},   {"TSTP", SIGTSTP},
    {"TTIN", SIGTTIN},     {"TTOU", SIGTTOU}, {"URG", SIGURG},     {"XCPU", SIGXCPU},
    {"XFSZ", SIGXFSZ},     {"PROF", SIGPROF}, {"WINCH", SIGWINCH}, {"IO", SIGIO},
    {"VTALRM", SIGVTALRM}, {"PWR", SIGPWR},   {"SYS", SIGSYS},
};

// Clears what lies beyond the prefix; true if anything did.
bool ClearHostBits(Cidr* cidr) {
  bool cleared = false;
  const int size = cidr->v6 ? 16 : 4;
  for (int i = 0; i < size; ++i) {
    const int kept = std::clamp(cidr->prefix - 8 * i, 0, 8);
    const auto mask = static_cast<std::uint8_t>(0xFF00U >> kept);
    cleared = cleared || (cidr->bytes[i] & static_cast<std::uint8_t>(~mask)) != 0;
    cidr->bytes[i] &= mask;
  }
  return cleared;
}

std::string FormatCidr(const Cidr& cidr) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(cidr.v6 ? AF_INET6 : AF_INET, cidr.bytes.data(), text, sizeof(text));
  return fmt::format("{}/{}", text, cidr.prefix);
}

}  // namespace

absl::StatusOr<Nanoseconds> ParseDuration(std::string_view text) {
  text = Trimmed(text);
  double number = 0;
  if (absl::SimpleAtod(Absl(text), &number) && number != 0 && std::isfinite(number)) {
    const std::string digits(text.front() == '-' || text.front() == '+' ? text.substr(1) : text);
    return absl::InvalidArgumentError(
        fmt::format("allowed: a time with its unit, such as {0}s, {0}ms or {0}m", digits));
  }
  std::string ascii(text);  // FormatDuration writes µs
  for (const std::string_view mu : {"\u00B5s", "\u03BCs"}) {
    for (auto at = ascii.find(mu); at != std::string::npos; at = ascii.find(mu)) {
      ascii.replace(at, mu.size(), "us");
    }
  }
  // Weeks, and days of 24 hours, which absl does not know: 12w, 1w3d, 1d12h.
  std::string hours;
  std::string_view rest = ascii;
  for (const auto& [unit, factor] : {std::pair('w', 168U), std::pair('d', 24U)}) {
    const std::size_t end = rest.find_first_not_of("0123456789");
    std::uint32_t count = 0;
    if (end == std::string_view::npos || rest[end] != unit) continue;
    if (!ParseWhole(rest.substr(0, end), &count)) break;
    hours += fmt::format("{}h", std::uint64_t{factor} * count);
    rest.remove_prefix(end + 1);
  }
  ascii = hours + std::string(rest);
  absl::Duration duration;
  if (!absl::ParseDuration(ascii, &duration)) {
    return absl::InvalidArgumentError("allowed: a time such as 500ms, 30s, 1h30m, 90d or 12w");
  }
  if (duration < absl::ZeroDuration()) {
    return absl::InvalidArgumentError("allowed: a time that is not negative, such as 30s");
  }
  if (duration >= absl::Nanoseconds(INT64_MAX)) {
    return absl::InvalidArgumentError("allowed: a time that ends, such as 30s or 1h30m");
  }
  return Nanoseconds(absl::ToInt64Nanoseconds(duration));
}

absl::StatusOr<double> ParseNumber(std::string_view text) {
  double value = 0;
  if (!absl::SimpleAtod(Absl(Trimmed(text)), &value) || !std::isfinite(value)) {
    return absl::InvalidArgumentError("allowed: a finite number, such as 33 or 0.5");
  }
  return value;
}

absl::StatusOr<double> ParsePercent(std::string_view text) {
  text = Trimmed(text);
  if (!text.empty() && text.back() == '%') text = Trimmed(text.substr(0, text.size() - 1));
  const absl::StatusOr<double> value = ParseNumber(text);
  if (!value.ok()) return absl::InvalidArgumentError("allowed: a percentage, such as 33 or 33%");
  if (*value < 0 || *value > 100) return absl::InvalidArgumentError("allowed: 0 to 100 %");
  return *value;
}

absl::StatusOr<v1::Amount> ParseAmount(std::string_view text) {
  text = Trimmed(text);
  v1::Amount amount;
  std::uint32_t count = 0;
  if (text == "all") {
    amount.set_all(true);
    return amount;
  }
  if (!text.empty() && text.back() == '%') {
    const absl::StatusOr<double> percent = ParsePercent(text);
    if (percent.ok() && *percent > 0) {
      amount.set_percent(*percent);
      return amount;
    }
  } else if (ParseWhole(text, &count) && count > 0) {
    amount.set_count(count);
    return amount;
  }
  return absl::InvalidArgumentError(
      "allowed: a number from 1, a share such as 50% (over 0, up to 100), or all");
}

std::string FormatAmount(const v1::Amount& amount) {
  switch (amount.amount_case()) {
    case v1::Amount::kCount:
      return fmt::format("{}", amount.count());
    case v1::Amount::kPercent:
      return fmt::format("{}%", amount.percent());
    case v1::Amount::kAll:
      return amount.all() ? "all" : "none";
    case v1::Amount::AMOUNT_NOT_SET:
      break;
  }
  return "1";
}

absl::StatusOr<v1::Comparison> ParseComparison(std::string_view text) {
  text = Trimmed(text);
  for (const auto& [sign, op] : kOperators) {
    if (text.substr(0, sign.size()) != sign) continue;
    const absl::StatusOr<double> value = ParseNumber(text.substr(sign.size()));
    if (!value.ok()) break;
    v1::Comparison comparison;
    comparison.set_operator_(op);
    comparison.set_value(*value);
    return comparison;
  }
  return absl::InvalidArgumentError(
      "allowed: one of <, <=, >, >=, ==, != and a number, such as \">= 0.99\"");
}

std::string FormatComparison(const v1::Comparison& comparison) {
  for (const auto& [sign, op] : kOperators) {
    if (op == comparison.operator_()) return fmt::format("{} {}", sign, comparison.value());
  }
  return fmt::format("? {}", comparison.value());
}

bool Holds(const v1::Comparison& comparison, double value) {
  if (std::isnan(value)) return false;
  switch (comparison.operator_()) {
    case v1::OPERATOR_LESS:
      return value < comparison.value();
    case v1::OPERATOR_LESS_OR_EQUAL:
      return value <= comparison.value();
    case v1::OPERATOR_GREATER:
      return value > comparison.value();
    case v1::OPERATOR_GREATER_OR_EQUAL:
      return value >= comparison.value();
    case v1::OPERATOR_EQUAL:
      return value == comparison.value();
    case v1::OPERATOR_NOT_EQUAL:
      return value != comparison.value();
    default:  // open enum: also what a newer peer may send
      return false;
  }
}

absl::StatusOr<Cidr> ParseCidr(std::string_view text) {
  text = Trimmed(text);
  const absl::Status refused =
      absl::InvalidArgumentError("allowed: an address or block, such as 192.0.2.1 or 10.0.0.0/8");
  const auto slash = text.find('/');
  const std::string address(text.substr(0, slash));
  Cidr cidr;
  cidr.v6 = address.find(':') != std::string::npos;
  if (inet_pton(cidr.v6 ? AF_INET6 : AF_INET, address.c_str(), cidr.bytes.data()) != 1) {
    return refused;
  }
  const int longest = cidr.v6 ? 128 : 32;
  cidr.prefix = longest;
  if (slash != std::string_view::npos && (!ParseWhole(text.substr(slash + 1), &cidr.prefix) ||
                                          cidr.prefix < 0 || cidr.prefix > longest)) {
    return absl::InvalidArgumentError(fmt::format("allowed: a prefix of 0 to {}", longest));
  }
  in6_addr v6;
  std::copy(cidr.bytes.begin(), cidr.bytes.end(), v6.s6_addr);
  if (cidr.v6 && IN6_IS_ADDR_V4MAPPED(&v6)) {
    return absl::InvalidArgumentError("allowed: an IPv4 address spelled as such, 192.0.2.1");
  }
  if (ClearHostBits(&cidr)) {
    return absl::InvalidArgumentError(
        fmt::format("has bits beyond its prefix; did you mean {}?", FormatCidr(cidr)));
  }
  return cidr;
}

absl::StatusOr<PortRange> ParsePorts(std::string_view text) {
  text = Trimmed(text);
  const auto dash = text.find('-');
  PortRange range;
  const bool parsed =
      ParseWhole(Trimmed(text.substr(0, dash)), &range.first) &&
      (dash == std::string_view::npos || ParseWhole(Trimmed(text.substr(dash + 1)), &range.last));
  if (dash == std::string_view::npos) range.last = range.first;
  if (!parsed || range.first == 0 || range.last < range.first) {
    return absl::InvalidArgumentError(
        "allowed: a port of 1 to 65535, or a range such as 8000-8100");
  }
  return range;
}

absl::StatusOr<int> ParseSignal(std::string_view text) {
  std::string name = absl::AsciiStrToUpper(Absl(Trimmed(text)));
  if (name.substr(0, 3) == "SIG") name.erase(0, 3);
  int number = 0;
  if (ParseWhole(name, &number) && number >= 1 && number <= 64) return number;
  std::vector<std::string> names;
  for (const auto& [known, value] : kSignals) {
    if (known == name) return value;
    names.emplace_back(known);
  }
  const std::string nearest = Nearest(name, names);
  return absl::InvalidArgumentError(
      (nearest.empty() ? std::string() : fmt::format("did you mean {}? ", nearest)) +
      "allowed: a signal's name such as TERM, KILL or HUP, or a number of 1 to 64");
}

}  // namespace firedrill
