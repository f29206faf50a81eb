// SPDX-License-Identifier: Apache-2.0
// Source: Prometheus' model/relabel/relabel.go (2.42 to 3.5) and notifier.Manager.Send. In what 2
// and 3 differ (whether a dot matches the end of a line, the names that a target may have) the
// value is not known.
#include "controller/probe/relabel.h"

#include <re2/re2.h>

#include <cctype>
#include <optional>
#include <string_view>
#include <utility>

namespace firedrill::controller {
namespace {

// nullopt: whether there is one, and which, is not known.
using Value = std::optional<std::string>;
using Labels = std::map<std::string, Value>;
using Groups = std::vector<re2::StringPiece>;

constexpr int kMostGroups = 100;
// Of what comes out of a step. A configuration may double an alert's labels with each.
constexpr std::size_t kMostLabels = 256;
constexpr std::size_t kMostBytes = 64 << 10;
constexpr std::int64_t kMostPatternBytes = 1 << 20;  // of memory, for one

bool IsWord(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// As Prometheus 2 has it; 3 takes others too.
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

// Go's Regexp.Expand: $1, ${1}, $name, ${name}, $$; of `$1x` the name is `1x`. nullopt: too long.
Value Expand(const RE2& pattern, const Groups& groups, std::string_view text) {
  std::string expanded;
  while (!text.empty()) {
    if (expanded.size() > kMostBytes) return std::nullopt;
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
  return expanded.size() > kMostBytes ? Value() : expanded;
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
Value InCase(Value text, int (*change)(int)) {
  if (!text) return text;
  for (char& c : *text) {
    if (static_cast<unsigned char>(c) >= 0x80) return std::nullopt;
    c = static_cast<char>(change(static_cast<unsigned char>(c)));
  }
  return text;
}

// One alert on its way.
class Passage {
 public:
  Passage(const AlertPath& path, const std::map<std::string, std::string>& labels, bool complete)
      : labels_(labels.begin(), labels.end()), complete_(complete), known_(path.known) {
    labels_.insert(path.external_labels.begin(), path.external_labels.end());
    Bound();
    for (const RelabelStep& step : path.steps) {
      if (!sent_ || lost_) break;
      Apply(step);
      Bound();
    }
  }

  SentAlert Result() && {
    SentAlert alert;
    alert.sent = sent_;
    alert.known = known_ && !lost_;
    for (auto& [name, value] : labels_) {
      if (value) {
        alert.labels.emplace(name, *std::move(value));
      } else {
        alert.known = false;
      }
    }
    return alert;
  }

 private:
  Value Get(const std::string& name) const {
    const auto found = labels_.find(name);
    if (found != labels_.end()) return found->second;
    return complete_ ? Value("") : std::nullopt;
  }

  // A label of no value is none.
  void Set(const std::string& name, Value value) {
    if (value && value->empty()) {
      labels_.erase(name);
    } else {
      labels_[name] = std::move(value);
    }
  }

  // None of the labels is known any more.
  void Lose() {
    lost_ = true;
    labels_.clear();
  }

  void Bound() {
    std::size_t bytes = 0;
    for (const auto& [name, value] : labels_) bytes += name.size() + (value ? value->size() : 0);
    if (labels_.size() > kMostLabels || bytes > kMostBytes) Lose();
  }

  Value SourceOf(const RelabelStep& step) const {
    std::string joined;
    for (const std::string& source : step.source_labels) {
      const Value value = Get(source);
      if (!value || joined.size() > kMostBytes) return std::nullopt;
      if (&source != step.source_labels.data()) joined += step.separator;
      joined += *value;
    }
    return joined;
  }

  void Decide(std::optional<bool> passes) {
    if (passes && complete_) {
      sent_ = *passes;
    } else {
      known_ = false;
    }
  }

  void Replace(const RelabelStep& step, const Value& source) {
    if (!source) {
      if (step.target_label.find('$') != std::string::npos) return Lose();
      return Set(step.target_label, std::nullopt);
    }
    const auto groups = Match(*step.pattern, *source);
    if (!groups) return;
    const Value target = Expand(*step.pattern, *groups, step.target_label);
    if (!target) return Lose();
    if (target->empty()) return;
    // A name that was written so is one to this Prometheus.
    const bool named = IsLabelName(*target) || *target == step.target_label;
    Set(*target, named ? Expand(*step.pattern, *groups, step.replacement) : std::nullopt);
  }

  void MapLabels(const RelabelStep& step) {
    const Labels before = labels_;
    for (const auto& [name, value] : before) {
      const auto groups = Match(*step.pattern, name);
      if (!groups) continue;
      const Value target = Expand(*step.pattern, *groups, step.replacement);
      if (!target) return Lose();
      Set(*target, value);
    }
  }

  void DropLabels(const RE2& pattern, bool matching) {
    for (auto label = labels_.begin(); label != labels_.end();) {
      const bool drop = Match(pattern, label->first).has_value() == matching;
      label = drop ? labels_.erase(label) : std::next(label);
    }
  }

  void ApplyToNames(const RelabelStep& step) {
    if (step.pattern == nullptr) return Lose();
    if (step.action == "labelmap") return MapLabels(step);
    DropLabels(*step.pattern, step.action == "labeldrop");
  }

  void Apply(const RelabelStep& step) {
    const std::string& action = step.action;
    if (action == "labeldrop" || action == "labelkeep" || action == "labelmap") {
      return ApplyToNames(step);
    }
    const Value source = SourceOf(step);
    const bool matchable =
        source && step.pattern != nullptr && source->find('\n') == std::string::npos;
    if (action == "drop" || action == "keep") {
      Decide(matchable
                 ? std::optional(Match(*step.pattern, *source).has_value() == (action == "keep"))
                 : std::nullopt);
    } else if (action == "dropequal" || action == "keepequal") {
      const Value target = Get(step.target_label);
      Decide(source && target ? std::optional((*source == *target) == (action == "keepequal"))
                              : std::nullopt);
    } else if (action == "lowercase") {
      Set(step.target_label, InCase(source, std::tolower));
    } else if (action == "uppercase") {
      Set(step.target_label, InCase(source, std::toupper));
    } else if (action == "hashmod") {
      Set(step.target_label, std::nullopt);
    } else if (action == "replace") {
      Replace(step, matchable ? source : std::nullopt);
    } else {  // what later versions may bring
      Lose();
    }
  }

  Labels labels_;
  const bool complete_;
  bool known_;  // but for single labels
  bool sent_ = true;
  bool lost_ = false;
};

}  // namespace

RelabelStep Compiled(RelabelStep step) {
  RE2::Options options(RE2::Quiet);
  options.set_dot_nl(true);  // names alone may have an end of a line here, those of Prometheus 3
  options.set_max_mem(kMostPatternBytes);
  auto pattern = std::make_shared<const RE2>(step.regex, options);
  step.pattern.reset();
  if (pattern->ok() && pattern->NumberOfCapturingGroups() < kMostGroups) {
    step.pattern = std::move(pattern);
  }
  return step;
}

SentAlert SentAs(const AlertPath& path, const std::map<std::string, std::string>& labels,
                 bool complete) {
  return Passage(path, labels, complete).Result();
}

}  // namespace firedrill::controller
