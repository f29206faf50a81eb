// SPDX-License-Identifier: Apache-2.0
#include "proto/support/fault_rules.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include "absl/strings/str_join.h"
#include "firedrill/v1/experiment.pb.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"
#include "proto/support/field_rules.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

const FieldDescriptor* KindField(v1::Fault::KindCase kind) {
  return kind == v1::Fault::KIND_NOT_SET
             ? nullptr
             : v1::Fault::descriptor()->FindFieldByNumber(static_cast<int>(kind));
}

void CheckKind(const v1::Fault& fault, const std::string& path, Problems* problems) {
  if (fault.kind_case() != v1::Fault::KIND_NOT_SET) return;
  std::vector<std::string> names;
  for (int i = 0; i < v1::Fault::descriptor()->field_count(); ++i) {
    names.push_back(v1::Fault::descriptor()->field(i)->name());
  }
  problems->push_back({path, "found no kind of fault", "allowed: one of " + OneOf(names), true});
}

void CheckLatency(const v1::Latency& latency, const std::string& path, Problems* problems) {
  const Nanoseconds delay = FromProto(latency.delay());
  const Nanoseconds jitter = FromProto(latency.jitter());
  if (jitter <= Nanoseconds(0) || jitter <= delay) return;
  problems->push_back({JoinPath(path, "jitter"), "found " + FormatDuration(jitter),
                       fmt::format("allowed: at most the delay, {}", FormatDuration(delay)),
                       false});
}

void CheckTraffic(const v1::Traffic& traffic, const std::string& path, Problems* problems) {
  if (traffic.protocol() != v1::PROTOCOL_ICMP || traffic.ports().empty()) return;
  problems->push_back({JoinPath(path, "ports"), "found ports beside protocol icmp",
                       "ICMP has no ports: nothing would match", false});
}

void CheckCpu(const v1::Cpu& cpu, const std::string& path, Problems* problems) {
  std::set<std::uint32_t> seen;
  for (const std::uint32_t core : cpu.cores()) {
    if (seen.insert(core).second) continue;
    problems->push_back({JoinPath(path, "cores"), fmt::format("found {} a second time", core),
                         "each core once", false});
    return;
  }
}

void CheckSelector(const v1::ProcessSelector& selector, const std::string& path,
                   Problems* problems) {
  const bool chooses = !selector.name().empty() || !selector.command_line().empty() ||
                       selector.pid() != 0 || selector.listening_port() != 0 ||
                       !selector.cgroup().empty() || !selector.systemd_unit().empty();
  if (chooses) return;
  std::vector<std::string> names;
  const google::protobuf::Descriptor& type = *v1::ProcessSelector::descriptor();
  for (int i = 0; i < type.field_count(); ++i) names.push_back(type.field(i)->name());
  problems->push_back(
      {path, "chooses no process", "needed: at least one of " + OneOf(names), true});
}

void CheckAmount(const v1::Amount& amount, const std::string& path, Problems* problems) {
  const bool good = (amount.has_count() && amount.count() > 0) ||
                    (amount.has_all() && amount.all()) ||
                    (amount.has_percent() && amount.percent() > 0 && amount.percent() <= 100);
  if (good) return;
  problems->push_back(
      {path,
       amount.amount_case() == v1::Amount::AMOUNT_NOT_SET ? "found nothing"
                                                          : "found " + FormatAmount(amount),
       "allowed: a number from 1, a share such as 50% (over 0, up to 100), or all", true});
}

void CheckComparison(const v1::Comparison& comparison, const std::string& path,
                     Problems* problems) {
  if (comparison.operator_() != v1::OPERATOR_UNSPECIFIED && std::isfinite(comparison.value())) {
    return;
  }
  problems->push_back({path, "found no comparison",
                       "allowed: one of <, <=, >, >=, ==, != and a number, such as \">= 0.99\"",
                       false});
}

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
        case FieldDescriptor::CPPTYPE_ENUM: {
          const auto* value = field->enum_type()->FindValueByNumber(
              one ? reflection.GetEnumValue(message, field)
                  : reflection.GetRepeatedEnumValue(message, field, i));
          values.push_back(value == nullptr ? "?" : EnumText(*value));
          break;
        }
        default:
          values.push_back("true");
      }
    }
    if (!values.empty()) *text += fmt::format(" {}={}", name, absl::StrJoin(values, ","));
  }
}

}  // namespace

