// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

// One value as it is spelled in a file or behind a flag, to and from a field of a message.
namespace firedrill::controller {

/// True for what is spelled as one word: numbers, sizes, rates, texts, enums, durations, amounts,
/// comparisons. False for messages that are spelled as a map.
bool IsScalar(const google::protobuf::FieldDescriptor& field);

/// Sets the field, or appends to it if it is repeated. InvalidArgument says what is allowed.
absl::Status SetFromText(google::protobuf::Message* message,
                         const google::protobuf::FieldDescriptor& field, std::string_view text);

/// The value as SetFromText reads it; `index` of a repeated field, else -1.
std::string TextOf(const google::protobuf::Message& message,
                   const google::protobuf::FieldDescriptor& field, int index = -1);

/// What kind of value is expected, for help texts: duration, number, size, text, a|b|c.
std::string ValueKind(const google::protobuf::FieldDescriptor& field);

}  // namespace firedrill::controller
