// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

/// Lets systemd reload a unit. `wait`: until it has done so, for at most `within`; else until it
/// has taken the job. DEADLINE_EXCEEDED, UNAVAILABLE (no systemctl), FAILED_PRECONDITION with what
/// systemctl said. Blocks the caller.
absl::Status ReloadUnit(const std::string& unit, bool wait, Nanoseconds within);

}  // namespace firedrill::agent
