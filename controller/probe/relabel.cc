// SPDX-License-Identifier: Apache-2.0
// Source: Prometheus' model/relabel/relabel.go (2.42 to 3.5) and notifier.Manager.Send.
#include "controller/probe/relabel.h"

#include <re2/re2.h>

#include <cctype>
#include <optional>
#include <string_view>

namespace firedrill::controller {
namespace {

using Labels = std::map<std::string, std::string>;
using Groups = std::vector<re2::StringPiece>;

constexpr int kMostGroups = 100;

bool IsWord(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

std::string Get(const Labels& labels, const std::string& name) {
  const auto found = labels.find(name);
  return found == labels.end() ? "" : found->second;
}

// A label of no value is none.
void Set(Labels& labels, const std::string& name, std::string value) {
  if (value.empty()) {
    labels.erase(name);
  } else {
    labels[name] = std::move(value);
  }
}

bool IsLabelName(const std::string& name) {
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0])) != 0) return false;
  for (const char c : name) {
    if (!IsWord(c)) return false;
  }
  return true;
}

std::string GroupOf(const RE2& pattern, const Groups& groups, const std::string& name) {
  std::size_t number = groups.size();
  if (name.find_first_not_of("0123456789") == std::string::npos) {
    if (name.size() < 4) number = std::stoul(name);
  } else if (const auto named = pattern.NamedCapturingGroups().find(name);
             named != pattern.NamedCapturingGroups().end()) {
    number = static_cast<std::size_t>(named->second);
  }
  return number < groups.size() ? std::string(groups[number].data(), groups[number].size()) : "";
}

// Go's Regexp.Expand: $1, ${1}, $name, ${name}, $$; of `$1x` the name is `1x`.
std::string Expand(const RE2& pattern, const Groups& groups, std::string_view text) {
  std::string expanded;
  while (!text.empty()) {
    if (text[0] != '$' || text.size() < 2) {
      expanded += text[0];
      text.remove_prefix(1);
      continue;
    }
    if (text[1] == '$') {
      expanded += '$';
      text.remove_prefix(2);
      continue;
    }
    const std::size_t begin = text[1] == '{' ? 2 : 1;
    std::size_t end = begin;
    while (end < text.size() && IsWord(text[end])) ++end;
    const bool closed = begin == 1 || (end < text.size() && text[end] == '}');
    if (end == begin || !closed) {  // no reference: the sign stands for itself
      expanded += '$';
      text.remove_prefix(1);
      continue;
    }
    expanded += GroupOf(pattern, groups, std::string(text.substr(begin, end - begin)));
    text.remove_prefix(begin == 1 ? end : end + 1);
  }
  return expanded;
}

// The pattern matches as a whole, as Prometheus anchors it; nullopt: it does not.
std::optional<Groups> Match(const RE2& pattern, const std::string& text) {
  Groups groups(static_cast<std::size_t>(pattern.NumberOfCapturingGroups()) + 1);
  if (!pattern.Match(text, 0, text.size(), RE2::ANCHOR_BOTH, groups.data(),
                     static_cast<int>(groups.size()))) {
    return std::nullopt;
  }
  return groups;
}

// Go knows the cases of all scripts.
void SetWithCase(const RelabelStep& step, std::string text, int (*change)(int), SentAlert& alert) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) alert.known = false;
    c = static_cast<char>(change(static_cast<unsigned char>(c)));
  }
  Set(alert.labels, step.target_label, alert.known ? std::move(text) : "");
}

void MapLabels(const RelabelStep& step, const RE2& pattern, Labels& labels) {
  const Labels before = labels;
  for (const auto& [name, value] : before) {
    if (const auto groups = Match(pattern, name)) {
      Set(labels, Expand(pattern, *groups, step.replacement), value);
    }
  }
}

void DropLabels(const RE2& pattern, bool matching, Labels& labels) {
  for (auto label = labels.begin(); label != labels.end();) {
    label = Match(pattern, label->first).has_value() == matching ? labels.erase(label)
                                                                 : std::next(label);
  }
}

void Apply(const RelabelStep& step, SentAlert& alert) {
  Labels& labels = alert.labels;
  const RE2 pattern(step.regex, RE2::Quiet);
  if (!pattern.ok() || pattern.NumberOfCapturingGroups() >= kMostGroups) {
    alert.known = false;
    labels.erase(step.target_label);
    return;
  }
  std::string value;
  for (const std::string& source : step.source_labels) {
    value += (&source == step.source_labels.data() ? "" : step.separator) + Get(labels, source);
  }
  const std::string& action = step.action;
  if (action == "drop" || action == "keep") {
    alert.sent = Match(pattern, value).has_value() == (action == "keep");
  } else if (action == "dropequal" || action == "keepequal") {
    alert.sent = (Get(labels, step.target_label) == value) == (action == "keepequal");
  } else if (action == "labeldrop" || action == "labelkeep") {
    DropLabels(pattern, action == "labeldrop", labels);
  } else if (action == "labelmap") {
    MapLabels(step, pattern, labels);
  } else if (action == "lowercase") {
    SetWithCase(step, std::move(value), std::tolower, alert);
  } else if (action == "uppercase") {
    SetWithCase(step, std::move(value), std::toupper, alert);
  } else if (action == "replace") {
    const auto groups = Match(pattern, value);
    if (!groups) return;
    const std::string target = Expand(pattern, *groups, step.target_label);
    if (IsLabelName(target)) Set(labels, target, Expand(pattern, *groups, step.replacement));
  } else {  // hashmod, and what later versions may bring
    alert.known = false;
    labels.erase(step.target_label);
  }
}

}  // namespace

SentAlert SentAs(const AlertPath& path, std::map<std::string, std::string> labels) {
  SentAlert alert;
  alert.known = path.known;
  alert.labels = std::move(labels);
  alert.labels.insert(path.external_labels.begin(), path.external_labels.end());
  for (const RelabelStep& step : path.steps) {
    Apply(step, alert);
    if (!alert.sent) break;
  }
  return alert;
}

}  // namespace firedrill::controller
