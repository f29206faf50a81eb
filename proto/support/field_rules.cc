// SPDX-License-Identifier: Apache-2.0
#include "proto/support/field_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/unknown_field_set.h"
#include "proto/support/fault_rules.h"
#include "proto/support/quantity.h"
#include "proto/support/time.h"

namespace firedrill {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr std::size_t kLongestText = 16 * 1024;
constexpr std::uint32_t kCountUnlessTold = 64;

std::string NumberText(const FieldDescriptor& field, double value) {
  if (IsDuration(field)) return FormatDuration(Nanoseconds(std::llround(value * 1e9)));
  const std::string& unit = RulesOf(field).unit();
  if (IsSize(field) && value >= 0 && value < 0x1p63) {
    return FormatBytes(static_cast<std::uint64_t>(value));
  }
  if (IsRate(field) && value >= 0 && value < 0x1p63) {
    return FormatRate(static_cast<std::uint64_t>(value));
  }
  return unit.empty() ? fmt::format("{}", value) : fmt::format("{} {}", value, unit);
}

bool AllOf(std::string_view text, bool (*allowed)(unsigned char)) {
  return std::all_of(text.begin(), text.end(),
                     [allowed](char c) { return allowed(static_cast<unsigned char>(c)); });
}

// A Duration's parts must be in range and agree in sign, or its meaning is anyone's guess.
bool IsSound(const google::protobuf::Duration& duration) {
  constexpr std::int64_t kMostSeconds = 315'576'000'000;
  return std::abs(duration.seconds()) <= kMostSeconds && duration.nanos() > -1'000'000'000 &&
         duration.nanos() < 1'000'000'000 && !(duration.seconds() > 0 && duration.nanos() < 0) &&
         !(duration.seconds() < 0 && duration.nanos() > 0);
}

// Checks the fields of one message; `Check…` below take one value each (index -1: singular).
class FieldChecker {
 public:
  FieldChecker(const Message& message, Problems* problems)
      : message_(message), reflection_(*message.GetReflection()), problems_(*problems) {}

  void Check(const FieldDescriptor& field, const std::string& path) {
    const v1::FieldRules& rules = RulesOf(field);
    if (field.is_repeated()) {
      CheckRepeated(field, rules, path);
    } else if (field.has_presence() ? reflection_.HasField(message_, &field) : !IsDefault(field)) {
      CheckValue(field, rules, path, -1);
    } else if (rules.required()) {
      Missing(field, rules, path);
    }
  }

 private:
  bool IsDefault(const FieldDescriptor& field) const {
    return !reflection_.HasField(message_, &field);
  }

  void Add(const std::string& path, std::string found, std::string allowed) {
    problems_.push_back({path, std::move(found), std::move(allowed), false});
  }

  void Missing(const FieldDescriptor& field, const v1::FieldRules& rules, const std::string& path) {
    std::string allowed = "needed";
    if (!rules.help().empty()) {
      allowed +=
          " (" + absl::AsciiStrToLower(rules.help().substr(0, 1)) + rules.help().substr(1) + ")";
    }
    const std::string limits = LimitsText(field);
    if (!limits.empty()) allowed += ", " + limits;
    if (!rules.example().empty()) allowed += ", such as " + rules.example();
    problems_.push_back({path, "missing", std::move(allowed), true});
  }

  void CheckRepeated(const FieldDescriptor& field, const v1::FieldRules& rules,
                     const std::string& path) {
    const int size = reflection_.FieldSize(message_, &field);
    const std::uint32_t most = rules.maximum_count() > 0 ? rules.maximum_count() : kCountUnlessTold;
    if (size == 0 && rules.required()) Missing(field, rules, path);
    if (static_cast<std::uint32_t>(size) > most) {
      Add(path, fmt::format("found {} entries", size), fmt::format("allowed: at most {}", most));
      return;
    }
    for (int i = 0; i < size; ++i) {
      if (field.is_map()) {
        CheckEntry(field, path, reflection_.GetRepeatedMessage(message_, &field, i));
      } else {
        CheckValue(field, rules, IndexPath(path, i), i);
      }
    }
    if (field.enum_type() != nullptr) CheckTwice(field, path, size);
  }

