// SPDX-License-Identifier: Apache-2.0
#include "agent/supervisor/limits.h"

#include <fmt/format.h>

#include "proto/support/fault_rules.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {

absl::Status Limits::Admit(const v1::Fault& fault, std::optional<Nanoseconds> duration, int live) {
  RETURN_IF_ERROR(ValidateInjection(fault, duration));
  RETURN_IF_ERROR(CheckAllowed(fault.kind_case()));
  if (live >= live_cap_) {
    ++over_cap_;
    return absl::ResourceExhaustedError(fmt::format(
        "{} faults live on this host and no more are allowed (--max-live-faults)", live));
  }
  return absl::OkStatus();
}

absl::Status Limits::CheckAllowed(v1::Fault::KindCase kind) const {
  const std::string name = FaultName(kind);
  if (FaultRulesOf(kind).reversible() || allowed_.contains(name)) return absl::OkStatus();
  return absl::PermissionDeniedError(fmt::format(
      "{0} cannot be undone, and this host's owner has not allowed it: start the agent with "
      "--allow {0}",
      name));
}

}  // namespace firedrill::agent