absl::Status ValidateFault(const v1::Fault& fault) {
  Problems problems;
  CheckFault(fault, "", &problems);
  return ToStatus(problems);
}

absl::Status ValidateInjection(const v1::Fault& fault, std::optional<Nanoseconds> duration) {
  Problems problems;
  CheckFault(fault, "", &problems);
  if (duration.has_value() && *duration <= Nanoseconds(0)) {
    problems.push_back(
        {"duration", "found " + FormatDuration(*duration), "allowed: over 0s", false});
  }
  CheckEnd(fault, duration.has_value(), "duration", &problems);
  return ToStatus(problems);
}

void CheckFault(const v1::Fault& fault, const std::string& path, Problems* problems) {
  CheckMessage(fault, path, problems);
}

void CheckEnd(const v1::Fault& fault, bool has_duration, const std::string& path,
              Problems* problems) {
  if (fault.kind_case() == v1::Fault::KIND_NOT_SET) return;
  const std::string name = FaultName(fault.kind_case());
  if (NeedsDuration(fault) && !has_duration) {
    const std::string why = FaultRulesOf(fault.kind_case()).needs_duration() ? "" : " that repeats";
    problems->push_back({path, "missing",
                         fmt::format("needed: {}{} lives until an end, such as 30s", name, why),
                         true});
  }
  if (!NeedsDuration(fault) && has_duration) {
    problems->push_back(
        {path, "found a duration",
         fmt::format("{} is over at once: leave the duration out, or repeat it with "
                     "repeat_every",
                     name),
         false});
  }
}

bool NeedsDuration(const v1::Fault& fault) {
  return FaultRulesOf(fault.kind_case()).needs_duration() ||
         (fault.has_process_kill() && fault.process_kill().has_repeat_every());
}

const v1::FaultRules& FaultRulesOf(v1::Fault::KindCase kind) {
  const FieldDescriptor* field = KindField(kind);
  return field == nullptr ? v1::FaultRules::default_instance()
                          : field->options().GetExtension(v1::fault);
}

std::string FaultName(v1::Fault::KindCase kind) {
  const FieldDescriptor* field = KindField(kind);
  return field == nullptr ? "" : field->name();
}

std::string FaultText(const v1::Fault& fault) {
  const FieldDescriptor* field = KindField(fault.kind_case());
  if (field == nullptr) return "nothing";
  std::string text = field->name();
  AppendFields(fault.GetReflection()->GetMessage(fault, field), "", &text);
  return text;
}

void CheckBetweenFields(const Message& message, const std::string& path, Problems* problems) {
  const google::protobuf::Descriptor* type = message.GetDescriptor();
  if (type == v1::Fault::descriptor()) {
    CheckKind(static_cast<const v1::Fault&>(message), path, problems);
  } else if (type == v1::Latency::descriptor()) {
    CheckLatency(static_cast<const v1::Latency&>(message), path, problems);
  } else if (type == v1::Traffic::descriptor()) {
    CheckTraffic(static_cast<const v1::Traffic&>(message), path, problems);
  } else if (type == v1::Cpu::descriptor()) {
    CheckCpu(static_cast<const v1::Cpu&>(message), path, problems);
  } else if (type == v1::ProcessSelector::descriptor()) {
    CheckSelector(static_cast<const v1::ProcessSelector&>(message), path, problems);
  } else if (type == v1::Amount::descriptor()) {
    CheckAmount(static_cast<const v1::Amount&>(message), path, problems);
  } else if (type == v1::Comparison::descriptor()) {
    CheckComparison(static_cast<const v1::Comparison&>(message), path, problems);
  }
}

}  // namespace firedrill
