// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "controller/http/server.h"
#include "controller/metrics/metrics.h"
#include "controller/pager_route.h"
#include "controller/registry/registry.h"
#include "controller/run/engine.h"
#include "controller/store/store.h"

namespace firedrill::controller {

/// /metrics, /healthz, /webhook/alertmanager and /webhook/pager. The references must outlive the
/// HTTP server. Both webhooks demand the bearer token if `pager` does.
std::vector<Route> MakeRoutes(const ControllerMetrics& metrics, RunEngine& engine, Auditor& auditor,
                              PagerAccess pager);

/// Agents, what runs and what is applied, as a scrape shows them. What the store cannot tell is
/// left out.
FleetFigures Figures(const AgentRegistry& registry, const RunEngine& engine, Store& store);

/// Counts every finished run of the store, oldest first.
absl::Status RebuildMetrics(Store& store, ControllerMetrics& metrics);

}  // namespace firedrill::controller
