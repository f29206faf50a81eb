// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/faults/fault.h"

namespace firedrill::agent {

/// Every numeric endpoint that HOST:PORT resolves to; empty if it does not. Blocks on DNS.
std::vector<Protected::Endpoint> Resolve(const std::string& controller);

/// The endpoint in gRPC's words for a peer: ipv4:192.0.2.1:7443, ipv6:%5B2001:db8::1%5D:7443.
std::optional<Protected::Endpoint> ParsePeer(const std::string& peer);

}  // namespace firedrill::agent
