// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/commands/inject_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "controller/experiment/codecs.h"
#include "proto/support/field_rules.h"
#include "proto/support/problem.h"

namespace firedrill::cli {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// ports is --port, given once for each; addresses is --address.
std::string FlagName(const FieldDescriptor& field) {
  std::string name = field.name();
  if (field.is_repeated() && absl::EndsWith(name, "sses")) {
    name.resize(name.size() - 2);
  } else if (field.is_repeated() && absl::EndsWith(name, "s")) {
    name.resize(name.size() - 1);
  }
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

// What a field's values mean: "add: burn so much; fill: …".
std::string ValueHelp(const FieldDescriptor& field) {
  if (field.enum_type() == nullptr) return "";
  std::vector<std::string> parts;
  for (int i = 0; i < field.enum_type()->value_count(); ++i) {
    const auto& value = *field.enum_type()->value(i);
    const std::string& help = RulesOf(value).help();
    if (!help.empty()) parts.push_back(EnumText(value) + ": " + help);
  }
  return absl::StrJoin(parts, "; ");
}

std::string Help(const FieldDescriptor& field) {
  const v1::FieldRules& rules = RulesOf(field);
  std::string help = rules.help();
  if (rules.required()) help += "; needed";
  const std::string limits = LimitsText(field);
  if (!limits.empty()) help += "; " + limits;
  if (!rules.default_text().empty()) help += fmt::format(" (default: {})", rules.default_text());
  if (field.is_repeated()) help += "; may be repeated";
  const std::string values = ValueHelp(field);
  return values.empty() ? help : help + ". " + values;
}

// The two messages that most faults have stand for themselves: traffic.ports is --port,
// processes.name is --name. All others keep their own name in front: --exclude-port, --owner-name.
bool StandsForItself(const FieldDescriptor& field) {
  return field.name() == "traffic" || field.name() == "processes";
}

// What inject and preview take for themselves, whatever the kind.
const std::set<std::string>& Reserved() {
  static const std::set<std::string> names = {
      "target", "host",     "target-pick", "duration",   "environment", "longest",
      "print",  "detach",   "output",      "controller", "ca",          "cert",
      "key",    "insecure", "help",        "for",        "no-color"};
  return names;
}

// What the messages on the way to the field say of it: "Never touch these."
std::string Context(const std::vector<const FieldDescriptor*>& path) {
  std::string text;
  for (std::size_t i = 1; i + 1 < path.size(); ++i) {
    if (!StandsForItself(*path[i])) text += RulesOf(*path[i]).help() + ". ";
  }
  return text;
}

void Collect(const Descriptor& type, const std::string& prefix,
             std::vector<const FieldDescriptor*>* path, std::vector<FaultFlag>* flags) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    path->push_back(&field);
    if (controller::IsScalar(field)) {
      // A switch needs no value: what is left out is false.
      const bool is_switch = field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL;
      Option option{prefix + FlagName(field), is_switch ? "" : controller::ValueKind(field),
                    Context(*path) + Help(field), 0, field.is_repeated()};
      std::replace(option.value.begin(), option.value.end(), ' ', '-');
      if (option.value.find('|') == std::string::npos) absl::AsciiStrToUpper(&option.value);
      if (field.enum_type() != nullptr) option.choices = EnumTexts(*field.enum_type());
      flags->push_back({std::move(option), *path});
    } else {
      const std::string below = StandsForItself(field) ? prefix : prefix + FlagName(field) + "-";
      Collect(*field.message_type(), below, path, flags);
    }
    path->pop_back();
  }
}

// Of two of one name the one nearer to the fault keeps it, and what the command itself takes is the
// command's; the other gets its message's name in front: --traffic-host.
void ResolveCollisions(std::vector<FaultFlag>* flags) {
  std::set<std::string> taken = Reserved();
  std::vector<FaultFlag*> nearest_first;
  for (FaultFlag& flag : *flags) nearest_first.push_back(&flag);
  std::stable_sort(
      nearest_first.begin(), nearest_first.end(),
      [](const FaultFlag* a, const FaultFlag* b) { return a->path.size() < b->path.size(); });
  for (FaultFlag* flag : nearest_first) {
    for (std::size_t up = 2; !taken.insert(flag->option.name).second; ++up) {
      const bool any = flag->path.size() >= up;
      flag->option.name =
          (any ? FlagName(*flag->path[flag->path.size() - up]) : "fault") + "-" + flag->option.name;
    }
  }
}

}  // namespace

std::string FaultFlag::FieldPath() const {
  std::string text;
  for (const FieldDescriptor* field : path) text = JoinPath(text, field->name());
  return text;
}

const FieldDescriptor* FindFault(const std::string& kind) {
  std::string name = kind;
  std::replace(name.begin(), name.end(), '-', '_');
  return v1::Fault::descriptor()->FindFieldByName(name);
}

std::vector<FaultFlag> FaultFlags(const FieldDescriptor& kind) {
  std::vector<FaultFlag> flags;
  std::vector<const FieldDescriptor*> path = {&kind};
  Collect(*kind.message_type(), "", &path, &flags);
  ResolveCollisions(&flags);
  return flags;
}

absl::StatusOr<v1::Fault> FaultFromFlags(const FieldDescriptor& kind, const Arguments& arguments) {
  v1::Fault fault;
  fault.GetReflection()->MutableMessage(&fault, &kind);
  for (const FaultFlag& flag : FaultFlags(kind)) {
    for (const std::string& given : arguments.All(flag.option.name)) {
      Message* message = &fault;
      for (std::size_t i = 0; i + 1 < flag.path.size(); ++i) {
        message = message->GetReflection()->MutableMessage(message, flag.path[i]);
      }
      const FieldDescriptor& field = *flag.path.back();
      const std::vector<std::string> values =
          field.is_repeated() ? absl::StrSplit(given, ',') : std::vector<std::string>{given};
      for (const std::string& value : values) {
        const absl::Status set = controller::SetFromText(message, field, value);
        if (set.ok()) continue;
        return absl::InvalidArgumentError(fmt::format("--{}: found {}; {}", flag.option.name,
                                                      Quoted(value), std::string(set.message())));
      }
    }
  }
  return fault;
}

}  // namespace firedrill::cli
