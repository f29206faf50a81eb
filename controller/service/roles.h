// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Who may do what, by the certificate's name alone. `peer` is PeerName's: the URI SAN of the peer's
// certificate. With `insecure` there are no certificates, and everything is allowed: the server
// then listens on loopback alone.
namespace firedrill::controller {

/// OK if the peer's certificate is that of the agent `agent_id`: spiffe://firedrill/agent/ID.
/// PERMISSION_DENIED says what the certificate says instead.
absl::Status AuthorizeAgent(std::string_view peer, std::string_view agent_id, bool insecure);

/// The operator's name, of spiffe://firedrill/operator/NAME; "local" when insecure.
/// PERMISSION_DENIED as above.
absl::StatusOr<std::string> AuthorizeOperator(std::string_view peer, bool insecure);

}  // namespace firedrill::controller
