// SPDX-License-Identifier: Apache-2.0
#include "controller/metrics/outcomes.h"

#include <algorithm>

#include "proto/support/time.h"

namespace firedrill::controller {

const std::array<Timed, 5> kTimes = {{
    {"detect", "From the first impact to the first expected alert's firing",
     &v1::Run::has_time_to_detect, &v1::Run::time_to_detect, false},
    {"notify", "From the first impact to the first notification of an expected alert",
     &v1::Run::has_time_to_notify, &v1::Run::time_to_notify, false},
    {"acknowledge", "From the first impact until a person took notice",
     &v1::Run::has_time_to_acknowledge, &v1::Run::time_to_acknowledge, false},
    {"mitigate", "From the first impact until a person had done something against it",
     &v1::Run::has_time_to_mitigate, &v1::Run::time_to_mitigate, false},
    {"recover", "From the first impact until the last indicator was well again",
     &v1::Run::has_time_to_recover, &v1::Run::time_to_recover, true},
}};

std::optional<double> Happened(const v1::Run& run, const Timed& timed) {
  if (!(run.*timed.has)() || (run.*timed.get)().censored()) return std::nullopt;
  return Seconds(FromProto((run.*timed.get)().value()));
}

std::string DetectionLabel(v1::DetectionOutcome outcome) {
  return LabelOf(v1::DetectionOutcome_Name(outcome), "DETECTION_OUTCOME_");
}
std::string RecoveryLabel(v1::RecoveryOutcome outcome) {
  return LabelOf(v1::RecoveryOutcome_Name(outcome), "RECOVERY_OUTCOME_");
}
std::string VerdictLabel(v1::Verdict verdict) {
  return LabelOf(v1::Verdict_Name(verdict), "VERDICT_");
}

std::string LabelOf(const std::string& name, const std::string& prefix) {
  std::string label = name.substr(std::min(prefix.size(), name.size()));
  if (label == "UNSPECIFIED") return "none";
  for (char& c : label) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return label;
}

}  // namespace firedrill::controller
