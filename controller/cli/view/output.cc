// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/output.h"

#include <google/protobuf/util/json_util.h>
#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>

namespace firedrill::cli {
namespace {

void Emit(const nlohmann::ordered_json& value, YAML::Emitter* out) {
  if (value.is_object()) {
    *out << YAML::BeginMap;
    for (const auto& [key, entry] : value.items()) {
      *out << YAML::Key << key << YAML::Value;
      Emit(entry, out);
    }
    *out << YAML::EndMap;
  } else if (value.is_array()) {
    if (value.empty()) *out << YAML::Flow;
    *out << YAML::BeginSeq;
    for (const auto& entry : value) Emit(entry, out);
    *out << YAML::EndSeq;
  } else if (value.is_string()) {
    // Quoted where a bare word would be read as a number, a truth value or nothing.
    const auto& text = value.get_ref<const std::string&>();
    const bool bare = !text.empty() && !nlohmann::json::accept(text) && text != "~" &&
                      text != "yes" && text != "no" && text != "on" && text != "off";
    if (!bare) *out << YAML::DoubleQuoted;
    *out << text;
  } else if (value.is_null()) {
    *out << YAML::_Null();
  } else {
    *out << value.dump();
  }
}

}  // namespace

absl::StatusOr<Format> ParseOutputFormat(std::string_view text) {
  if (text == "table") return Format::kTable;
  if (text == "json") return Format::kJson;
  if (text == "yaml") return Format::kYaml;
  return absl::InvalidArgumentError("allowed: table, json or yaml");
}

std::string SerializeJson(std::string_view json, Format format) {
  const nlohmann::ordered_json value = nlohmann::ordered_json::parse(json, nullptr, false);
  if (value.is_discarded()) return std::string(json);
  if (format != Format::kYaml) return value.dump(2) + "\n";
  YAML::Emitter out;
  Emit(value, &out);
  return std::string(out.c_str()) + "\n";
}

std::string Serialize(const google::protobuf::Message& message, Format format) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(message, &json, options).ok()) json = "{}";
  return SerializeJson(json, format);
}

}  // namespace firedrill::cli
