// SPDX-License-Identifier: Apache-2.0
#include "controller/experiment/codecs.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "firedrill/v1/experiment.pb.h"
#include "firedrill/v1/fault.pb.h"
#include "google/protobuf/duration.pb.h"
#include "proto/support/field_rules.h"
#include "proto/support/problem.h"
#include "proto/support/quantity.h"
#include "proto/support/status_macros.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

bool IsPercent(const FieldDescriptor& field) { return RulesOf(field).unit() == "%"; }

bool IsAmount(const FieldDescriptor& field) {
  return field.message_type() == v1::Amount::descriptor();
}

bool IsComparison(const FieldDescriptor& field) {
  return field.message_type() == v1::Comparison::descriptor();
}

absl::Status SetMessage(Message* message, const FieldDescriptor& field, const Message& value) {
  const Reflection& reflection = *message->GetReflection();
  Message* to = field.is_repeated() ? reflection.AddMessage(message, &field)
                                    : reflection.MutableMessage(message, &field);
  to->CopyFrom(value);
  return absl::OkStatus();
}

absl::Status SetDouble(Message* message, const FieldDescriptor& field, std::string_view text) {
  const absl::string_view trimmed = absl::StripAsciiWhitespace({text.data(), text.size()});
  std::string_view digits(trimmed.data(), trimmed.size());
  const bool percent = IsPercent(field);
  if (percent && !digits.empty() && digits.back() == '%') digits.remove_suffix(1);
  const absl::StatusOr<double> value = ParseNumber(digits);
  if (!value.ok()) {
    // Limits are the rule book's; here only whether it is a number at all.
    const std::string limits = LimitsText(field);
    const std::string kind = percent ? "a percentage, such as 33 or 33%" : "a finite number";
    return absl::InvalidArgumentError("allowed: " + kind + (limits.empty() ? "" : "; " + limits));
  }
  const Reflection& reflection = *message->GetReflection();
  if (field.is_repeated()) {
    reflection.AddDouble(message, &field, *value);
  } else {
    reflection.SetDouble(message, &field, *value);
  }
  return absl::OkStatus();
}

absl::Status SetUInt32(Message* message, const FieldDescriptor& field, std::string_view text) {
  std::uint32_t value = 0;
  if (!absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &value)) {
    const std::string limits = LimitsText(field);
    return absl::InvalidArgumentError("allowed: a whole number" +
                                      (limits.empty() ? " of 0 or more" : ", " + limits));
  }
  const Reflection& reflection = *message->GetReflection();
  if (field.is_repeated()) {
    reflection.AddUInt32(message, &field, value);
  } else {
    reflection.SetUInt32(message, &field, value);
  }
  return absl::OkStatus();
}

// Bytes and rates by their own spellings; other counts as plain numbers.
absl::Status SetUInt64(Message* message, const FieldDescriptor& field, std::string_view text) {
  std::uint64_t value = 0;
  if (IsSize(field) || IsRate(field)) {
    const absl::StatusOr<std::uint64_t> parsed = IsSize(field) ? ParseBytes(text) : ParseRate(text);
    if (!parsed.ok()) {
      const std::string allowed(parsed.status().message());
      const std::string limits = LimitsText(field);
      const bool advice = absl::EndsWith(allowed, "?");  // says itself what was meant
      return absl::InvalidArgumentError(allowed + (limits.empty() || advice ? "" : "; " + limits));
    }
    value = *parsed;
  } else if (!absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &value)) {
    return absl::InvalidArgumentError("allowed: a whole number of 0 or more");
  }
  const Reflection& reflection = *message->GetReflection();
  if (field.is_repeated()) {
    reflection.AddUInt64(message, &field, value);
  } else {
    reflection.SetUInt64(message, &field, value);
  }
  return absl::OkStatus();
}

absl::Status SetEnum(Message* message, const FieldDescriptor& field, std::string_view text) {
  const google::protobuf::EnumDescriptor& type = *field.enum_type();
  for (int i = 0; i < type.value_count(); ++i) {
    const std::string name = EnumText(*type.value(i));
    if (name.empty() || name != text) continue;
    const Reflection& reflection = *message->GetReflection();
    if (field.is_repeated()) {
      reflection.AddEnumValue(message, &field, type.value(i)->number());
    } else {
      reflection.SetEnumValue(message, &field, type.value(i)->number());
    }
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(SuggestFrom(text, EnumTexts(type)));
}

absl::Status SetMessageFromText(Message* message, const FieldDescriptor& field,
                                std::string_view text) {
  if (IsDuration(field)) {
    ASSIGN_OR_RETURN(const Nanoseconds duration, ParseDuration(text));
    return SetMessage(message, field, ToProto(duration));
  }
  if (IsAmount(field)) {
    ASSIGN_OR_RETURN(const v1::Amount amount, ParseAmount(text));
    return SetMessage(message, field, amount);
  }
  if (IsComparison(field)) {
    ASSIGN_OR_RETURN(const v1::Comparison comparison, ParseComparison(text));
    return SetMessage(message, field, comparison);
  }
  return absl::InvalidArgumentError("allowed: a map of fields");
}

std::string MessageText(const FieldDescriptor& field, const Message& value) {
  if (IsDuration(field)) {
    // Exact, unlike what people are shown.
    const Nanoseconds duration = FromProto(static_cast<const google::protobuf::Duration&>(value));
    return absl::FormatDuration(absl::Nanoseconds(duration.count()));
  }
  if (IsAmount(field)) return FormatAmount(static_cast<const v1::Amount&>(value));
  if (IsComparison(field)) return FormatComparison(static_cast<const v1::Comparison&>(value));
  return value.ShortDebugString();
}

}  // namespace

