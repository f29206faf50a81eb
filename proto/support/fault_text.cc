// SPDX-License-Identifier: Apache-2.0
// A fault in words: FaultText of fault_rules.h.
#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"
#include "proto/support/fault_rules.h"
#include "proto/support/field_rules.h"
#include "proto/support/quantity.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// name=value for each field that is set, nested ones as traffic.ports=6379.
void AppendFields(const Message& message, const std::string& prefix, std::string* text) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string name = prefix + field->name();
    std::vector<std::string> values;
    const int size = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < size; ++i) {
      const bool one = !field->is_repeated();
      switch (field->cpp_type()) {
        case FieldDescriptor::CPPTYPE_MESSAGE: {
          const Message& value = one ? reflection.GetMessage(message, field)
                                     : reflection.GetRepeatedMessage(message, field, i);
          if (IsDuration(*field)) {
            values.push_back(
                FormatDuration(FromProto(static_cast<const google::protobuf::Duration&>(value))));
          } else if (value.GetDescriptor() == v1::Amount::descriptor()) {
            values.push_back(FormatAmount(static_cast<const v1::Amount&>(value)));
          } else {
            AppendFields(value, name + ".", text);
          }
          break;
        }
        case FieldDescriptor::CPPTYPE_STRING: {
          const std::string value = one ? reflection.GetString(message, field)
                                        : reflection.GetRepeatedString(message, field, i);
          const bool plain = value.find_first_of(" \t\n\"\\") == std::string::npos;
          values.push_back(plain ? value : Quoted(value));
          break;
        }
        case FieldDescriptor::CPPTYPE_DOUBLE:
          values.push_back(
              fmt::format("{}", one ? reflection.GetDouble(message, field)
                                    : reflection.GetRepeatedDouble(message, field, i)));
          break;
        case FieldDescriptor::CPPTYPE_UINT32:
          values.push_back(
              fmt::format("{}", one ? reflection.GetUInt32(message, field)
                                    : reflection.GetRepeatedUInt32(message, field, i)));
          break;
        case FieldDescriptor::CPPTYPE_UINT64: {
          const std::uint64_t value = one ? reflection.GetUInt64(message, field)
                                          : reflection.GetRepeatedUInt64(message, field, i);
          values.push_back(IsSize(*field)   ? FormatBytes(value)
                           : IsRate(*field) ? FormatRate(value)
                                            : fmt::format("{}", value));
          break;
        }
        case FieldDescriptor::CPPTYPE_ENUM: {
          const auto* value = field->enum_type()->FindValueByNumber(
              one ? reflection.GetEnumValue(message, field)
                  : reflection.GetRepeatedEnumValue(message, field, i));
          values.push_back(value == nullptr ? "?" : EnumText(*value));
          break;
        }
        default:
          values.push_back(reflection.GetBool(message, field) ? "true" : "false");
      }
    }
    if (!values.empty()) *text += fmt::format(" {}={}", name, absl::StrJoin(values, ","));
  }
}

}  // namespace

std::string FaultText(const v1::Fault& fault) {
  const FieldDescriptor* field =
      fault.GetReflection()->GetOneofFieldDescriptor(fault, v1::Fault::descriptor()->oneof_decl(0));
  if (field == nullptr) return "nothing";
  std::string text = field->name();
  AppendFields(fault.GetReflection()->GetMessage(fault, field), "", &text);
  return text;
}

}  // namespace firedrill
