// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/promql.h"

#include <algorithm>
#include <cstddef>
#include <set>

namespace firedrill::controller {
namespace {

enum class TokenKind { kWord, kNumber, kString, kOpen, kClose, kBraces, kBrackets, kOperator };

struct Token {
  TokenKind kind;
  std::string text;
};

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsWordStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
}
bool IsQuote(char c) { return c == '"' || c == '\'' || c == '`'; }

std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

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

std::vector<Token> Tokens(std::string_view text) {
  std::vector<Token> tokens;
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
    tokens.push_back({kind, std::string(text.substr(from, at - from))});
  }
  return tokens;
}

// What stands between two operands or changes one.
bool IsKeyword(const std::string& word) {
  static const std::set<std::string> kWords = {
      "and", "or", "unless",   "bool", "offset",  "atan2",      "inf",
      "nan", "on", "ignoring", "by",   "without", "group_left", "group_right"};
  return kWords.count(Lower(word)) != 0;
}

// Words that a list of labels may follow.
bool TakesLabels(const std::string& word) {
  static const std::set<std::string> kWords = {"on",      "ignoring",   "by",
                                               "without", "group_left", "group_right"};
  return kWords.count(Lower(word)) != 0;
}

bool IsComparison(const Token& token) {
  static const std::set<std::string> kOperators = {"==", "!=", "<", "<=", ">", ">="};
  return token.kind == TokenKind::kOperator && kOperators.count(token.text) != 0;
}

bool IsWord(const Token& token, std::string_view lower) {
  return token.kind == TokenKind::kWord && Lower(token.text) == lower;
}

// Removes lists of labels and marks the aggregation before `by (…)` as called.
std::vector<Token> WithoutLabelLists(const std::vector<Token>& tokens) {
  std::vector<Token> kept;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].kind == TokenKind::kWord && TakesLabels(tokens[i].text)) {
      if (i + 1 < tokens.size() && tokens[i + 1].kind == TokenKind::kOpen) {
        while (i < tokens.size() && tokens[i].kind != TokenKind::kClose) ++i;
      }
      continue;
    }
    kept.push_back(tokens[i]);
  }
  return kept;
}

}  // namespace

PromqlShape ShapeOf(std::string_view expression) {
  PromqlShape shape;
  const std::vector<Token> tokens = WithoutLabelLists(Tokens(expression));
  std::vector<bool> parentheses;  // true: of a call
  int calls = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const Token& token = tokens[i];
    const bool called = i + 1 < tokens.size() && tokens[i + 1].kind == TokenKind::kOpen;
    if (token.kind == TokenKind::kOpen) {
      const bool call =
          i > 0 && tokens[i - 1].kind == TokenKind::kWord && !IsKeyword(tokens[i - 1].text);
      parentheses.push_back(call);
      calls += call ? 1 : 0;
    } else if (token.kind == TokenKind::kClose && !parentheses.empty()) {
      calls -= parentheses.back() ? 1 : 0;
      parentheses.pop_back();
    } else if (IsComparison(token) && !(i + 1 < tokens.size() && IsWord(tokens[i + 1], "bool"))) {
      shape.may_be_empty = true;
      shape.filters = shape.filters || calls == 0;
    } else if (token.kind == TokenKind::kWord && (!called || IsKeyword(token.text))) {
      shape.may_be_empty = shape.may_be_empty || IsWord(token, "and") || IsWord(token, "unless");
      if (IsKeyword(token.text)) continue;
      std::string selector = token.text;
      if (i + 1 < tokens.size() && tokens[i + 1].kind == TokenKind::kBraces) {
        selector += tokens[++i].text;
      }
      shape.selectors.push_back(selector);
    } else if (token.kind == TokenKind::kWord) {
      shape.may_be_empty = shape.may_be_empty || Lower(token.text).rfind("absent", 0) == 0;
    } else if (token.kind == TokenKind::kBraces) {
      shape.selectors.push_back(token.text);
    }
  }
  const bool braces = tokens.size() == 2 && tokens[1].kind == TokenKind::kBraces;
  shape.plain_selector = shape.selectors.size() == 1 && (tokens.size() == 1 || braces);
  std::vector<std::string> once;
  for (std::string& selector : shape.selectors) {
    if (std::find(once.begin(), once.end(), selector) == once.end()) {
      once.push_back(std::move(selector));
    }
  }
  shape.selectors = std::move(once);
  return shape;
}

std::string QuoteLabelValue(std::string_view value) {
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (c == '\n') {
      quoted += "\\n";
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

}  // namespace firedrill::controller
