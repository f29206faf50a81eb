// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "google/protobuf/message.h"

namespace firedrill::cli {

enum class Format { kTable, kJson, kYaml };

/// table, json or yaml.
absl::StatusOr<Format> ParseOutputFormat(std::string_view text);

/// A message for programs: field names as in the .proto, every field present, durations as "60s",
/// instants in RFC 3339. Ends with a line end.
std::string Serialize(const google::protobuf::Message& message, Format format);

/// JSON text in the format asked for.
std::string SerializeJson(std::string_view json, Format format);

}  // namespace firedrill::cli
