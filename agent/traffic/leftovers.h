// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/traffic/netlink.h"

namespace firedrill::agent {

/// OK if the kernel holds no rule of this injection in force, and, of workers of this network and
/// pid namespace that no longer live, no program, link, filter or device. Any process may ask. The
/// kernel frees what a killed process held within milliseconds, so this asks again for up to a
/// second before it says no. The message names what is left.
absl::Status VerifyTrafficGone(const std::string& injection_id);

/// Whether this process may look so at all. PERMISSION_DENIED names the capability that it lacks.
absl::Status ProbeVerification();

/// Removes, from every device, filters of workers that no longer live. Leaves living workers',
/// other programs' filters and all qdiscs alone; a journal's record knows whether to remove a qdisc
/// too.
absl::Status SweepTraffic();

/// Whether the living worker `pid` has filters on the device.
absl::StatusOr<bool> HasFiltersOf(int pid, const NetworkDevice& device, Netlink& netlink);

/// As SweepTraffic, for one device.
absl::Status RemoveDeadFilters(const NetworkDevice& device, Netlink& netlink);

}  // namespace firedrill::agent
