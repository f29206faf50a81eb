// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/words.h"

#include <fmt/format.h>

#include <algorithm>

#include "absl/time/time.h"
#include "google/protobuf/generated_enum_reflection.h"
#include "proto/support/field_rules.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

// The enum's own name with spaces, which is what most words are.
template <typename Enum>
std::string FromName(Enum value) {
  const auto* descriptor =
      google::protobuf::GetEnumDescriptor<Enum>()->FindValueByNumber(static_cast<int>(value));
  if (descriptor == nullptr) return fmt::format("unknown ({})", static_cast<int>(value));
  std::string text = EnumText(*descriptor);
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

}  // namespace

std::string Word(v1::RunState state) { return FromName(state); }
std::string Word(v1::Verdict verdict) { return FromName(verdict); }
std::string Word(v1::MarkKind kind) {
  return kind == v1::MARK_KIND_SLO_BREACHED ? "SLO breached" : FromName(kind);
}
std::string Word(v1::InjectionState state) { return FromName(state); }
std::string Word(v1::StageKind kind) { return FromName(kind); }
std::string Word(v1::AgentState state) { return FromName(state); }

std::string Word(v1::DetectionOutcome outcome) {
  return outcome == v1::DETECTION_OUTCOME_UNSPECIFIED ? "—" : FromName(outcome);
}

std::string Word(v1::RecoveryOutcome outcome) {
  switch (outcome) {
    case v1::RECOVERY_OUTCOME_UNSPECIFIED:
      return "—";
    case v1::RECOVERY_OUTCOME_SELF_RECOVERED:
      return "self-recovered";
    case v1::RECOVERY_OUTCOME_AFTER_RESPONDER:
      return "after a responder acted";
    case v1::RECOVERY_OUTCOME_AFTER_END:
      return "after the end";
    default:
      return FromName(outcome);
  }
}

std::string Word(v1::MarkSource source) {
  switch (source) {
    case v1::MARK_SOURCE_PROMETHEUS_SAMPLE:
      return "Prometheus";
    case v1::MARK_SOURCE_ALERTMANAGER:
      return "Alertmanager";
    default:
      return FromName(source);
  }
}

std::string Word(v1::EndReason reason) {
  switch (reason) {
    case v1::END_REASON_UNSPECIFIED:
      return "";
    case v1::END_REASON_DURATION:
      return "its time was over";
    case v1::END_REASON_REQUESTED:
      return "the controller asked";
    case v1::END_REASON_LEASE:
      return "its lease ran out";
    case v1::END_REASON_WORKER_DIED:
      return "its worker died";
    case v1::END_REASON_AGENT_STOPPING:
      return "the agent stopped";
    case v1::END_REASON_COMPLETED:
      return "it was over by itself";
    case v1::END_REASON_HOST_CHANGED:
      return "what it lived on went away";
    default:
      return FromName(reason);
  }
}

Colour ColourOf(v1::Verdict verdict) {
  switch (verdict) {
    case v1::VERDICT_PASSED:
      return Colour::kGood;
    case v1::VERDICT_FAILED:
    case v1::VERDICT_UNCLEAN:
      return Colour::kBad;
    default:
      return Colour::kWarning;
  }
}

Colour ColourOf(v1::MarkKind kind) {
  switch (kind) {
    case v1::MARK_KIND_APPLIED:
    case v1::MARK_KIND_FIRST_IMPACT:
    case v1::MARK_KIND_SLO_BREACHED:
      return Colour::kWarning;
    case v1::MARK_KIND_ALERT_PENDING:
    case v1::MARK_KIND_ALERT_FIRING:
    case v1::MARK_KIND_NOTIFIED:
    case v1::MARK_KIND_ACKNOWLEDGED:
    case v1::MARK_KIND_MITIGATED:
      return Colour::kNote;
    case v1::MARK_KIND_ENDED:
    case v1::MARK_KIND_RECOVERED:
      return Colour::kGood;
    default:
      return Colour::kPlain;
  }
}

std::string MeasureText(const v1::Measure& measure) {
  if (!measure.has_value()) return "—";
  const std::string value = FormatDuration(FromProto(measure.value()));
  return measure.censored() ? "> " + value : value;
}

std::string MeasureWithError(const v1::Measure& measure) {
  std::string text = MeasureText(measure);
  const Nanoseconds error = FromProto(measure.uncertainty());
  if (measure.has_value() && error > Nanoseconds(0)) text += " ± " + FormatDuration(error);
  return text;
}

std::string ClockText(const google::protobuf::Timestamp& time) {
  return absl::FormatTime("%H:%M:%E3S",
                          absl::FromUnixNanos(FromProto(time).time_since_epoch().count()),
                          absl::LocalTimeZone());
}

std::string DateText(const google::protobuf::Timestamp& time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S",
                          absl::FromUnixNanos(FromProto(time).time_since_epoch().count()),
                          absl::LocalTimeZone());
}

}  // namespace firedrill::cli
