// SPDX-License-Identifier: Apache-2.0
// What a fault needs of its host: NeedsOf of fault_rules.h.
#include <algorithm>
#include <string>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "proto/support/fault_rules.h"
#include "proto/support/field_rules.h"

namespace firedrill {
namespace {

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

class Collector {
 public:
  template <typename Names>
  void Add(const Names& names) {
    for (const std::string& name : names) {
      if (std::find(needs_.begin(), needs_.end(), name) == needs_.end()) needs_.push_back(name);
    }
  }

  // Of what is set in the message, and in what it holds.
  void AddSet(const Message& message) {
    const google::protobuf::Reflection& reflection = *message.GetReflection();
    std::vector<const FieldDescriptor*> fields;
    reflection.ListFields(message, &fields);
    for (const FieldDescriptor* field : fields) {
      Add(RulesOf(*field).needs());
      const int size = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
      for (int i = 0; i < size; ++i) AddValue(message, *field, field->is_repeated() ? i : -1);
    }
  }

  std::vector<std::string> Take() { return std::move(needs_); }

 private:
  void AddValue(const Message& message, const FieldDescriptor& field, int index) {
    const google::protobuf::Reflection& reflection = *message.GetReflection();
    if (field.enum_type() != nullptr) {
      const EnumValueDescriptor* value = field.enum_type()->FindValueByNumber(
          index < 0 ? reflection.GetEnumValue(message, &field)
                    : reflection.GetRepeatedEnumValue(message, &field, index));
      if (value != nullptr) Add(RulesOf(*value).needs());
    } else if (field.message_type() != nullptr) {
      AddSet(index < 0 ? reflection.GetMessage(message, &field)
                       : reflection.GetRepeatedMessage(message, &field, index));
    }
  }

  std::vector<std::string> needs_;
};

}  // namespace

std::vector<std::string> NeedsOf(const v1::Fault& fault) {
  Collector collector;
  collector.Add(FaultRulesOf(fault.kind_case()).needs());
  collector.AddSet(fault);
  return collector.Take();
}

}  // namespace firedrill
