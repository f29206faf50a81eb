// SPDX-License-Identifier: Apache-2.0
#include "controller/experiment/yaml_walker.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "controller/experiment/codecs.h"
#include "google/protobuf/descriptor.h"
#include "proto/support/field_rules.h"

namespace firedrill::controller {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr int kMostVisits = 20'000;
constexpr int kDeepest = 32;

Place PlaceOf(const YAML::Mark& mark) {
  return mark.is_null() ? Place{} : Place{mark.line + 1, mark.column + 1};
}

std::string KindOf(const YAML::Node& node) {
  if (node.IsMap()) return "a map";
  if (node.IsSequence()) return "a list";
  if (node.IsScalar()) return Quoted(node.Scalar());
  return "nothing";
}

bool IsBelow(const std::string& path, const std::string& parent) {
  if (parent.empty()) return true;
  return path.size() > parent.size() && absl::StartsWith(path, parent) &&
         (path[parent.size()] == '.' || path[parent.size()] == '[');
}

std::vector<std::string> FieldNames(const Descriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i) names.push_back(type.field(i)->name());
  return names;
}

// traffic.ports, where packet_loss has no ports but its traffic does.
std::string FindBelow(const Descriptor& type, const std::string& name, int levels) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.is_repeated() || IsScalar(field)) continue;
    if (field.message_type()->FindFieldByName(name) != nullptr) return field.name() + "." + name;
    if (levels <= 1) continue;
    const std::string deeper = FindBelow(*field.message_type(), name, levels - 1);
    if (!deeper.empty()) return field.name() + "." + deeper;
  }
  return "";
}

// What to do about a field that is named and given no value.
std::string WhereEmpty(const FieldDescriptor& field) {
  const v1::FieldRules& rules = RulesOf(field);
  if (!rules.required()) return "give a value, or leave the field out";
  return "a value is needed" + (rules.example().empty() ? "" : ", such as " + rules.example());
}

std::string ExampleText(const FieldDescriptor& field) {
  const std::string& example = RulesOf(field).example();
  return example.empty() ? "" : ", such as " + example;
}

}  // namespace

void YamlWalker::Read(const YAML::Node& root, Message* message) {
  places_[""] = PlaceOf(root.Mark());
  if (root.IsNull()) {
    std::vector<std::string> needed;
    for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
      const FieldDescriptor& field = *message->GetDescriptor()->field(i);
      if (RulesOf(field).required()) needed.push_back(field.name());
    }
    return Add(root.Mark(), "", "found an empty file",
               fmt::format("needed at least: {}", fmt::join(needed, ", ")));
  }
  ReadMessage(root, message, "");
}

bool YamlWalker::Explains(const Problem& problem) const {
  for (const auto& [place, known] : problems_) {
    if (known.field == problem.field ||
        (!known.field.empty() && IsBelow(problem.field, known.field)) ||
        (problem.missing && IsBelow(known.field, problem.field))) {
      return true;
    }
  }
  return problem.missing && silenced_.count(problem.field) > 0;
}

Place YamlWalker::Find(const std::string& path) const {
  std::string at = path;
  while (true) {
    if (const auto found = places_.find(at); found != places_.end()) return found->second;
    const auto cut = at.find_last_of(".[");
    if (cut == std::string::npos) break;
    at.resize(cut);
  }
  const auto root = places_.find("");
  return root == places_.end() ? Place{} : root->second;
}

void YamlWalker::Add(const YAML::Mark& mark, const std::string& path, std::string found,
                     std::string allowed) {
  problems_.push_back({PlaceOf(mark), {path, std::move(found), std::move(allowed), false}});
}

bool YamlWalker::Bounded(const YAML::Node& node, const std::string& path) {
  if (++visited_ > kMostVisits || depth_ > kDeepest) {
    if (visited_ <= kMostVisits + 1 || depth_ > kDeepest) {
      Add(node.Mark(), path, "found aliases that unfold without bounds", "write the values out");
    }
    visited_ = kMostVisits + 1;
    return false;
  }
  return true;
}

