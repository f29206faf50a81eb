// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "agent/faults/fault.h"
#include "agent/supervisor/limits.h"
#include "firedrill/v1/agent_link.pb.h"

namespace firedrill::agent {

/// Fills in what this host is and can: addresses, boot, kernel, abilities, faults.
void DescribeHost(const Host& host, std::span<const FaultKind> kinds, const Limits& limits,
                  v1::Hello& hello);

/// For people: two tables, what each fault needs and what to do about what is missing.
std::string DoctorTable(const v1::Hello& hello);

/// For programs: {"kernel", "abilities": [{name, available, reason}], "faults": [{fault, supported,
/// reason}]}.
std::string DoctorJson(const v1::Hello& hello);

}  // namespace firedrill::agent
