// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/commands/fault_fields.h"

#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_join.h"
#include "controller/experiment/codecs.h"
#include "firedrill/v1/fault.pb.h"
#include "proto/support/fault_rules.h"
#include "proto/support/field_rules.h"
#include "proto/support/problem.h"

namespace firedrill::cli {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using Json = nlohmann::ordered_json;

template <typename Names>
std::vector<std::string> Strings(const Names& names) {
  return {names.begin(), names.end()};
}

std::vector<ValueLine> ValuesOf(const FieldDescriptor& field) {
  std::vector<ValueLine> values;
  for (int i = 0; field.enum_type() != nullptr && i < field.enum_type()->value_count(); ++i) {
    const auto& value = *field.enum_type()->value(i);
    const std::string text = EnumText(value);
    if (text.empty()) continue;
    values.push_back({text, RulesOf(value).help(), Strings(RulesOf(value).needs())});
  }
  return values;
}

FieldLine LineOf(const FieldDescriptor& field, const std::string& path) {
  const v1::FieldRules& rules = RulesOf(field);
  std::string kind = controller::ValueKind(field);
  if (field.is_repeated() && !field.is_map()) kind = "list: " + kind;
  std::string help = rules.help();
  if (!rules.example().empty()) help += ", such as " + rules.example();
  return {path,
          kind,
          LimitsText(field),
          rules.required() ? "needed" : rules.default_text(),
          help,
          Strings(rules.needs()),
          ValuesOf(field)};
}

void Collect(const Descriptor& type, const std::string& prefix, std::vector<FieldLine>* lines) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const std::string path = JoinPath(prefix, field.name());
    lines->push_back(LineOf(field, path));
    // The kinds of fault have a page each.
    if (field.message_type() == v1::Fault::descriptor()) {
      lines->back().help += "; firedrill describe fault KIND shows each";
    } else if (field.is_map()) {
      const FieldDescriptor& value = *field.message_type()->map_value();
      if (!controller::IsScalar(value)) Collect(*value.message_type(), path + ".NAME", lines);
    } else if (!controller::IsScalar(field)) {
      Collect(*field.message_type(), path + (field.is_repeated() ? "[]" : ""), lines);
    }
  }
}

}  // namespace

std::string NeedsText(const std::vector<std::string>& needs) {
  return needs.empty() ? "" : "; needs " + absl::StrJoin(needs, ", ") + " of the host";
}

std::string KindNeedsText(const FieldDescriptor& kind) {
  // The one need that is no ability of the host, but its owner's word.
  if (kind.number() == v1::Fault::kConfigChange) {
    return "a file that the host's owner has allowed (--allow-file)";
  }
  const auto& needs = FaultRulesOf(static_cast<v1::Fault::KindCase>(kind.number())).needs();
  return needs.empty() ? "nothing special" : absl::StrJoin(needs, ", ");
}

std::vector<std::string> NeedsOfParameters(const FieldDescriptor& kind) {
  std::set<std::string> needs;
  for (const FieldLine& line : FieldLines(*kind.message_type())) {
    needs.insert(line.needs.begin(), line.needs.end());
    for (const ValueLine& value : line.values) {
      needs.insert(value.needs.begin(), value.needs.end());
    }
  }
  for (const std::string& need :
       FaultRulesOf(static_cast<v1::Fault::KindCase>(kind.number())).needs()) {
    needs.erase(need);
  }
  return {needs.begin(), needs.end()};
}

std::vector<FieldLine> FieldLines(const Descriptor& type) {
  std::vector<FieldLine> lines;
  Collect(type, "", &lines);
  return lines;
}

Json FieldsJson(const std::vector<FieldLine>& lines) {
  Json all = Json::array();
  for (const FieldLine& line : lines) {
    Json field = {{"field", line.path},    {"value", line.kind},
                  {"limits", line.limits}, {"if_left_out", line.otherwise},
                  {"meaning", line.help},  {"needs", line.needs}};
    for (const ValueLine& value : line.values) {
      field["values"].push_back(
          {{"value", value.text}, {"meaning", value.help}, {"needs", value.needs}});
    }
    all.push_back(std::move(field));
  }
  return all;
}

Json FaultJson(const FieldDescriptor& kind) {
  const v1::FaultRules& rules = FaultRulesOf(static_cast<v1::Fault::KindCase>(kind.number()));
  return {{"name", kind.name()},
          {"summary", rules.summary()},
          {"reversible", rules.reversible()},
          {"needs_duration", rules.needs_duration()},
          {"needs", Strings(rules.needs())},
          {"fields", FieldsJson(FieldLines(*kind.message_type()))}};
}

}  // namespace firedrill::cli
