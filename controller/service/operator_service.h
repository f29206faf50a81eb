// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "controller/registry/registry.h"
#include "controller/replay/rule_past.h"
#include "controller/run/engine.h"
#include "controller/schedule/scheduler.h"
#include "controller/service/previews.h"
#include "controller/store/store.h"
#include "proto/support/clock.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace firedrill::controller {

struct OperatorServiceOptions {
  bool insecure = false;
  std::string instance;        ///< New with each start of the controller.
  PastReader* past = nullptr;  ///< For replaying rules; null: there is no Prometheus.
};

/// What people and their tools ask of the controller. Thread-safe.
class OperatorServiceHost {
 public:
  virtual ~OperatorServiceHost() = default;
  virtual grpc::Service* service() = 0;
};

/// The references must outlive the service, which must outlive its server.
std::unique_ptr<OperatorServiceHost> MakeOperatorService(AgentRegistry& registry, RunEngine& engine,
                                                         Previews& previews, Store& store,
                                                         const Clock& clock,
                                                         OperatorServiceOptions options);

}  // namespace firedrill::controller
