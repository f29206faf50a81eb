// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/commands/inject_flags.h"

#include <fmt/format.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "controller/experiment/codecs.h"
#include "proto/support/field_rules.h"
#include "proto/support/problem.h"

namespace firedrill::cli {
namespace {

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

std::string Help(const FieldDescriptor& field) {
  const v1::FieldRules& rules = RulesOf(field);
  std::string help = rules.help();
  if (rules.required()) help += "; needed";
  const std::string limits = LimitsText(field);
  if (!limits.empty()) help += "; " + limits;
  if (!rules.default_text().empty()) help += fmt::format(" (default: {})", rules.default_text());
  if (field.is_repeated()) help += "; may be repeated";
  return help;
}

void Collect(const google::protobuf::Descriptor& type, const std::string& prefix,
             std::vector<const FieldDescriptor*>* path, std::vector<FaultFlag>* flags) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    path->push_back(&field);
    if (controller::IsScalar(field)) {
      Option option{prefix + FlagName(field), controller::ValueKind(field), Help(field), 0,
                    field.is_repeated()};
      std::replace(option.value.begin(), option.value.end(), ' ', '-');
      if (option.value.find('|') == std::string::npos) absl::AsciiStrToUpper(&option.value);
      if (!prefix.empty()) option.help = "Never touch these. " + option.help;
      if (field.enum_type() != nullptr) option.choices = EnumTexts(*field.enum_type());
      flags->push_back({std::move(option), *path});
    } else {
      // Only what reads backwards without its parent keeps the parent's name.
      const std::string below = field.name() == "exclude" ? prefix + "exclude-" : prefix;
      Collect(*field.message_type(), below, path, flags);
    }
    path->pop_back();
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
