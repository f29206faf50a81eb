// SPDX-License-Identifier: Apache-2.0
#include "agent/supervisor/limits.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/files/allowed_files.h"
#include "proto/support/fault_rules.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr Nanoseconds kLongestPreview = std::chrono::minutes(5);

}  // namespace

absl::Status Limits::Admit(const v1::Fault& fault, std::optional<Nanoseconds> duration, int live) {
  RETURN_IF_ERROR(ValidateInjection(fault, duration));
  RETURN_IF_ERROR(CheckAllowed(fault.kind_case()));
  if (fault.has_config_change()) {
    RETURN_IF_ERROR(CheckFileAllowed(allowed_files_, fault.config_change().path()));
  }
  RETURN_IF_ERROR(CheckNeeds(fault));
  if (live >= live_cap_) {
    ++over_cap_;
    return absl::ResourceExhaustedError(fmt::format(
        "{} faults live on this host and no more are allowed (--max-live-faults)", live));
  }
  return absl::OkStatus();
}

absl::Status Limits::AdmitPreview(const v1::Fault& fault, std::optional<Nanoseconds> duration,
                                  int live) const {
  RETURN_IF_ERROR(ValidateFault(fault));
  if (!duration.has_value() || *duration <= Nanoseconds(0) || *duration > kLongestPreview) {
    return absl::InvalidArgumentError("duration: a preview lasts over 0s and at most 5m");
  }
  RETURN_IF_ERROR(CheckNeeds(fault));
  if (live < live_cap_) return absl::OkStatus();
  return absl::ResourceExhaustedError(fmt::format(
      "{} previews live on this host and no more are allowed (--max-live-faults)", live));
}

absl::Status Limits::CheckNeeds(const v1::Fault& fault) const {
  const auto& of_kind = FaultRulesOf(fault.kind_case()).needs();
  for (const std::string& need : NeedsOf(fault)) {
    if (std::find(of_kind.begin(), of_kind.end(), need) != of_kind.end()) continue;
    const auto ability =
        std::find_if(abilities_.begin(), abilities_.end(),
                     [&](const v1::Ability& known) { return known.name() == need; });
    if (ability != abilities_.end() && ability->available()) continue;
    return absl::UnimplementedError(fmt::format(
        "{} with these parameters needs {} of this host: {}", FaultName(fault.kind_case()), need,
        ability == abilities_.end() ? "this agent does not know it" : ability->reason()));
  }
  return absl::OkStatus();
}

absl::Status Limits::CheckAllowed(v1::Fault::KindCase kind) const {
  if (kind == v1::Fault::kConfigChange && allowed_files_.empty()) {
    return absl::PermissionDeniedError(
        "this host's owner has allowed no file to be edited: start the agent with --allow-file "
        "PATTERN, such as /etc/shop/*.conf");
  }
  const std::string name = FaultName(kind);
  if (FaultRulesOf(kind).reversible() || allowed_.contains(name)) return absl::OkStatus();
  return absl::PermissionDeniedError(fmt::format(
      "{0} cannot be undone, and this host's owner has not allowed it: start the agent with "
      "--allow {0}",
      name));
}

}  // namespace firedrill::agent
