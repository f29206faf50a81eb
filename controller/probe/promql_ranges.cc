// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/promql_ranges.h"

#include <fmt/format.h>

#include <cstdlib>
#include <utility>

#include "controller/probe/answer.h"
#include "controller/probe/promql.h"
#include "controller/probe/promql_tokens.h"

namespace firedrill::controller {
namespace {

using Token = PromqlToken;
using TokenKind = PromqlTokenKind;

constexpr Nanoseconds kMostRange = std::chrono::hours(24 * 366);

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\n')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\n')) text.remove_suffix(1);
  return text;
}

// The range of `[5m]` and of `[10m:1m]`. Prometheus 3 takes plain seconds too.
Nanoseconds RangeOfBrackets(std::string_view brackets) {
  brackets.remove_prefix(1);
  const std::string text(Trimmed(brackets.substr(0, brackets.find_first_of(":]"))));
  if (const auto duration = ParsePrometheusDuration(text)) return std::min(*duration, kMostRange);
  char* end = nullptr;
  const double seconds = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(seconds > 0)) return Nanoseconds(0);
  if (seconds > std::chrono::duration<double>(kMostRange).count()) return kMostRange;
  return Nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
}

bool IsRange(const Token& token) {
  return token.kind == TokenKind::kBrackets && token.text.find(':') == std::string::npos;
}

// What the function is when it reads from scrape to scrape; empty: it is left alone.
std::string InstantForm(const Token& token) {
  if (token.kind != TokenKind::kWord) return "";
  if (token.text == "rate" || token.text == "irate" || token.text == "increase") return "irate";
  if (token.text == "delta" || token.text == "idelta") return "idelta";
  return "";
}

}  // namespace

std::vector<PromqlReading> ReadingsOf(std::string_view expression) {
  const std::vector<Token> tokens = PromqlOperands(expression);
  std::vector<PromqlReading> readings;
  std::vector<std::size_t> open;             // the first reading of each parenthesis
  std::pair<std::size_t, std::size_t> last;  // the readings of the operand before
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const Token& token = tokens[i];
    const bool called = i + 1 < tokens.size() && tokens[i + 1].kind == TokenKind::kOpen;
    if (token.kind == TokenKind::kOpen) {
      open.push_back(readings.size());
    } else if (token.kind == TokenKind::kClose && !open.empty()) {
      // `@ start()` modifies the operand before it, and is none.
      const bool modifier = i >= 3 && tokens[i - 1].kind == TokenKind::kOpen &&
                            tokens[i - 3].kind == TokenKind::kOperator && tokens[i - 3].text == "@";
      if (!modifier) last = {open.back(), readings.size()};
      open.pop_back();
    } else if (token.kind == TokenKind::kBrackets) {
      for (std::size_t at = last.first; at < last.second && at < readings.size(); ++at) {
        readings[at].range = std::min(readings[at].range + RangeOfBrackets(token.text), kMostRange);
      }
    } else if (token.kind == TokenKind::kBraces ||
               (token.kind == TokenKind::kWord && !called && !IsPromqlKeyword(token.text))) {
      std::string selector = token.text;
      const bool labels = token.kind == TokenKind::kWord && i + 1 < tokens.size() &&
                          tokens[i + 1].kind == TokenKind::kBraces;
      if (labels) selector += tokens[++i].text;
      last = {readings.size(), readings.size() + 1};
      readings.push_back({std::move(selector), Nanoseconds(0)});
    }
  }
  return readings;
}

std::string MetricNameOf(std::string_view selector) {
  const std::size_t brace = selector.find('{');
  if (brace != 0) return std::string(Trimmed(selector.substr(0, brace)));
  const std::vector<Token> inside =
      PromqlTokens(selector.substr(1, selector.empty() ? 0 : selector.size() - 2));
  for (std::size_t i = 0; i < inside.size(); ++i) {
    const bool named = i >= 2 && inside[i - 1].text == "=" && inside[i - 2].text == "__name__";
    const bool alone = (i == 0 || inside[i - 1].text == ",") &&
                       (i + 1 == inside.size() || inside[i + 1].text == ",");
    if (inside[i].kind != TokenKind::kString || inside[i].text.size() < 2) continue;
    if (named || alone) return inside[i].text.substr(1, inside[i].text.size() - 2);
  }
  return "";
}

std::string PerScrape(std::string_view expression,
                      const std::function<Nanoseconds(const std::string& selector)>& interval) {
  const std::vector<Token> tokens = PromqlTokens(expression);
  std::string text;
  std::size_t copied = 0;             // of the expression
  std::vector<std::string> at_close;  // what is put behind the closing parenthesis
  const auto copy_until = [&](std::size_t end) {
    text += expression.substr(copied, end - copied);
    copied = end;
  };
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].kind == TokenKind::kOpen) at_close.emplace_back();
    if (tokens[i].kind == TokenKind::kClose && !at_close.empty()) {
      copy_until(tokens[i].at + 1);
      text += at_close.back();
      at_close.pop_back();
    }
    const std::string form = InstantForm(tokens[i]);
    if (form.empty() || i + 1 >= tokens.size() || tokens[i + 1].kind != TokenKind::kOpen) continue;
    std::size_t range = i + 2;
    std::string selector;
    if (range < tokens.size() && tokens[range].kind == TokenKind::kWord) {
      selector += tokens[range++].text;
    }
    if (range < tokens.size() && tokens[range].kind == TokenKind::kBraces) {
      selector += tokens[range++].text;
    }
    if (selector.empty() || range >= tokens.size() || !IsRange(tokens[range])) continue;
    const auto interval_ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(interval(selector)).count();
    const bool increase = tokens[i].text == "increase";
    copy_until(tokens[i].at);
    text += (increase ? "(" : "") + form;
    copied = tokens[i].at + tokens[i].text.size();
    copy_until(tokens[range].at);
    text += fmt::format("[{}ms]", 2 * interval_ms);
    copied = tokens[range].at + tokens[range].text.size();
    at_close.push_back(
        increase ? fmt::format(" * {}.{:03})", interval_ms / 1000, interval_ms % 1000) : "");
    i = range;
  }
  copy_until(expression.size());
  return text;
}

}  // namespace firedrill::controller