bool IsScalar(const FieldDescriptor& field) {
  return field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || IsDuration(field) ||
         IsAmount(field) || IsComparison(field);
}

absl::Status SetFromText(Message* message, const FieldDescriptor& field, std::string_view text) {
  const Reflection& reflection = *message->GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING: {
      if (text.empty()) return absl::InvalidArgumentError("give a value, or leave the field out");
      const std::string value(text);
      if (field.is_repeated()) {
        reflection.AddString(message, &field, value);
      } else {
        reflection.SetString(message, &field, value);
      }
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return SetDouble(message, field, text);
    case FieldDescriptor::CPPTYPE_UINT32:
      return SetUInt32(message, field, text);
    case FieldDescriptor::CPPTYPE_UINT64:
      return SetUInt64(message, field, text);
    case FieldDescriptor::CPPTYPE_ENUM:
      return SetEnum(message, field, text);
    case FieldDescriptor::CPPTYPE_BOOL:
      if (text != "true" && text != "false") {
        return absl::InvalidArgumentError("allowed: true or false");
      }
      reflection.SetBool(message, &field, text == "true");
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return SetMessageFromText(message, field, text);
    default:
      return absl::UnimplementedError("no codec for " + std::string(field.full_name()));
  }
}

std::string TextOf(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& reflection = *message.GetReflection();
  const bool one = index < 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return one ? reflection.GetString(message, &field)
                 : reflection.GetRepeatedString(message, &field, index);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return fmt::format("{}", one ? reflection.GetDouble(message, &field)
                                   : reflection.GetRepeatedDouble(message, &field, index));
    case FieldDescriptor::CPPTYPE_UINT32:
      return fmt::format("{}", one ? reflection.GetUInt32(message, &field)
                                   : reflection.GetRepeatedUInt32(message, &field, index));
    case FieldDescriptor::CPPTYPE_UINT64: {
      const std::uint64_t value = one ? reflection.GetUInt64(message, &field)
                                      : reflection.GetRepeatedUInt64(message, &field, index);
      if (IsSize(field)) return FormatBytes(value);
      return IsRate(field) ? FormatRate(value) : fmt::format("{}", value);
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetBool(message, &field) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_ENUM: {
      const auto* value = field.enum_type()->FindValueByNumber(
          one ? reflection.GetEnumValue(message, &field)
              : reflection.GetRepeatedEnumValue(message, &field, index));
      return value == nullptr ? "" : EnumText(*value);
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return MessageText(field, one ? reflection.GetMessage(message, &field)
                                    : reflection.GetRepeatedMessage(message, &field, index));
    default:
      return "";
  }
}

std::string ValueKind(const FieldDescriptor& field) {
  if (field.is_map()) return "map";
  if (IsDuration(field)) return "duration";
  if (IsAmount(field)) return "count, share or all";
  if (IsComparison(field)) return "comparison";
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return IsPercent(field) ? "percentage" : "number";
    case FieldDescriptor::CPPTYPE_UINT32:
      return "number";
    case FieldDescriptor::CPPTYPE_UINT64:
      return IsSize(field) ? "size" : IsRate(field) ? "rate" : "number";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true|false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return absl::StrJoin(EnumTexts(*field.enum_type()), "|");
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return "fields";
    default:
      break;
  }
  switch (RulesOf(field).format()) {
    case v1::FORMAT_CIDR:
      return "address or block";
    case v1::FORMAT_PORTS:
      return "port or range";
    case v1::FORMAT_SIGNAL:
      return "signal";
    case v1::FORMAT_NAME:
      return "name";
    case v1::FORMAT_CRON:
      return "cron";
    case v1::FORMAT_TIME_ZONE:
      return "time zone";
    case v1::FORMAT_REGEX:
      return "regular expression";
    case v1::FORMAT_PROMQL:
      return "PromQL";
    case v1::FORMAT_DEVICE:
      return "device";
    case v1::FORMAT_HOST:
      return "host name";
    case v1::FORMAT_PATH:
      return "path";
    case v1::FORMAT_ERRNO:
      return "error";
    case v1::FORMAT_UNIT:
      return "unit";
    default:
      return "text";
  }
}

}  // namespace firedrill::controller
