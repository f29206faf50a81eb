// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "controller/registry/registry.h"
#include "controller/run/engine.h"
#include "controller/service/previews.h"
#include "proto/support/clock.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace firedrill::controller {

struct AgentLinkOptions {
  bool insecure = false;
  Nanoseconds lease = std::chrono::seconds(15);
  Nanoseconds heartbeat_interval = std::chrono::seconds(2);
  std::string instance;  ///< New with each start of the controller.
};

/// The agents' end of the controller: one stream an agent, which feeds the registry and the engine.
/// Thread-safe. Closes streams that break the protocol, flood, or fall silent.
class AgentLinkService {
 public:
  virtual ~AgentLinkService() = default;
  virtual grpc::Service* service() = 0;
};

/// `registry`, `engine`, `previews` and `clock` must outlive the service, which must outlive its
/// server.
std::unique_ptr<AgentLinkService> MakeAgentLinkService(AgentRegistry& registry, RunEngine& engine,
                                                       Previews& previews, const Clock& clock,
                                                       AgentLinkOptions options);

}  // namespace firedrill::controller
