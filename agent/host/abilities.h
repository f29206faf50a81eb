// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace firedrill::agent {

class Host;

/// One thing that faults may need of a host.
struct HostAbility {
  std::string name;
  bool available = false;
  std::string reason;  ///< Why not and what to do about it; or how it was found.
};

/// What this host's kernel and this process' rights offer, found by trying.
std::vector<HostAbility> ProbeAbilities(const Host& host);

}  // namespace firedrill::agent
