// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/promql.h"

#include <algorithm>
#include <cstddef>
#include <set>

namespace firedrill::controller {
namespace {

using Token = PromqlToken;
using TokenKind = PromqlTokenKind;

std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
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

// Whether the operand that begins at `at` may be a vector: no number, also none in parentheses.
bool IsVector(const std::vector<Token>& tokens, std::size_t at) {
  while (at < tokens.size() && tokens[at].kind == TokenKind::kOpen) ++at;
  return at < tokens.size() &&
         (tokens[at].kind == TokenKind::kWord || tokens[at].kind == TokenKind::kBraces);
}

// Of equal ones only the first stays.
void KeepFirst(std::vector<std::string>* texts) {
  std::vector<std::string> once;
  for (std::string& text : *texts) {
    if (std::find(once.begin(), once.end(), text) == once.end()) once.push_back(std::move(text));
  }
  *texts = std::move(once);
}

}  // namespace

bool IsPromqlKeyword(const std::string& word) {
  static const std::set<std::string> kWords = {
      "and", "or", "unless",   "bool", "offset",  "atan2",      "inf",
      "nan", "on", "ignoring", "by",   "without", "group_left", "group_right"};
  return kWords.count(Lower(word)) != 0;
}

std::vector<PromqlToken> PromqlOperands(std::string_view expression) {
  const std::vector<Token> tokens = PromqlTokens(expression);
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

PromqlShape ShapeOf(std::string_view expression) {
  PromqlShape shape;
  const std::vector<Token> tokens = PromqlOperands(expression);
  std::vector<bool> parentheses;  // true: of a call
  int calls = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const Token& token = tokens[i];
    const bool called = i + 1 < tokens.size() && tokens[i + 1].kind == TokenKind::kOpen;
    if (token.kind == TokenKind::kOpen) {
      const bool call =
          i > 0 && tokens[i - 1].kind == TokenKind::kWord && !IsPromqlKeyword(tokens[i - 1].text);
      parentheses.push_back(call);
      calls += call ? 1 : 0;
    } else if (token.kind == TokenKind::kClose && !parentheses.empty()) {
      calls -= parentheses.back() ? 1 : 0;
      parentheses.pop_back();
    } else if (IsComparison(token) && !(i + 1 < tokens.size() && IsWord(tokens[i + 1], "bool"))) {
      shape.may_be_empty = true;
      shape.filters = shape.filters || calls == 0;
    } else if (token.kind == TokenKind::kWord && (!called || IsPromqlKeyword(token.text))) {
      shape.may_be_empty = shape.may_be_empty || IsWord(token, "and") || IsWord(token, "unless");
      if (IsPromqlKeyword(token.text)) continue;
      std::string selector = token.text;
      if (i + 1 < tokens.size() && tokens[i + 1].kind == TokenKind::kBraces) {
        selector += tokens[++i].text;
      }
      shape.selectors.push_back(selector);
    } else if (token.kind == TokenKind::kWord) {
      shape.functions.push_back(Lower(token.text));
      shape.may_be_empty = shape.may_be_empty || shape.functions.back().rfind("absent", 0) == 0;
    } else if (token.kind == TokenKind::kBraces) {
      shape.selectors.push_back(token.text);
    } else if (token.text == "/") {
      shape.divides = shape.divides || IsVector(tokens, i + 1);
    }
  }
  const bool braces = tokens.size() == 2 && tokens[1].kind == TokenKind::kBraces;
  shape.plain_selector = shape.selectors.size() == 1 && (tokens.size() == 1 || braces);
  KeepFirst(&shape.selectors);
  KeepFirst(&shape.functions);
  return shape;
}

std::string QuoteLabelName(std::string_view name) {
  const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
  return plain && !(name[0] >= '0' && name[0] <= '9') ? std::string(name) : QuoteLabelValue(name);
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
