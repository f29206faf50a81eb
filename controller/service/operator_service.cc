// SPDX-License-Identifier: Apache-2.0
#include "controller/service/operator_service.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <utility>

#include "controller/experiment/rules.h"
#include "controller/replay/replay.h"
#include "controller/service/audit.h"
#include "controller/service/background.h"
#include "controller/service/checks.h"
#include "controller/service/preview_stream.h"
#include "controller/service/responders.h"
#include "controller/service/roles.h"
#include "controller/service/trend_reader.h"
#include "controller/service/watch_stream.h"
#include "firedrill/v1/operator.grpc.pb.h"
#include "proto/support/credentials.h"
#include "proto/support/fault_rules.h"
#include "proto/support/grpc_status.h"
#include "proto/support/status_macros.h"
#include "proto/support/time.h"
#include "proto/support/version.h"

namespace firedrill::controller {
namespace {

constexpr std::uint32_t kDefaultRuns = 50;
constexpr std::uint32_t kMostRuns = 1000;
constexpr std::size_t kBackgroundThreads = 2;
constexpr std::size_t kMostWaiting = 8;

class Service : public OperatorServiceHost, public v1::OperatorService::CallbackService {
 public:
  Service(AgentRegistry& registry, RunEngine& engine, Previews& previews, Store& store,
          const Clock& clock, OperatorServiceOptions options)
      : registry_(registry),
        engine_(engine),
        previews_(previews),
        store_(store),
        clock_(clock),
        auditor_(store, clock),
        options_(std::move(options)) {}

