// SPDX-License-Identifier: Apache-2.0
#include "controller/experiment/writer.h"

#include <yaml-cpp/yaml.h>

#include <map>
#include <vector>

#include "controller/experiment/codecs.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace firedrill::controller {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

void Write(const Message& message, YAML::Emitter* out);

// Numbers and words stand bare; all else, such as ">= 0.99" or "yes", in quotes where YAML needs
// it.
void WriteScalar(const std::string& text, YAML::Emitter* out) { *out << text; }

void WriteMap(const Message& message, const FieldDescriptor& field, YAML::Emitter* out) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  const FieldDescriptor& key = *field.message_type()->map_key();
  const FieldDescriptor& value = *field.message_type()->map_value();
  std::map<std::string, const Message*> entries;  // in an order that does not change
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    entries[entry.GetReflection()->GetString(entry, &key)] = &entry;
  }
  if (IsScalar(value)) *out << YAML::Flow;
  *out << YAML::BeginMap;
  for (const auto& [name, entry] : entries) {
    *out << YAML::Key << name << YAML::Value;
    if (IsScalar(value)) {
      WriteScalar(TextOf(*entry, value), out);
    } else {
      Write(entry->GetReflection()->GetMessage(*entry, &value), out);
    }
  }
  *out << YAML::EndMap;
}

void Write(const Message& message, YAML::Emitter* out) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  if (fields.empty()) *out << YAML::Flow;
  *out << YAML::BeginMap;
  for (const FieldDescriptor* field : fields) {
    *out << YAML::Key << field->name() << YAML::Value;
    if (field->is_map()) {
      WriteMap(message, *field, out);
    } else if (field->is_repeated()) {
      if (IsScalar(*field)) *out << YAML::Flow;
      *out << YAML::BeginSeq;
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        if (IsScalar(*field)) {
          WriteScalar(TextOf(message, *field, i), out);
        } else {
          Write(reflection.GetRepeatedMessage(message, field, i), out);
        }
      }
      *out << YAML::EndSeq;
    } else if (IsScalar(*field)) {
      WriteScalar(TextOf(message, *field), out);
    } else {
      Write(reflection.GetMessage(message, field), out);
    }
  }
  *out << YAML::EndMap;
}

}  // namespace

std::string WriteExperiment(const v1::Experiment& experiment) {
  YAML::Emitter out;
  Write(experiment, &out);
  return std::string(out.c_str()) + "\n";
}

}  // namespace firedrill::controller
