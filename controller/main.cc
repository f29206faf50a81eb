// SPDX-License-Identifier: Apache-2.0
// firedrill-controller: flags and wiring only.
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <random>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_format.h"
#include "controller/grafana/annotator.h"
#include "controller/http/server.h"
#include "controller/metrics/metrics.h"
#include "controller/options.h"
#include "controller/probe/prometheus.h"
#include "controller/registry/registry.h"
#include "controller/replay/rule_past.h"
#include "controller/routes.h"
#include "controller/run/engine.h"
#include "controller/schedule/scheduler.h"
#include "controller/service/agent_link.h"
#include "controller/service/audit.h"
#include "controller/service/operator_service.h"
#include "controller/service/previews.h"
#include "controller/service/server.h"
#include "controller/store/sqlite_store.h"
#include "proto/support/status_macros.h"
#include "proto/support/version.h"

namespace firedrill::controller {
namespace {

constexpr Nanoseconds kStopWithin = std::chrono::seconds(20);

std::string NewInstance() {
  std::random_device random;
  return absl::StrFormat("%08x%08x", random(), random());
}

// Blocks the signals that stop the program, in this thread and all that it starts.
sigset_t BlockStopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

absl::StatusOr<std::unique_ptr<HttpServer>> StartHttp(const Options& options,
                                                      const ControllerMetrics& metrics,
                                                      RunEngine& engine, Auditor& auditor) {
  ASSIGN_OR_RETURN(const HostPort address, SplitAddress(options.http_listen, "http-listen"));
  HttpOptions http;
  http.address = address.host;
  http.port = address.port;
  http.certificate_file = options.http_certificate;
  http.key_file = options.http_key;
  http.token_file = options.webhook_token_file;
  ASSIGN_OR_RETURN(std::unique_ptr<HttpServer> server,
                   HttpServer::Start(http, MakeRoutes(metrics, engine, auditor,
                                                      {.token = !http.token_file.empty(),
                                                       .secret_file = options.pager_secret_file})));
  spdlog::info("serving /metrics, /healthz, /webhook/alertmanager and /webhook/pager on {} port {}",
               address.host, server->port());
  return server;
}

absl::Status Run(const Options& options) {
  const sigset_t signals = BlockStopSignals();
  const Clock& clock = Clock::Real();
  const std::string instance = NewInstance();

  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, OpenSqliteStore(options.data));
  std::unique_ptr<PrometheusProbe> probe;
  std::unique_ptr<PrometheusPast> past;
  if (options.prometheus) {
    ASSIGN_OR_RETURN(probe, PrometheusProbe::Create(*options.prometheus, clock));
    ASSIGN_OR_RETURN(past, PrometheusPast::Create(*options.prometheus, clock));
  }
  AgentRegistry registry(clock);
  EngineOptions engine_options;
  if (options.prometheus) engine_options.run.probe_deadline = options.prometheus->deadline;
  engine_options.run.lease = options.lease;
  engine_options.run.renew_every = options.lease / 3;
  engine_options.retain_age = options.retain_age;
  engine_options.retain_runs = options.retain_runs;
  std::unique_ptr<ControllerMetrics> metrics;
  std::unique_ptr<GrafanaAnnotator> annotator;
  RunEngine engine(*store, registry, probe.get(), clock, engine_options,
                   [&metrics, &annotator](const v1::Run& run) {
                     metrics->RunFinished(run);
                     if (annotator != nullptr) annotator->RunFinished(run);
                   });
  if (options.grafana) {
    ASSIGN_OR_RETURN(annotator,
                     GrafanaAnnotator::Create(
                         *options.grafana, [&engine] { return engine.LiveRuns(); }, clock));
  }
  // It asks the engine, so it stops before that goes.
  const absl::Cleanup stop_annotator = [&annotator] {
    if (annotator != nullptr) annotator->Stop();
  };
  metrics = std::make_unique<ControllerMetrics>(
      SoftwareVersion(),
      [&] {
        FleetFigures figures = Figures(registry, engine, *store);
        if (annotator != nullptr) figures.annotations = annotator->figures();
        return figures;
      },
      clock);
  RETURN_IF_ERROR(RebuildMetrics(*store, *metrics));
  RETURN_IF_ERROR(engine.Recover());
  engine.Start();

  const bool insecure = options.credentials.insecure;
  Previews previews(registry, clock, options.lease);
  const auto agents =
      MakeAgentLinkService(registry, engine, previews, clock,
                           {.insecure = insecure, .lease = options.lease, .instance = instance});
  const auto operators =
      MakeOperatorService(registry, engine, previews, *store, clock,
                          {.insecure = insecure, .instance = instance, .past = past.get()});
  ASSIGN_OR_RETURN(const std::unique_ptr<GrpcServer> server,
                   GrpcServer::Start(options.listen, options.credentials,
                                     {agents->service(), operators->service()}));
  for (std::size_t i = 0; i < options.listen.size(); ++i) {
    ASSIGN_OR_RETURN(const HostPort address, SplitAddress(options.listen[i], "listen"));
    spdlog::info("listening for agents and operators on {} port {}{}", address.host,
                 server->ports()[i], insecure ? ", without TLS" : "");
  }
  Auditor auditor(*store, clock);
  std::unique_ptr<HttpServer> http;
  if (!options.http_listen.empty()) {
    ASSIGN_OR_RETURN(http, StartHttp(options, *metrics, engine, auditor));
  }
  Scheduler scheduler(
      *store, clock,
      {.start =
           [&engine](const v1::Experiment& experiment) {
             engine.StartRun(
                 {.run_id = "", .experiment = experiment, .who = "schedule", .scheduled = true},
                 [](const absl::StatusOr<v1::Run>& /*logged by the engine*/) {});
           },
       .busy =
           [&engine](const std::string& experiment) {
             for (const auto& run : engine.LiveRuns()) {
               if (run->experiment().name() == experiment) return true;
             }
             return false;
           }});
  scheduler.Start();

  int signal = 0;
  sigwait(&signals, &signal);
  spdlog::warn("{}: aborting what runs, then stopping", strsignal(signal));
  engine.Stop("the controller was stopped", kStopWithin);
  registry.CloseAll(absl::UnavailableError("the controller is stopping"));
  server->Shutdown(std::chrono::seconds(2));
  return absl::OkStatus();
}

}  // namespace
}  // namespace firedrill::controller

int main(int argc, char** argv) {
  using namespace firedrill;
  const absl::StatusOr<controller::Options> options = controller::ParseOptions(argc, argv);
  if (!options.ok()) {
    std::fprintf(stderr, "firedrill-controller: %s\nSee firedrill-controller --help\n",
                 std::string(options.status().message()).c_str());
    return 2;
  }
  if (options->help) {
    std::fputs(controller::HelpText().c_str(), stdout);
    return 0;
  }
  if (options->version) {
    std::printf("firedrill-controller %s\n", SoftwareVersion());
    return 0;
  }
  spdlog::set_default_logger(spdlog::stderr_color_mt("firedrill-controller"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %^%l%$ %v", spdlog::pattern_time_type::utc);
  spdlog::set_level(spdlog::level::from_str(options->log_level));
  if (const absl::Status status = controller::Run(*options); !status.ok()) {
    spdlog::critical("{}", std::string(status.message()));
    return 1;
  }
  return 0;
}
