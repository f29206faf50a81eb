// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "bpf/traffic.h"

namespace firedrill::agent {

/// Stable 64-bit hash (FNV-1a) of an injection's id: what the kernel's tables carry of it. Never 0.
std::uint64_t HashInjection(std::string_view id);

/// Writes this process and its namespaces into `control`.
void WriteOwner(fd_control& control);

/// Whether the owner lives in this process's network and pid namespaces: another's leftovers are
/// another agent's to find.
bool IsFromHere(const fd_control& control);

/// Whether the owner still runs: the pid exists, has the start time, and is no zombie. Only
/// meaningful for one from here.
bool OwnerLives(const fd_control& control);

}  // namespace firedrill::agent