  void CheckTwice(const FieldDescriptor& field, const std::string& path, int size) {
    std::set<int> seen;
    for (int i = 0; i < size; ++i) {
      const int value = reflection_.GetRepeatedEnumValue(message_, &field, i);
      const auto* known = field.enum_type()->FindValueByNumber(value);
      if (known == nullptr || seen.insert(value).second) continue;
      Add(IndexPath(path, i), fmt::format("found {} a second time", EnumText(*known)), "each once");
    }
  }

  // Keys of maps to messages are names that others refer to; keys of labels are labels.
  void CheckEntry(const FieldDescriptor& field, const std::string& path, const Message& entry) {
    const FieldDescriptor& key = *field.message_type()->map_key();
    const FieldDescriptor& value = *field.message_type()->map_value();
    const std::string name = entry.GetReflection()->GetString(entry, &key);
    const std::string at = KeyPath(path, name);
    if (const absl::Status good = CheckFormat(v1::FORMAT_NAME, name); !good.ok()) {
      Add(at, "found the name " + Quoted(name), std::string(good.message()));
    }
    if (value.message_type() != nullptr) {
      CheckMessage(entry.GetReflection()->GetMessage(entry, &value), at, &problems_);
    } else {
      CheckText(v1::FORMAT_UNSPECIFIED, entry.GetReflection()->GetString(entry, &value), at);
    }
  }

  void CheckValue(const FieldDescriptor& field, const v1::FieldRules& rules,
                  const std::string& path, int index) {
    const bool one = index < 0;
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        return CheckText(rules.format(),
                         one ? reflection_.GetString(message_, &field)
                             : reflection_.GetRepeatedString(message_, &field, index),
                         path);
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return CheckNumber(field,
                           one ? reflection_.GetDouble(message_, &field)
                               : reflection_.GetRepeatedDouble(message_, &field, index),
                           path);
      case FieldDescriptor::CPPTYPE_UINT32:
        return CheckNumber(field,
                           one ? reflection_.GetUInt32(message_, &field)
                               : reflection_.GetRepeatedUInt32(message_, &field, index),
                           path);
      case FieldDescriptor::CPPTYPE_UINT64:
        return CheckNumber(
            field,
            static_cast<double>(one ? reflection_.GetUInt64(message_, &field)
                                    : reflection_.GetRepeatedUInt64(message_, &field, index)),
            path);
      case FieldDescriptor::CPPTYPE_ENUM:
        return CheckEnum(field,
                         one ? reflection_.GetEnumValue(message_, &field)
                             : reflection_.GetRepeatedEnumValue(message_, &field, index),
                         path);
      case FieldDescriptor::CPPTYPE_MESSAGE: {
        const Message& value = one ? reflection_.GetMessage(message_, &field)
                                   : reflection_.GetRepeatedMessage(message_, &field, index);
        if (IsDuration(field)) {
          CheckDuration(field, static_cast<const google::protobuf::Duration&>(value), path);
        } else {
          CheckMessage(value, path, &problems_);
        }
        return;
      }
      default:  // bool; other types are not in the schema
        return;
    }
  }

  void CheckText(v1::Format format, const std::string& text, const std::string& path) {
    if (text.size() > kLongestText) {
      return Add(path, fmt::format("found {} bytes", text.size()),
                 fmt::format("allowed: at most {}", kLongestText));
    }
    const bool control = !AllOf(
        text, [](unsigned char c) { return !absl::ascii_iscntrl(c) || c == '\n' || c == '\t'; });
    if (control) return Add(path, "found control characters", "allowed: plain text");
    if (const absl::Status good = CheckFormat(format, text); !good.ok()) {
      Add(path, "found " + Quoted(text), std::string(good.message()));
    }
  }

  void CheckNumber(const FieldDescriptor& field, double value, const std::string& path) {
    const v1::FieldRules& rules = RulesOf(field);
    const bool outside = !std::isfinite(value) ||
                         (rules.has_minimum() && value < rules.minimum()) ||
                         (rules.has_maximum() && value > rules.maximum());
    if (!outside) return;
    const std::string limits = LimitsText(field);
    Add(path, "found " + NumberText(field, value),
        "allowed: " + (limits.empty() ? std::string("a finite number") : limits));
  }