void YamlWalker::ReadMessage(const YAML::Node& node, Message* message, const std::string& path) {
  if (!Bounded(node, path)) return;
  const Descriptor& type = *message->GetDescriptor();
  if (!node.IsMap()) {
    return Add(node.Mark(), path, "found " + KindOf(node),
               "allowed: a map of " + OneOf(FieldNames(type)));
  }
  ++depth_;
  parents_.emplace_back(path, &type);
  std::set<std::string> seen;
  for (const auto& entry : node) {
    const YAML::Node& key = entry.first;
    if (!key.IsScalar()) {
      Add(key.Mark(), path, "found " + KindOf(key) + " as a field's name",
          "allowed: " + OneOf(FieldNames(type)));
      continue;
    }
    const std::string name = key.Scalar();
    const std::string at = KeyPath(path, name);
    const FieldDescriptor* field = type.FindFieldByName(name);
    if (!seen.insert(name).second) {
      Add(key.Mark(), at, "found a second time", "each field once");
    } else if (field == nullptr) {
      Unknown(key.Mark(), type, path, name);
    } else if (OpensOneof(key.Mark(), *message, *field, at)) {
      places_[at] = PlaceOf(entry.second.IsNull() ? key.Mark() : entry.second.Mark());
      if (entry.second.IsNull()) {
        Add(key.Mark(), at, "found nothing", WhereEmpty(*field));
      } else {
        ReadField(entry.second, message, *field, at);
      }
    }
  }
  parents_.pop_back();
  --depth_;
}

bool YamlWalker::OpensOneof(const YAML::Mark& mark, const Message& message,
                            const FieldDescriptor& field, const std::string& path) {
  const google::protobuf::OneofDescriptor* oneof = field.real_containing_oneof();
  if (oneof == nullptr) return true;
  const FieldDescriptor* other = message.GetReflection()->GetOneofFieldDescriptor(message, oneof);
  if (other == nullptr) return true;
  Add(mark, path, fmt::format("found a second {} beside {}", oneof->name(), other->name()),
      "one in each step; put the other in a step of its own (at: makes two start together)");
  return false;
}

void YamlWalker::Unknown(const YAML::Mark& mark, const Descriptor& type, const std::string& path,
                         const std::string& name) {
  const std::string at = KeyPath(path, name);
  const std::string found =
      type.field_count() > 0 && type.field(0)->real_containing_oneof() != nullptr
          ? "unknown " + type.field(0)->real_containing_oneof()->name()
          : "unknown field";
  const std::vector<std::string> names = FieldNames(type);
  const std::string all = "allowed: " + OneOf(names);
  if (const std::string below = FindBelow(type, name, 2); !below.empty()) {
    silenced_.insert(JoinPath(path, below));
    return Add(mark, at, found, fmt::format("did you mean {}? {}", below, all));
  }
  // The innermost parent but this one that has such a field.
  for (auto parent = parents_.rbegin() + 1; parent < parents_.rend(); ++parent) {
    if (parent->second->FindFieldByName(name) == nullptr) continue;
    const std::string meant = JoinPath(parent->first, name);
    silenced_.insert(meant);
    return Add(mark, at, found, fmt::format("did you mean {}? {}", meant, all));
  }
  const std::string nearest = Nearest(name, names);
  if (!nearest.empty()) silenced_.insert(JoinPath(path, nearest));
  Add(mark, at, found, SuggestFrom(name, names));
}

void YamlWalker::ReadField(const YAML::Node& node, Message* message, const FieldDescriptor& field,
                           const std::string& path) {
  if (field.is_map()) {
    ReadMap(node, message, field, path);
  } else if (field.is_repeated()) {
    ReadList(node, message, field, path);
  } else {
    ReadValue(node, message, field, path);
  }
}

