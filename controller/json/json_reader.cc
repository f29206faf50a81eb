// SPDX-License-Identifier: Apache-2.0
#include "controller/json/json_reader.h"

#include <fmt/format.h>

#include "absl/time/time.h"

namespace firedrill::controller {

using Json = nlohmann::json;

absl::StatusOr<Json> ParseJson(std::string_view body, int deepest) {
  bool too_deep = false;
  const auto bound = [&too_deep, deepest](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > deepest;
    return !too_deep;
  };
  Json root = Json::parse(body, bound, /*allow_exceptions=*/false);
  if (too_deep) return absl::OutOfRangeError("is nested too deeply");
  if (root.is_discarded()) return absl::InvalidArgumentError("is no JSON");
  return root;
}

const Json* Member(const Json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

absl::Status JsonReader::Wrong(std::string_view where, std::string_view what) const {
  return absl::InvalidArgumentError(fmt::format("{}: {}: {}", subject_, where, what));
}

absl::StatusOr<Json> JsonReader::Body(std::string_view body, int deepest) const {
  absl::StatusOr<Json> root = ParseJson(body, deepest);
  if (root.ok() && root->is_object()) return root;
  if (absl::IsOutOfRange(root.status())) return Wrong("body", "is nested too deeply");
  return Wrong("body", "must be a JSON object");
}

absl::StatusOr<const Json*> JsonReader::Object(const Json& object, const char* name,
                                               const std::string& where) const {
  const Json* value = Member(object, name);
  if (value != nullptr && !value->is_object()) return Wrong(where + name, "must be an object");
  return value;
}

absl::StatusOr<std::string> JsonReader::Text(const Json& object, const char* name,
                                             const std::string& where) const {
  if (Member(object, name) == nullptr) return Wrong(where + name, "is missing");
  return OptionalText(object, name, where);
}

absl::StatusOr<std::string> JsonReader::OptionalText(const Json& object, const char* name,
                                                     const std::string& where) const {
  const Json* value = Member(object, name);
  if (value == nullptr) return std::string();
  if (!value->is_string()) return Wrong(where + name, "must be a text");
  return value->get<std::string>();
}

absl::StatusOr<SystemTime> JsonReader::Time(const std::string& text,
                                            const std::string& where) const {
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error)) {
    return Wrong(
        where, fmt::format("must be a time as 2026-11-22T16:41:01Z, not '{}'", text.substr(0, 64)));
  }
  return SystemTime(Nanoseconds(absl::ToUnixNanos(time)));
}

}  // namespace firedrill::controller
