// SPDX-License-Identifier: Apache-2.0
#include "controller/experiment/yaml_bounds.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <istream>
#include <sstream>

namespace firedrill::controller {
namespace {

constexpr int kMostNodes = 10'000;
constexpr int kMostAliases = 100;
constexpr int kDeepest = 32;

Place PlaceOf(const YAML::Mark& mark) {
  return mark.is_null() ? Place{} : Place{mark.line + 1, mark.column + 1};
}

// Thrown out of the parser and caught below: the only way to stop it.
struct Stop {
  YamlRefusal refusal;
};

class Bounds : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) {
      throw Stop{{PlaceOf(mark), "found a second document (---)", "one experiment a file"}};
    }
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override { Count(mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    Count(mark);
    if (++aliases_ > kMostAliases) {
      throw Stop{{PlaceOf(mark), fmt::format("found more than {} aliases", kMostAliases),
                  "write the values out"}};
    }
  }
  void OnScalar(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t /*anchor*/,
                const std::string& /*value*/) override {
    Count(mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& /*tag*/,
                       YAML::anchor_t /*anchor*/, YAML::EmitterStyle::value /*style*/) override {
    Enter(mark);
  }
  void OnSequenceEnd() override { --depth_; }
  void OnMapStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t /*anchor*/,
                  YAML::EmitterStyle::value /*style*/) override {
    Enter(mark);
  }
  void OnMapEnd() override { --depth_; }

 private:
  void Count(const YAML::Mark& mark) {
    if (++nodes_ > kMostNodes) {
      throw Stop{
          {PlaceOf(mark), fmt::format("found more than {} values", kMostNodes), "a smaller file"}};
    }
  }
  void Enter(const YAML::Mark& mark) {
    Count(mark);
    if (++depth_ > kDeepest) {
      throw Stop{{PlaceOf(mark), fmt::format("found more than {} levels", kDeepest),
                  "fewer levels of nesting"}};
    }
  }

  int documents_ = 0;
  int nodes_ = 0;
  int aliases_ = 0;
  int depth_ = 0;
};

// True if the marked line, or the one before it, is indented by a tab.
bool HasTab(std::string_view text, const YAML::Mark& mark) {
  if (mark.is_null()) return false;
  int number = 0;
  for (std::size_t start = 0; start < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view line = text.substr(start, end - start);
    const std::size_t indent = std::min(line.find_first_not_of(" \t"), line.size());
    if (number >= mark.line - 1 && number <= mark.line &&
        line.substr(0, indent).find('\t') != std::string_view::npos) {
      return true;
    }
    start = end + 1;
  }
  return false;
}

// The parser's words, where people stumble, in ours.
std::string Advice(const std::string& message, std::string_view text, const YAML::Mark& mark) {
  if (HasTab(text, mark)) return "indent by spaces, not tabs";
  if (message.find("flow not found") != std::string::npos) {
    return "a [ or { is not closed before here";
  }
  if (message.find("illegal map value") != std::string::npos ||
      message.find("end of map not found") != std::string::npos) {
    return "is the indentation right, and is a value that holds \": \" in quotes?";
  }
  if (message.find("illegal EOF in scalar") != std::string::npos) {
    return "a quotation mark is not closed";
  }
  if (message.find("block scalar") != std::string::npos) {
    return "put a value that begins with > or | in quotes, such as \">= 0.99\"";
  }
  if (message.find("unknown token") != std::string::npos) {
    return "put the value in quotes (it begins with a character that means something in YAML)";
  }
  if (message.find("anchor") != std::string::npos) return "every alias needs its anchor before it";
  return "write it as YAML: field: value, two spaces for each level";
}

// Bytes that the character at the front takes; 0 if it is none that a text holds.
std::size_t CharacterLength(std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  if (first < 0x80) {
    const bool printable = first >= 0x20 && first != 0x7f;
    return printable || first == '\t' || first == '\n' || first == '\r' ? 1 : 0;
  }
  const std::size_t length = first >= 0xf5   ? 0
                             : first >= 0xf0 ? 4
                             : first >= 0xe0 ? 3
                             : first >= 0xc2 ? 2
                                             : 0;
  if (length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
  }
  return length;
}

// A program, a picture, a key: named as such before a parser makes something of it.
std::optional<YamlRefusal> CheckText(std::string_view text) {
  Place place{1, 1};
  while (!text.empty()) {
    const std::size_t length = CharacterLength(text);
    if (length == 0) {
      return YamlRefusal{place, "found bytes that are no text",
                         "an experiment is YAML in UTF-8; is this the right file?"};
    }
    ++place.column;
    if (text.front() == '\n') place = {place.line + 1, 1};
    text.remove_prefix(length);
  }
  return std::nullopt;
}

}  // namespace

std::optional<YamlRefusal> CheckYaml(std::string_view text) {
  if (std::optional<YamlRefusal> refusal = CheckText(text); refusal.has_value()) return refusal;
  std::istringstream stream{std::string(text)};
  Bounds bounds;
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(bounds)) {
    }
  } catch (const Stop& stop) {
    return stop.refusal;
  } catch (const YAML::Exception& error) {
    return YamlRefusal{PlaceOf(error.mark), "found no YAML (" + error.msg + ")",
                       Advice(error.msg, text, error.mark)};
  }
  return std::nullopt;
}

}  // namespace firedrill::controller