void YamlWalker::ReadList(const YAML::Node& node, Message* message, const FieldDescriptor& field,
                          const std::string& path) {
  if (!node.IsSequence()) {
    const std::string hint = node.IsScalar()
                                 ? fmt::format("allowed: a list, such as [{}]", node.Scalar())
                                 : "allowed: a list, each entry after a dash" + ExampleText(field);
    return Add(node.Mark(), path, "found " + KindOf(node), hint);
  }
  const google::protobuf::Reflection& reflection = *message->GetReflection();
  int line = 0;  // counted as the file's reader counts; refused values are not in the message
  for (const YAML::Node& entry : node) {
    const std::string at = IndexPath(path, line++);
    places_[IndexPath(path, reflection.FieldSize(*message, &field))] = PlaceOf(entry.Mark());
    if (!entry.IsNull()) {
      ReadValue(entry, message, field, at);
      continue;
    }
    Add(entry.Mark(), at, "found nothing", "give a value, or leave the entry out");
    if (!IsScalar(field)) reflection.AddMessage(message, &field);  // keeps the count of the others
  }
}

void YamlWalker::ReadMap(const YAML::Node& node, Message* message, const FieldDescriptor& field,
                         const std::string& path) {
  const FieldDescriptor& key_field = *field.message_type()->map_key();
  const FieldDescriptor& value_field = *field.message_type()->map_value();
  if (!node.IsMap()) {
    return Add(node.Mark(), path, "found " + KindOf(node),
               "allowed: a map of names to values" + ExampleText(field));
  }
  std::set<std::string> seen;
  for (const auto& entry : node) {
    if (!Bounded(entry.first, path)) return;
    if (!entry.first.IsScalar()) {
      Add(entry.first.Mark(), path, "found " + KindOf(entry.first) + " as a name",
          "allowed: a plain name");
      continue;
    }
    const std::string name = entry.first.Scalar();
    const std::string at = KeyPath(path, name);
    places_[at] = PlaceOf(entry.first.Mark());
    if (!seen.insert(name).second) {
      Add(entry.first.Mark(), at, "found a second time", "each name once");
      continue;
    }
    if (entry.second.IsNull()) {
      Add(entry.first.Mark(), at, "found nothing", "give a value, or leave the name out");
      continue;
    }
    Message* to = message->GetReflection()->AddMessage(message, &field);
    to->GetReflection()->SetString(to, &key_field, name);
    ReadValue(entry.second, to, value_field, at);
  }
}

void YamlWalker::ReadValue(const YAML::Node& node, Message* message, const FieldDescriptor& field,
                           const std::string& path) {
  if (!Bounded(node, path)) return;
  const google::protobuf::Reflection& reflection = *message->GetReflection();
  if (!IsScalar(field)) {
    // Set even where it turns out empty: that it was named counts.
    return ReadMessage(node,
                       field.is_repeated() ? reflection.AddMessage(message, &field)
                                           : reflection.MutableMessage(message, &field),
                       path);
  }
  if (!node.IsScalar()) {
    return Add(node.Mark(), path, "found " + KindOf(node),
               fmt::format("allowed: one {}{}", ValueKind(field), ExampleText(field)));
  }
  const std::string text = node.Scalar();
  if (const absl::Status set = SetFromText(message, field, text); !set.ok()) {
    return Add(node.Mark(), path, text.empty() ? "found an empty text" : "found " + Quoted(text),
               text.empty() ? WhereEmpty(field) : std::string(set.message()));
  }
  // Zero is also what an absent number is: only the file shows that it was meant.
  const v1::FieldRules& rules = RulesOf(field);
  if (!field.has_presence() && !field.is_repeated() && !reflection.HasField(*message, &field) &&
      rules.has_minimum() && rules.minimum() > 0) {
    Add(node.Mark(), path, "found " + text, "allowed: " + LimitsText(field));
  }
}

}  // namespace firedrill::controller
