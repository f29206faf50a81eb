// SPDX-License-Identifier: Apache-2.0
#include "controller/service/roles.h"

#include <fmt/format.h>

namespace firedrill::controller {
namespace {

constexpr std::string_view kAgent = "spiffe://firedrill/agent/";
constexpr std::string_view kOperator = "spiffe://firedrill/operator/";

std::string Found(std::string_view peer) {
  return peer.empty() ? "there is no certificate" : fmt::format("the certificate is of {}", peer);
}

}  // namespace

absl::Status AuthorizeAgent(std::string_view peer, std::string_view agent_id, bool insecure) {
  if (agent_id.empty()) return absl::InvalidArgumentError("the agent's id is empty");
  if (insecure) return absl::OkStatus();
  if (peer.substr(0, kAgent.size()) == kAgent && peer.substr(kAgent.size()) == agent_id) {
    return absl::OkStatus();
  }
  return absl::PermissionDeniedError(fmt::format("agent {} needs a certificate of {}{}; {}",
                                                 agent_id, kAgent, agent_id, Found(peer)));
}

absl::StatusOr<std::string> AuthorizeOperator(std::string_view peer, bool insecure) {
  if (insecure) return std::string("local");
  if (peer.substr(0, kOperator.size()) == kOperator && peer.size() > kOperator.size()) {
    return std::string(peer.substr(kOperator.size()));
  }
  return absl::PermissionDeniedError(
      fmt::format("operators need a certificate of {}NAME; {}", kOperator, Found(peer)));
}

}  // namespace firedrill::controller
