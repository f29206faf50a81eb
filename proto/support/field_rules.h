// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "firedrill/v1/options.pb.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "proto/support/problem.h"

// The rule book's larger part: whatever stands beside the fields in options.proto.
namespace firedrill {

/// The rules beside a field; an empty message where there are none.
const v1::FieldRules& RulesOf(const google::protobuf::FieldDescriptor& field);

/// True for a singular google.protobuf.Duration.
bool IsDuration(const google::protobuf::FieldDescriptor& field);

/// True for a number of bytes, which files spell 512MiB.
bool IsSize(const google::protobuf::FieldDescriptor& field);
/// True for a number of bits a second, which files spell 10Mbit.
bool IsRate(const google::protobuf::FieldDescriptor& field);

/// What stands beside an enum's value; an empty message where nothing does.
const v1::ValueRules& RulesOf(const google::protobuf::EnumValueDescriptor& value);
/// As an enum's value is spelled in a file: DIRECTION_BOTH is "both". Empty for …_UNSPECIFIED.
std::string EnumText(const google::protobuf::EnumValueDescriptor& value);
/// All spellings of an enum, in its order.
std::vector<std::string> EnumTexts(const google::protobuf::EnumDescriptor& type);

/// "0.1 to 100 %", "1MiB to 16TiB", "at least 1s", "at most 4095"; empty without limits.
std::string LimitsText(const google::protobuf::FieldDescriptor& field);

/// OK if `text` is spelled as `format` asks; else InvalidArgument that says what is allowed.
/// FORMAT_CRON is only counted here: the controller, which has the calendar, reads it.
absl::Status CheckFormat(v1::Format format, std::string_view text);

/// Appends every breach in `message`, at any depth: required fields, limits, formats, counts,
/// numbers that are none, values of enums and fields that this version does not know, and the rules
/// between fields that belong to a message itself (fault_rules.h).
void CheckMessage(const google::protobuf::Message& message, const std::string& path,
                  Problems* problems);

}  // namespace firedrill