  void CheckDuration(const FieldDescriptor& field, const google::protobuf::Duration& duration,
                     const std::string& path) {
    const v1::FieldRules& rules = RulesOf(field);
    const std::string limits = LimitsText(field);
    const std::string allowed = "allowed: " + (limits.empty() ? "a time of 0s or more" : limits);
    if (!IsSound(duration)) return Add(path, "found a time that is none", allowed);
    const double seconds = static_cast<double>(duration.seconds()) + 1e-9 * duration.nanos();
    const double least = rules.has_minimum() ? rules.minimum() : 0;
    const double most =
        rules.has_maximum() ? rules.maximum() : std::numeric_limits<double>::infinity();
    if (seconds < least || seconds > most) {
      Add(path, "found " + FormatDuration(FromProto(duration)), allowed);
    }
  }

  void CheckEnum(const FieldDescriptor& field, int value, const std::string& path) {
    const std::string allowed = "allowed: " + OneOf(EnumTexts(*field.enum_type()));
    if (field.enum_type()->FindValueByNumber(value) != nullptr) {
      if (field.is_repeated() && value == 0) Add(path, "found no value", allowed);
      return;
    }
    Add(path, fmt::format("found the value {}, which this version does not know", value), allowed);
  }

  const Message& message_;
  const Reflection& reflection_;
  Problems& problems_;
};

}  // namespace

const v1::FieldRules& RulesOf(const FieldDescriptor& field) {
  return field.options().GetExtension(v1::rules);
}

bool IsDuration(const FieldDescriptor& field) {
  return field.message_type() == google::protobuf::Duration::descriptor();
}

bool IsSize(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64 && RulesOf(field).unit() == "B";
}

bool IsRate(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64 && RulesOf(field).unit() == "bit/s";
}

const v1::ValueRules& RulesOf(const google::protobuf::EnumValueDescriptor& value) {
  return value.options().GetExtension(v1::value);
}

std::string EnumText(const google::protobuf::EnumValueDescriptor& value) {
  if (value.number() == 0) return "";
  std::string prefix;  // CpuMode is CPU_MODE_ in its values
  for (const char c : value.type()->name()) {
    if (absl::ascii_isupper(static_cast<unsigned char>(c)) && !prefix.empty()) prefix += '_';
    prefix += absl::ascii_toupper(static_cast<unsigned char>(c));
  }
  return absl::AsciiStrToLower(absl::StripPrefix(value.name(), prefix + "_"));
}

std::vector<std::string> EnumTexts(const google::protobuf::EnumDescriptor& type) {
  std::vector<std::string> texts;
  for (int i = 0; i < type.value_count(); ++i) {
    std::string text = EnumText(*type.value(i));
    if (!text.empty()) texts.push_back(std::move(text));
  }
  return texts;
}

std::string LimitsText(const FieldDescriptor& field) {
  const v1::FieldRules& rules = RulesOf(field);
  if (rules.has_minimum() && rules.has_maximum()) {
    const bool own_units = IsDuration(field) || IsSize(field) || IsRate(field);
    const std::string low =
        own_units ? NumberText(field, rules.minimum()) : fmt::format("{}", rules.minimum());
    return fmt::format("{} to {}", low, NumberText(field, rules.maximum()));
  }
  if (rules.has_minimum()) return "at least " + NumberText(field, rules.minimum());
  if (rules.has_maximum()) return "at most " + NumberText(field, rules.maximum());
  return "";
}

void CheckMessage(const Message& message, const std::string& path, Problems* problems) {
  const google::protobuf::UnknownFieldSet& unknown =
      message.GetReflection()->GetUnknownFields(message);
  if (!unknown.empty()) {
    // Leaving out what one does not understand could widen what is hit.
    problems->push_back({path,
                         fmt::format("found field number {}, which this version does not know",
                                     unknown.field(0).number()),
                         "bring both ends to the same version", false});
  }
  FieldChecker checker(message, problems);
  const Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    checker.Check(field, JoinPath(path, field.name()));
  }
  CheckBetweenFields(message, path, problems);
}

}  // namespace firedrill
