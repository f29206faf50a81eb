// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace firedrill::agent {

class Host;

/// One thing that faults may need of a host.
struct HostAbility {
  std::string name;
  bool available = false;
  std::string reason;  ///< Why not and what to do about it; or how it was found.
};

/// Whether this process has the capability (CAP_SYS_TIME, …) in effect.
bool HasCapability(const Host& host, int capability);

/// OK if this process is in the namespace of the kind that the kernel began with ("user", "pid"),
/// so that what it does to the machine reaches the machine. FAILED_PRECONDITION otherwise.
absl::Status CheckFirstNamespace(const Host& host, const std::string& kind);

/// What this host's kernel and this process' rights offer, found by trying.
std::vector<HostAbility> ProbeAbilities(const Host& host);

}  // namespace firedrill::agent
