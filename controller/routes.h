// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "controller/http/server.h"
#include "controller/metrics/metrics.h"
#include "controller/registry/registry.h"
#include "controller/run/engine.h"
#include "controller/store/store.h"

namespace firedrill::controller {

/// /metrics, /healthz and /webhook/alertmanager. The references must outlive the HTTP server.
/// `webhook_token`: the webhook demands the bearer token of the server's token file.
std::vector<Route> MakeRoutes(const ControllerMetrics& metrics, RunEngine& engine,
                              bool webhook_token);

/// Agents and live faults, as a scrape shows them.
FleetFigures Figures(const AgentRegistry& registry, const RunEngine& engine);

/// Counts every finished run of the store, oldest first.
absl::Status RebuildMetrics(Store& store, ControllerMetrics& metrics);

}  // namespace firedrill::controller
