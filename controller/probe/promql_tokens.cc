// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/promql_tokens.h"

namespace firedrill::controller {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsWordStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
}
bool IsQuote(char c) { return c == '"' || c == '\'' || c == '`'; }

// The end of the string that begins at `from`; the text's end if it is not closed.
std::size_t EndOfString(std::string_view text, std::size_t from) {
  const char quote = text[from];
  for (std::size_t at = from + 1; at < text.size(); ++at) {
    if (text[at] == '\\' && quote != '`') {
      ++at;
    } else if (text[at] == quote) {
      return at + 1;
    }
  }
  return text.size();
}

// The end of the braces or brackets that open at `from`; strings inside may hold anything.
std::size_t EndOfGroup(std::string_view text, std::size_t from, char close) {
  std::size_t at = from + 1;
  while (at < text.size()) {
    if (IsQuote(text[at])) {
      at = EndOfString(text, at);
    } else if (text[at++] == close) {
      return at;
    }
  }
  return text.size();
}

std::size_t EndOfOperator(std::string_view text, std::size_t from) {
  static constexpr std::string_view kLong[] = {"==", "!=", "<=", ">=", "=~", "!~"};
  const std::string_view two = text.substr(from, 2);
  for (const std::string_view known : kLong) {
    if (two == known) return from + 2;
  }
  return from + 1;
}

}  // namespace

std::vector<PromqlToken> PromqlTokens(std::string_view text) {
  using TokenKind = PromqlTokenKind;
  std::vector<PromqlToken> tokens;
  std::size_t at = 0;
  while (at < text.size()) {
    const char c = text[at];
    const std::size_t from = at;
    TokenKind kind = TokenKind::kOperator;
    if (IsSpace(c)) {
      ++at;
      continue;
    }
    if (c == '#') {
      while (at < text.size() && text[at] != '\n') ++at;
      continue;
    }
    if (IsQuote(c)) {
      kind = TokenKind::kString;
      at = EndOfString(text, at);
    } else if (IsWordStart(c) || IsDigit(c) || c == '.') {
      kind = IsWordStart(c) ? TokenKind::kWord : TokenKind::kNumber;
      while (at < text.size() && (IsWordStart(text[at]) || IsDigit(text[at]) || text[at] == '.')) {
        ++at;
      }
    } else if (c == '{') {
      kind = TokenKind::kBraces;
      at = EndOfGroup(text, at, '}');
    } else if (c == '[') {
      kind = TokenKind::kBrackets;
      at = EndOfGroup(text, at, ']');
    } else if (c == '(' || c == ')') {
      kind = c == '(' ? TokenKind::kOpen : TokenKind::kClose;
      ++at;
    } else {
      at = EndOfOperator(text, at);
    }
    tokens.push_back({kind, std::string(text.substr(from, at - from)), from});
  }
  return tokens;
}

}  // namespace firedrill::controller
