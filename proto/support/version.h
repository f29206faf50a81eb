// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "firedrill/v1/agent_link.pb.h"

namespace firedrill {

/// This program's version: 0.1.0.
const char* SoftwareVersion();

/// The version of the protocol that this program speaks.
v1::ProtocolVersion OwnProtocolVersion();

/// OK for a peer of the same major version, at most one minor version away. FAILED_PRECONDITION
/// names both versions and says which side to upgrade; `peer` is "controller" or "agent".
absl::Status CheckProtocolVersion(const v1::ProtocolVersion& version, const char* peer);

}  // namespace firedrill