  grpc::Service* service() override { return this; }

  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest* /*request*/,
                                          v1::GetServerInfoResponse* response) override {
    return Answer(context, [&](const std::string& who) {
      response->set_software_version(SoftwareVersion());
      *response->mutable_version() = OwnProtocolVersion();
      response->set_instance(options_.instance);
      *response->mutable_now() = ToProto(clock_.System());
      response->set_operator_(who);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* PlanExperiment(grpc::CallbackServerContext* context,
                                           const v1::PlanExperimentRequest* request,
                                           v1::PlanExperimentResponse* response) override {
    return Answer(context, [&](const std::string& /*who*/) {
      RETURN_IF_ERROR(ValidateExperiment(request->experiment()));
      *response->mutable_plan() = engine_.Plan(request->experiment()).plan;
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* StartRun(grpc::CallbackServerContext* context,
                                     const v1::StartRunRequest* request,
                                     v1::StartRunResponse* response) override {
    return AnswerLater(context, [&](const std::string& who, auto finish) -> absl::Status {
      RETURN_IF_ERROR(CheckRunId(request->run_id()));
      RunOrder order;
      order.run_id = request->run_id();
      order.who = who;
      if (request->has_experiment() == !request->experiment_name().empty()) {
        return absl::InvalidArgumentError(
            "start a run of either an experiment or the name of an applied one");
      }
      if (request->has_experiment()) {
        order.experiment = request->experiment();
      } else {
        ASSIGN_OR_RETURN(StoredExperiment stored, store_.GetExperiment(request->experiment_name()));
        order.experiment = std::move(*stored.applied.mutable_experiment());
      }
      RETURN_IF_ERROR(ValidateExperiment(order.experiment));
      RETURN_IF_ERROR(auditor_.Write(who, "run.start", order.experiment.name(), order.run_id));
      engine_.StartRun(std::move(order), [finish, response](absl::StatusOr<v1::Run> run) {
        if (run.ok()) *response->mutable_run() = *std::move(run);
        finish(run.status());
      });
      return absl::OkStatus();
    });
  }

  grpc::ServerWriteReactor<v1::WatchRunResponse>* WatchRun(
      grpc::CallbackServerContext* context, const v1::WatchRunRequest* request) override {
    auto stream = std::make_shared<WatchStream>();
    stream->Begin();
    const absl::StatusOr<std::string> who = Who(context);
    if (!who.ok()) {
      stream->End(ToGrpc(who.status()));
      return stream.get();
    }
    // The engine's thread tells of it, so that no end comes between a look and the watch.
    if (const absl::StatusOr<v1::Run> run = FindRun(request->run_id()); run.ok()) {
      engine_.Watch(run->id(), stream);
    } else {
      stream->End(ToGrpc(run.status()));
    }
    return stream.get();
  }

  grpc::ServerUnaryReactor* AbortRun(grpc::CallbackServerContext* context,
                                     const v1::AbortRunRequest* request,
                                     v1::AbortRunResponse* response) override {
    return AnswerLater(context, [&](const std::string& who, auto finish) -> absl::Status {
      RETURN_IF_ERROR(CheckReason(request->reason()));
      ASSIGN_OR_RETURN(const v1::Run run, FindRun(request->run_id()));
      if (run.state() == v1::RUN_STATE_FINISHED) return IsOver(run);
      auditor_.Note(who, "run.abort", run.id(), request->reason());
      engine_.AbortRun(run.id(), who, request->reason(),
                       [finish, response](absl::StatusOr<v1::Run> aborted) {
                         if (aborted.ok()) *response->mutable_run() = *std::move(aborted);
                         finish(aborted.status());
                       });
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* AcknowledgeRun(grpc::CallbackServerContext* context,
                                           const v1::AcknowledgeRunRequest* request,
                                           v1::AcknowledgeRunResponse* response) override {
    return TakeWord(context, v1::MARK_KIND_ACKNOWLEDGED, request, response);
  }

  grpc::ServerUnaryReactor* MitigateRun(grpc::CallbackServerContext* context,
                                        const v1::MitigateRunRequest* request,
                                        v1::MitigateRunResponse* response) override {
    return TakeWord(context, v1::MARK_KIND_MITIGATED, request, response);
  }

  grpc::ServerUnaryReactor* Halt(grpc::CallbackServerContext* context,
                                 const v1::HaltRequest* request,
                                 v1::HaltResponse* response) override {
    return AnswerLater(context, [&](const std::string& who, auto finish) -> absl::Status {
      RETURN_IF_ERROR(CheckReason(request->reason()));
      auditor_.Note(who, "halt", "", request->reason());
      engine_.Halt(who, request->reason(),
                   [finish, response](absl::StatusOr<RunEngine::Halted> halted) {
                     if (halted.ok()) {
                       for (const std::string& run : halted->runs) response->add_aborted_runs(run);
                       response->set_hosts_told(halted->hosts);
                     }
                     finish(halted.status());
                   });
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* ListRuns(grpc::CallbackServerContext* context,
                                     const v1::ListRunsRequest* request,
                                     v1::ListRunsResponse* response) override {
    return Answer(context, [&](const std::string& /*who*/) -> absl::Status {
      if (request->limit() > kMostRuns) {
        return absl::InvalidArgumentError(
            fmt::format("limit: {}; at most {} are allowed", request->limit(), kMostRuns));
      }
      RunQuery query;
      query.experiment = request->experiment_name();
      query.before_run_id = request->before_run_id();
      query.limit = request->limit() == 0 ? kDefaultRuns : request->limit();
      ASSIGN_OR_RETURN(std::vector<v1::Run> runs, store_.ListRuns(query));
      for (v1::Run& run : runs) *response->add_runs() = std::move(run);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* GetRun(grpc::CallbackServerContext* context,
                                   const v1::GetRunRequest* request,
                                   v1::GetRunResponse* response) override {
    return Answer(context, [&](const std::string& /*who*/) -> absl::Status {
      ASSIGN_OR_RETURN(*response->mutable_run(), FindRun(request->run_id()));
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* GetTrend(grpc::CallbackServerContext* context,
                                     const v1::GetTrendRequest* request,
                                     v1::GetTrendResponse* response) override {
    return AnswerAside(context, [this, request, response]() -> absl::Status {
      ASSIGN_OR_RETURN(*response, ReadTrend(store_, *request));
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* ReplayRule(grpc::CallbackServerContext* context,
                                       const v1::ReplayRuleRequest* request,
                                       v1::ReplayRuleResponse* response) override {
    return AnswerAside(context, [this, context, request, response]() -> absl::Status {
      if (options_.past == nullptr) {
        return absl::FailedPreconditionError(
            "the controller knows no Prometheus whose past could be replayed (--prometheus)");
      }
      ASSIGN_OR_RETURN(const v1::Run run, FindRun(request->run_id()));
      ASSIGN_OR_RETURN(const ReplayPlan plan, PlanReplay(run, *request));
      const auto gone = [context] { return context->IsCancelled(); };
      ASSIGN_OR_RETURN(const RulePast past, options_.past->Read(plan.question, gone));
      *response = Replay(run, plan, past);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* ApplyExperiment(grpc::CallbackServerContext* context,
                                            const v1::ApplyExperimentRequest* request,
                                            v1::ApplyExperimentResponse* response) override {
    return Answer(context, [&](const std::string& who) -> absl::Status {
      const v1::Experiment& experiment = request->experiment();
      RETURN_IF_ERROR(ValidateExperiment(experiment));
      RETURN_IF_ERROR(auditor_.Write(who, "experiment.apply", experiment.name(), ""));
      StoredExperiment stored;
      stored.schedule_seen = clock_.System();
      *stored.applied.mutable_experiment() = experiment;
      *stored.applied.mutable_applied_at() = ToProto(stored.schedule_seen);
      stored.applied.set_applied_by(who);
      ASSIGN_OR_RETURN(const bool created, store_.SaveExperiment(stored));
      ASSIGN_OR_RETURN(stored, store_.GetExperiment(experiment.name()));
      *response->mutable_applied() = WithNextRun(stored);
      response->set_created(created);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* DeleteExperiment(grpc::CallbackServerContext* context,
                                             const v1::DeleteExperimentRequest* request,
                                             v1::DeleteExperimentResponse* /*response*/) override {
    return Answer(context, [&](const std::string& who) -> absl::Status {
      RETURN_IF_ERROR(auditor_.Write(who, "experiment.delete", request->name(), ""));
      return store_.DeleteExperiment(request->name());
    });
  }

  grpc::ServerUnaryReactor* ListExperiments(grpc::CallbackServerContext* context,
                                            const v1::ListExperimentsRequest* /*request*/,
                                            v1::ListExperimentsResponse* response) override {
    return Answer(context, [&](const std::string& /*who*/) -> absl::Status {
      ASSIGN_OR_RETURN(const std::vector<StoredExperiment> all, store_.ListExperiments());
      for (const StoredExperiment& stored : all) *response->add_experiments() = WithNextRun(stored);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* ListAgents(grpc::CallbackServerContext* context,
                                       const v1::ListAgentsRequest* /*request*/,
                                       v1::ListAgentsResponse* response) override {
    return Answer(context, [&](const std::string& /*who*/) {
      for (v1::Agent& agent : registry_.Agents()) *response->add_agents() = std::move(agent);
      return absl::OkStatus();
    });
  }

  grpc::ServerWriteReactor<v1::PreviewResponse>* Preview(
      grpc::CallbackServerContext* context, const v1::PreviewRequest* request) override {
    auto stream = std::make_shared<PreviewStream>(previews_);
    if (const absl::StatusOr<std::string> who = Who(context); who.ok()) {
      auditor_.Note(*who, "preview", FaultName(request->fault().kind_case()),
                    FaultText(request->fault()));
      stream->Begin(*request);
    } else {
      stream->Refuse(who.status());
    }
    return stream.get();
  }

 private:
  absl::StatusOr<std::string> Who(const grpc::CallbackServerContext* context) const {
    return AuthorizeOperator(PeerName(*context->auth_context()), options_.insecure);
  }

  // Answers at once with what `handle(who)` returns.
  template <typename Handle>
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const Handle& handle) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const absl::StatusOr<std::string> who = Who(context);
    reactor->Finish(ToGrpc(who.ok() ? handle(*who) : who.status()));
    return reactor;
  }

  // `handle(who, finish)` returns an error, or arranges that `finish(status)` is called once.
  template <typename Handle>
  grpc::ServerUnaryReactor* AnswerLater(grpc::CallbackServerContext* context,
                                        const Handle& handle) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const absl::StatusOr<std::string> who = Who(context);
    const auto finish = [reactor](const absl::Status& status) { reactor->Finish(ToGrpc(status)); };
    if (const absl::Status begun = who.ok() ? handle(*who, finish) : who.status(); !begun.ok()) {
      finish(begun);
    }
    return reactor;
  }

  // Answers with what `handle()` returns, which may take its time; by a thread that serves nobody
  // else. What it refers to lives until then.
  template <typename Handle>
  grpc::ServerUnaryReactor* AnswerAside(grpc::CallbackServerContext* context, Handle handle) {
    return AnswerLater(context, [&](const std::string& /*who*/, auto finish) {
      return background_.Add([handle, finish] { finish(handle()); });
    });
  }

  template <typename Request, typename Response>
  grpc::ServerUnaryReactor* TakeWord(grpc::CallbackServerContext* context, v1::MarkKind kind,
                                     const Request* request, Response* response) {
    const SystemTime now = clock_.System();
    return AnswerLater(context, [&](const std::string& who, auto finish) -> absl::Status {
      ASSIGN_OR_RETURN(ResponderWord word, WordOf(kind, who, request->by(), request->note(), now));
      std::string id;  // empty: the one that is under way
      if (!request->run_id().empty()) {
        ASSIGN_OR_RETURN(const v1::Run run, FindRun(request->run_id()));
        if (run.state() == v1::RUN_STATE_FINISHED) return IsOver(run);
        id = run.id();
      } else if (const auto live = engine_.LiveRuns(); live.size() == 1) {
        id = live.front()->id();
      }
      auditor_.Note(who, ActionOf(kind), id, word.detail);
      engine_.TakeWord(id, std::move(word), [finish, response](absl::StatusOr<v1::Run> run) {
        if (run.ok()) *response->mutable_run() = *std::move(run);
        finish(run.status());
      });
      return absl::OkStatus();
    });
  }

  static absl::Status IsOver(const v1::Run& run) {
    return absl::FailedPreconditionError(
        fmt::format("run {} finished at {}", run.id(), FormatTime(FromProto(run.finished_at()))));
  }

  // What the engine holds is newer by a moment, and has the same id.
  absl::StatusOr<v1::Run> FindRun(const std::string& id) const {
    ASSIGN_OR_RETURN(v1::Run stored, store_.GetRun(id));
    if (stored.state() == v1::RUN_STATE_FINISHED) return stored;
    for (const std::shared_ptr<const v1::Run>& live : engine_.LiveRuns()) {
      if (live->id() == stored.id()) return *live;
    }
    return stored;
  }

  v1::AppliedExperiment WithNextRun(const StoredExperiment& stored) const {
    v1::AppliedExperiment applied = stored.applied;
    if (const std::optional<SystemTime> next = NextRunAt(stored)) {
      *applied.mutable_next_run_at() = ToProto(*next);
    }
    return applied;
  }

  AgentRegistry& registry_;
  RunEngine& engine_;
  Previews& previews_;
  Store& store_;
  const Clock& clock_;
  Auditor auditor_;
  const OperatorServiceOptions options_;
  BackgroundWork background_{kBackgroundThreads, kMostWaiting};  // the first to be destroyed
};

}  // namespace

std::unique_ptr<OperatorServiceHost> MakeOperatorService(AgentRegistry& registry, RunEngine& engine,
                                                         Previews& previews, Store& store,
                                                         const Clock& clock,
                                                         OperatorServiceOptions options) {
  return std::make_unique<Service>(registry, engine, previews, store, clock, std::move(options));
}

}  // namespace firedrill::controller
