// SPDX-License-Identifier: Apache-2.0
#include "controller/routes.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "controller/probe/alertmanager.h"
#include "proto/support/problem.h"
#include "proto/support/status_macros.h"

namespace firedrill::controller {
namespace {

constexpr std::size_t kPage = 1000;

HttpResponse TakeWebhook(RunEngine& engine, const HttpRequest& request) {
  std::uint64_t truncated = 0;
  absl::StatusOr<std::vector<AlertNotice>> notices =
      ParseAlertmanagerWebhook(request.body, request.received, &truncated);
  if (!notices.ok()) {
    const std::string why(notices.status().message());
    spdlog::warn("webhook from {} refused: {}", request.peer, why);
    return {.status = 400, .body = why + "\n"};
  }
  if (truncated > 0) {
    spdlog::warn("webhook from {} leaves out {} alerts: raise max_alerts of its receiver",
                 request.peer, truncated);
  }
  for (const AlertNotice& notice : *notices) {
    spdlog::info("alert={} {} by webhook", Quoted(notice.alert),
                 notice.firing ? "firing" : "resolved");
  }
  engine.Notice(*std::move(notices));
  return {.body = "ok\n"};
}

}  // namespace

std::vector<Route> MakeRoutes(const ControllerMetrics& metrics, RunEngine& engine, Auditor& auditor,
                              PagerAccess pager) {
  std::vector<Route> routes;
  routes.push_back({.method = "GET", .path = "/metrics", .handler = [&metrics](const HttpRequest&) {
                      HttpResponse response;
                      response.content_type = ControllerMetrics::ContentType();
                      response.body = metrics.Render();
                      return response;
                    }});
  routes.push_back({.method = "GET", .path = "/healthz", .handler = [&engine](const HttpRequest&) {
                      const absl::Status health = engine.Health();
                      if (health.ok()) return HttpResponse{.body = "ok\n"};
                      return HttpResponse{.status = 503,
                                          .body = std::string(health.message()) + "\n"};
                    }});
  routes.push_back(
      {.method = "POST",
       .path = "/webhook/alertmanager",
       .handler = [&engine](const HttpRequest& request) { return TakeWebhook(engine, request); },
       .token = pager.token});
  routes.push_back(MakePagerRoute(engine, auditor, std::move(pager)));
  return routes;
}

FleetFigures Figures(const AgentRegistry& registry, const RunEngine& engine, Store& store) {
  FleetFigures figures;
  figures.agents = registry.Agents();
  figures.live_runs = engine.LiveRuns();
  if (auto applied = store.ListExperiments(); applied.ok()) {
    for (StoredExperiment& stored : *applied) {
      figures.applied.push_back(std::move(*stored.applied.mutable_experiment()));
    }
  }
  return figures;
}

absl::Status RebuildMetrics(Store& store, ControllerMetrics& metrics) {
  std::vector<v1::Run> runs;
  RunQuery query;
  query.finished_only = true;
  query.limit = kPage;
  while (true) {
    ASSIGN_OR_RETURN(std::vector<v1::Run> page, store.ListRuns(query));
    const bool last = page.size() < kPage;
    if (!page.empty()) query.before_run_id = page.back().id();
    std::move(page.begin(), page.end(), std::back_inserter(runs));
    if (last) break;
  }
  std::reverse(runs.begin(), runs.end());
  metrics.Rebuild(runs);
  return absl::OkStatus();
}

}  // namespace firedrill::controller
