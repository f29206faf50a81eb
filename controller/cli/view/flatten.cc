// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/flatten.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "firedrill/v1/experiment.pb.h"
#include "proto/support/field_rules.h"
#include "proto/support/problem.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Fields = std::vector<std::pair<std::string, std::string>>;

// What is spelled on one line; empty for all other messages.
std::string OneValue(const Message& message) {
  if (const auto* time = dynamic_cast<const google::protobuf::Duration*>(&message)) {
    return FormatDuration(FromProto(*time));
  }
  if (const auto* time = dynamic_cast<const google::protobuf::Timestamp*>(&message)) {
    return FormatTime(FromProto(*time));
  }
  if (const auto* comparison = dynamic_cast<const v1::Comparison*>(&message)) {
    return FormatComparison(*comparison);
  }
  if (const auto* amount = dynamic_cast<const v1::Amount*>(&message)) return FormatAmount(*amount);
  return "";
}

// What people call an entry of a list; empty: it has no name.
std::string NameOf(const Message& message) {
  for (const char* name : {"name", "alert"}) {
    const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
    if (field == nullptr || field->is_repeated() ||
        field->cpp_type() != FieldDescriptor::CPPTYPE_STRING) {
      continue;
    }
    return message.GetReflection()->GetString(message, field);
  }
  return "";
}

// A field's value, or an entry's of a list (index at least 0).
std::string ScalarText(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& read = *message.GetReflection();
  const bool list = index >= 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return (list ? read.GetRepeatedBool(message, &field, index) : read.GetBool(message, &field))
                 ? "true"
                 : "false";
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return fmt::format("{}", list ? read.GetRepeatedDouble(message, &field, index)
                                    : read.GetDouble(message, &field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return std::to_string(list ? read.GetRepeatedUInt32(message, &field, index)
                                 : read.GetUInt32(message, &field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return std::to_string(list ? read.GetRepeatedUInt64(message, &field, index)
                                 : read.GetUInt64(message, &field));
    case FieldDescriptor::CPPTYPE_INT32:
      return std::to_string(list ? read.GetRepeatedInt32(message, &field, index)
                                 : read.GetInt32(message, &field));
    case FieldDescriptor::CPPTYPE_INT64:
      return std::to_string(list ? read.GetRepeatedInt64(message, &field, index)
                                 : read.GetInt64(message, &field));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return fmt::format("{}", list ? read.GetRepeatedFloat(message, &field, index)
                                    : read.GetFloat(message, &field));
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumText(list ? *read.GetRepeatedEnum(message, &field, index)
                           : *read.GetEnum(message, &field));
    case FieldDescriptor::CPPTYPE_STRING:
      return list ? read.GetRepeatedString(message, &field, index)
                  : read.GetString(message, &field);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  return "";
}

void Walk(const Message& message, const std::string& path, Fields& fields);

void WalkMessage(const Message& message, const std::string& path, Fields& fields) {
  const std::string value = OneValue(message);
  if (!value.empty()) {
    fields.emplace_back(path, value);
    return;
  }
  const std::size_t before = fields.size();
  Walk(message, path, fields);
  if (fields.size() == before) fields.emplace_back(path, "{}");  // there, with nothing set
}

void WalkMap(const Message& message, const FieldDescriptor& field, const std::string& path,
             Fields& fields) {
  const FieldDescriptor* key = field.message_type()->map_key();
  const FieldDescriptor* value = field.message_type()->map_value();
  std::map<std::string, const Message*> entries;  // a map has no order of its own
  for (int i = 0; i < message.GetReflection()->FieldSize(message, &field); ++i) {
    const Message& entry = message.GetReflection()->GetRepeatedMessage(message, &field, i);
    entries[ScalarText(entry, *key, -1)] = &entry;
  }
  for (const auto& [name, entry] : entries) {
    const std::string below = KeyPath(path, name);
    if (value->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      WalkMessage(entry->GetReflection()->GetMessage(*entry, value), below, fields);
    } else {
      fields.emplace_back(below, ScalarText(*entry, *value, -1));
    }
  }
}

void Walk(const Message& message, const std::string& path, Fields& fields) {
  const Reflection& read = *message.GetReflection();
  std::vector<const FieldDescriptor*> set;
  read.ListFields(message, &set);
  for (const FieldDescriptor* field : set) {
    const std::string below = JoinPath(path, field->name());
    const bool nested = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (field->is_map()) {
      WalkMap(message, *field, below, fields);
    } else if (!field->is_repeated()) {
      if (nested) {
        WalkMessage(read.GetMessage(message, field), below, fields);
      } else {
        fields.emplace_back(below, ScalarText(message, *field, -1));
      }
    } else if (nested) {
      for (int i = 0; i < read.FieldSize(message, field); ++i) {
        const Message& entry = read.GetRepeatedMessage(message, field, i);
        const std::string name = NameOf(entry);
        WalkMessage(entry, name.empty() ? IndexPath(below, i) : below + "[" + name + "]", fields);
      }
    } else {
      std::string all;
      for (int i = 0; i < read.FieldSize(message, field); ++i) {
        all += (all.empty() ? "" : ", ") + ScalarText(message, *field, i);
      }
      fields.emplace_back(below, all);
    }
  }
}

}  // namespace

Fields Flatten(const Message& message, const std::string& path) {
  Fields fields;
  Walk(message, path, fields);
  return fields;
}

std::vector<Change> ChangesBetween(const Message& first, const Message& second,
                                   const std::string& path) {
  const Fields before = Flatten(first, path);
  const Fields after = Flatten(second, path);
  const auto value = [](const Fields& fields, const std::string& name) {
    const auto found = std::find_if(fields.begin(), fields.end(),
                                    [&](const auto& field) { return field.first == name; });
    return found == fields.end() ? std::string() : found->second;
  };
  std::vector<Change> changes;
  for (const auto& [name, text] : before) {
    const std::string other = value(after, name);
    if (other != text) changes.push_back({name, text, other});
  }
  for (const auto& field : after) {
    const bool known = std::any_of(before.begin(), before.end(),
                                   [&](const auto& other) { return other.first == field.first; });
    if (!known) changes.push_back({field.first, "", field.second});
  }
  return changes;
}

}  // namespace firedrill::cli
