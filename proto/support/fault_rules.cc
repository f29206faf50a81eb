// SPDX-License-Identifier: Apache-2.0
#include "proto/support/fault_rules.h"

#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "firedrill/v1/experiment.pb.h"
#include "google/protobuf/descriptor.h"
#include "proto/support/between_fields.h"
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
  if (fault.has_partition() && !fault.partition().from().empty() &&
      fault.partition().addresses().empty()) {
    problems.push_back({"partition.addresses", "missing",
                        "needed: the plan adds those of the hosts chosen for from", true});
  }
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
         fmt::format("{} is over at once: leave the duration out{}", name,
                     fault.has_process_kill() ? ", or repeat it with repeat_every" : ""),
         false});
  }
}

bool NeedsDuration(const v1::Fault& fault) {
  return FaultRulesOf(fault.kind_case()).needs_duration() ||
         (fault.has_process_kill() &&
          (fault.process_kill().has_repeat_every() || fault.process_kill().has_until_down()));
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

void CheckBetweenFields(const Message& message, const std::string& path, Problems* problems) {
  if (CheckTrafficMessage(message, path, problems) || CheckHostMessage(message, path, problems)) {
    return;
  }
  const google::protobuf::Descriptor* type = message.GetDescriptor();
  if (type == v1::Fault::descriptor()) {
    CheckKind(static_cast<const v1::Fault&>(message), path, problems);
  } else if (type == v1::Amount::descriptor()) {
    CheckAmount(static_cast<const v1::Amount&>(message), path, problems);
  } else if (type == v1::Comparison::descriptor()) {
    CheckComparison(static_cast<const v1::Comparison&>(message), path, problems);
  }
}

}  // namespace firedrill
