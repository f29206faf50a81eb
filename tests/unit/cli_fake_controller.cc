// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/cli_fake_controller.h"

#include <fmt/format.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <cmath>

#include "absl/time/time.h"
#include "firedrill/v1/operator.grpc.pb.h"
#include "proto/support/grpc_status.h"
#include "proto/support/time.h"

namespace firedrill::test {

struct FakeController::State {
  absl::Mutex mutex;
  std::map<std::string, v1::Run> runs ABSL_GUARDED_BY(mutex);
  std::map<std::string, v1::AppliedExperiment> applied ABSL_GUARDED_BY(mutex);
  std::string abort_reason ABSL_GUARDED_BY(mutex);
  std::vector<FakeController::Word> words ABSL_GUARDED_BY(mutex);
  v1::PreviewRequest preview ABSL_GUARDED_BY(mutex);
  v1::GetTrendRequest trend ABSL_GUARDED_BY(mutex);
  v1::ReplayRuleRequest replay ABSL_GUARDED_BY(mutex);
  int version ABSL_GUARDED_BY(mutex) = 0;
  int starts ABSL_GUARDED_BY(mutex) = 0;
  bool stopping ABSL_GUARDED_BY(mutex) = false;
};

class FakeController::Service : public v1::OperatorService::Service {
 public:
  Service(FakeController* fake, State* state) : fake_(*fake), state_(*state) {}

  grpc::Status GetServerInfo(grpc::ServerContext*, const v1::GetServerInfoRequest*,
                             v1::GetServerInfoResponse* response) override {
    response->set_software_version("0.1.0");
    response->mutable_version()->set_major(1);
    response->set_operator_("spiffe://firedrill/operator/test");
    *response->mutable_now() = ToProto(Clock::Real().System());
    return ToGrpc(fake_.refuse);
  }

  grpc::Status PlanExperiment(grpc::ServerContext*, const v1::PlanExperimentRequest*,
                              v1::PlanExperimentResponse* response) override {
    *response->mutable_plan() = fake_.plan;
    return ToGrpc(fake_.refuse);
  }

  grpc::Status StartRun(grpc::ServerContext*, const v1::StartRunRequest* request,
                        v1::StartRunResponse* response) override {
    if (!fake_.refuse.ok()) return ToGrpc(fake_.refuse);
    absl::MutexLock lock(&state_.mutex);
    ++state_.starts;
    v1::Run& run = state_.runs[request->run_id()];
    if (run.id().empty()) {
      run.set_id(request->run_id());
      *run.mutable_experiment() = request->experiment();
      if (!request->experiment_name().empty()) {
        *run.mutable_experiment() = state_.applied[request->experiment_name()].experiment();
      }
      run.set_state(v1::RUN_STATE_PLANNED);
      *run.mutable_created_at() = ToProto(Clock::Real().System());
      if (fake_.on_start) fake_.on_start(run);
    }
    ++state_.version;
    *response->mutable_run() = run;
    return grpc::Status::OK;
  }

  grpc::Status WatchRun(grpc::ServerContext* context, const v1::WatchRunRequest* request,
                        grpc::ServerWriter<v1::WatchRunResponse>* writer) override {
    int seen = -1;
    while (!context->IsCancelled()) {
      v1::WatchRunResponse response;
      {
        absl::MutexLock lock(&state_.mutex);
        const auto changed = [&]() ABSL_SHARED_LOCKS_REQUIRED(state_.mutex) {
          return state_.stopping || state_.version != seen;
        };
        state_.mutex.AwaitWithTimeout(absl::Condition(&changed), absl::Milliseconds(100));
        if (state_.stopping) return {grpc::StatusCode::UNAVAILABLE, "stopping"};
        if (state_.version == seen) continue;
        seen = state_.version;
        const auto found = state_.runs.find(request->run_id());
        if (found == state_.runs.end()) return {grpc::StatusCode::NOT_FOUND, "no such run"};
        *response.mutable_run() = found->second;
      }
      if (!writer->Write(response)) break;
      if (response.run().state() == v1::RUN_STATE_FINISHED) break;
    }
    return grpc::Status::OK;
  }

  grpc::Status AbortRun(grpc::ServerContext*, const v1::AbortRunRequest* request,
                        v1::AbortRunResponse* response) override {
    if (!fake_.refuse.ok()) return ToGrpc(fake_.refuse);
    absl::MutexLock lock(&state_.mutex);
    v1::Run& run = state_.runs[request->run_id()];
    state_.abort_reason = request->reason();
    run.set_state(v1::RUN_STATE_FINISHED);
    run.mutable_verdict()->set_verdict(v1::VERDICT_ABORTED);
    run.mutable_verdict()->add_reasons(request->reason());
    ++state_.version;
    *response->mutable_run() = run;
    return grpc::Status::OK;
  }

  grpc::Status AcknowledgeRun(grpc::ServerContext*, const v1::AcknowledgeRunRequest* request,
                              v1::AcknowledgeRunResponse* response) override {
    return TakeWord(v1::MARK_KIND_ACKNOWLEDGED, *request, *response);
  }

  grpc::Status MitigateRun(grpc::ServerContext*, const v1::MitigateRunRequest* request,
                           v1::MitigateRunResponse* response) override {
    return TakeWord(v1::MARK_KIND_MITIGATED, *request, *response);
  }

  grpc::Status Halt(grpc::ServerContext*, const v1::HaltRequest*,
                    v1::HaltResponse* response) override {
    response->set_hosts_told(2);
    response->add_aborted_runs("run1");
    return ToGrpc(fake_.refuse);
  }

  grpc::Status ListRuns(grpc::ServerContext*, const v1::ListRunsRequest* request,
                        v1::ListRunsResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    for (auto run = state_.runs.rbegin(); run != state_.runs.rend(); ++run) {
      if (!request->experiment_name().empty() &&
          run->second.experiment().name() != request->experiment_name()) {
        continue;
      }
      if (static_cast<std::uint32_t>(response->runs_size()) < request->limit()) {
        *response->add_runs() = run->second;
      }
    }
    return ToGrpc(fake_.refuse);
  }

  grpc::Status GetRun(grpc::ServerContext*, const v1::GetRunRequest* request,
                      v1::GetRunResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    const auto found = state_.runs.find(request->run_id());
    if (found == state_.runs.end()) {
      return {grpc::StatusCode::NOT_FOUND, "no run begins with " + request->run_id()};
    }
    *response->mutable_run() = found->second;
    return ToGrpc(fake_.refuse);
  }

  grpc::Status ApplyExperiment(grpc::ServerContext*, const v1::ApplyExperimentRequest* request,
                               v1::ApplyExperimentResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    v1::AppliedExperiment& applied = state_.applied[request->experiment().name()];
    response->set_created(applied.experiment().name().empty());
    *applied.mutable_experiment() = request->experiment();
    *response->mutable_applied() = applied;
    return ToGrpc(fake_.refuse);
  }

  grpc::Status DeleteExperiment(grpc::ServerContext*, const v1::DeleteExperimentRequest* request,
                                v1::DeleteExperimentResponse*) override {
    absl::MutexLock lock(&state_.mutex);
    if (state_.applied.erase(request->name()) > 0) return grpc::Status::OK;
    return {grpc::StatusCode::NOT_FOUND, "no experiment " + request->name()};
  }

  grpc::Status ListExperiments(grpc::ServerContext*, const v1::ListExperimentsRequest*,
                               v1::ListExperimentsResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    for (const auto& [name, applied] : state_.applied) *response->add_experiments() = applied;
    return ToGrpc(fake_.refuse);
  }

  grpc::Status GetTrend(grpc::ServerContext*, const v1::GetTrendRequest* request,
                        v1::GetTrendResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    state_.trend = *request;
    *response = fake_.trend;
    return ToGrpc(fake_.refuse);
  }

  grpc::Status ReplayRule(grpc::ServerContext*, const v1::ReplayRuleRequest* request,
                          v1::ReplayRuleResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    state_.replay = *request;
    *response = fake_.replay;
    return ToGrpc(fake_.refuse);
  }

  grpc::Status Preview(grpc::ServerContext*, const v1::PreviewRequest* request,
                       grpc::ServerWriter<v1::PreviewResponse>* writer) override {
    {
      absl::MutexLock lock(&state_.mutex);
      state_.preview = *request;
    }
    for (const v1::PreviewResponse& response : fake_.previews) writer->Write(response);
    return ToGrpc(fake_.refuse);
  }

  grpc::Status ListAgents(grpc::ServerContext*, const v1::ListAgentsRequest*,
                          v1::ListAgentsResponse* response) override {
    for (const v1::Agent& agent : fake_.agents) *response->add_agents() = agent;
    return ToGrpc(fake_.refuse);
  }

  std::unique_ptr<grpc::Server> server;

 private:
  template <typename Request, typename Response>
  grpc::Status TakeWord(v1::MarkKind kind, const Request& request, Response& response) {
    if (!fake_.refuse.ok()) return ToGrpc(fake_.refuse);
    absl::MutexLock lock(&state_.mutex);
    state_.words.push_back({kind, request.run_id(), request.note(), request.by()});
    const std::string id = request.run_id().empty() && !state_.runs.empty()
                               ? state_.runs.rbegin()->first
                               : request.run_id();
    v1::Run& run = state_.runs[id];
    run.set_id(id);
    *run.add_marks() =
        MakeMark(kind, 30 + static_cast<double>(state_.words.size()), v1::MARK_SOURCE_OPERATOR);
    run.mutable_marks(run.marks_size() - 1)->set_detail("alice: " + request.note());
    ++state_.version;
    *response.mutable_run() = run;
    return grpc::Status::OK;
  }

  FakeController& fake_;
  State& state_;
};

FakeController::FakeController(int port, const CredentialOptions& credentials,
                               std::map<std::string, v1::Run> runs)
    : state_(std::make_unique<State>()), service_(std::make_unique<Service>(this, state_.get())) {
  {
    absl::MutexLock lock(&state_->mutex);
    state_->runs = std::move(runs);
  }
  grpc::ServerBuilder builder;
  builder.AddListeningPort(fmt::format("127.0.0.1:{}", port),
                           MakeServerCredentials(credentials).value(), &port_);
  builder.RegisterService(service_.get());
  service_->server = builder.BuildAndStart();
}

FakeController::~FakeController() {
  {
    absl::MutexLock lock(&state_->mutex);
    state_->stopping = true;
  }
  service_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
}

CredentialOptions FakeController::Insecure() {
  CredentialOptions options;
  options.insecure = true;
  return options;
}

std::string FakeController::address() const { return fmt::format("127.0.0.1:{}", port_); }

void FakeController::Update(const std::string& id, const std::function<void(v1::Run&)>& change) {
  absl::MutexLock lock(&state_->mutex);
  v1::Run& run = state_->runs[id];
  run.set_id(id);
  change(run);
  ++state_->version;
}

v1::Run FakeController::Get(const std::string& id) {
  absl::MutexLock lock(&state_->mutex);
  return state_->runs[id];
}

std::string FakeController::WaitForRun() {
  absl::MutexLock lock(&state_->mutex);
  const auto there = [this]() ABSL_SHARED_LOCKS_REQUIRED(state_->mutex) {
    return !state_->runs.empty();
  };
  state_->mutex.AwaitWithTimeout(absl::Condition(&there), absl::Seconds(10));
  return state_->runs.empty() ? "" : state_->runs.rbegin()->first;
}

std::string FakeController::abort_reason() {
  absl::MutexLock lock(&state_->mutex);
  return state_->abort_reason;
}

std::vector<FakeController::Word> FakeController::words() {
  absl::MutexLock lock(&state_->mutex);
  return state_->words;
}

std::map<std::string, v1::Experiment> FakeController::experiments() {
  absl::MutexLock lock(&state_->mutex);
  std::map<std::string, v1::Experiment> experiments;
  for (const auto& [name, applied] : state_->applied) experiments[name] = applied.experiment();
  return experiments;
}

int FakeController::starts() {
  absl::MutexLock lock(&state_->mutex);
  return state_->starts;
}

v1::PreviewRequest FakeController::preview_request() {
  absl::MutexLock lock(&state_->mutex);
  return state_->preview;
}

v1::GetTrendRequest FakeController::trend_request() {
  absl::MutexLock lock(&state_->mutex);
  return state_->trend;
}

v1::ReplayRuleRequest FakeController::replay_request() {
  absl::MutexLock lock(&state_->mutex);
  return state_->replay;
}

v1::Mark MakeMark(v1::MarkKind kind, double seconds, v1::MarkSource source,
                  const std::string& subject) {
  v1::Mark mark;
  mark.set_kind(kind);
  mark.set_source(source);
  mark.set_subject(subject);
  *mark.mutable_at() = ToProto(SystemTime(std::chrono::seconds(1'800'000'000)) +
                               Nanoseconds(std::llround(seconds * 1e9)));
  return mark;
}

v1::Run FinishedRun(v1::Verdict verdict) {
  v1::Run run;
  run.set_id("20270115-080000-abc123");
  run.set_state(v1::RUN_STATE_FINISHED);
  run.set_operator_("spiffe://firedrill/operator/alice");
  v1::Experiment& experiment = *run.mutable_experiment();
  experiment.set_name("cache-loss");
  experiment.set_hypothesis("The shop answers while its cache loses packets.");
  experiment.set_environment("staging");
  *run.mutable_created_at() = MakeMark(v1::MARK_KIND_PLANNED, 0, {}).at();
  *run.mutable_finished_at() = MakeMark(v1::MARK_KIND_PLANNED, 95, {}).at();
  *run.add_marks() = MakeMark(v1::MARK_KIND_PLANNED, 0, v1::MARK_SOURCE_CONTROLLER);
  *run.add_marks() = MakeMark(v1::MARK_KIND_APPLIED, 1.5, v1::MARK_SOURCE_AGENT, "injection1");
  *run.add_marks() = MakeMark(v1::MARK_KIND_FIRST_IMPACT, 2, v1::MARK_SOURCE_KERNEL, "injection1");
  *run.add_marks() =
      MakeMark(v1::MARK_KIND_ALERT_FIRING, 14.3, v1::MARK_SOURCE_PROMETHEUS_SAMPLE, "ShopSlow");
  *run.add_marks() =
      MakeMark(v1::MARK_KIND_RECOVERED, 70, v1::MARK_SOURCE_PROMETHEUS_SAMPLE, "success ratio");
  run.mutable_marks(2)->set_host("cache1");
  run.mutable_marks(2)->mutable_uncertainty()->set_nanos(1'500'000);
  v1::Injection& injection = *run.add_injections();
  injection.set_id("injection1");
  injection.set_step("lose packets");
  injection.set_host("cache1");
  injection.mutable_fault()->mutable_packet_loss()->set_percent(33);
  injection.mutable_duration()->set_seconds(60);
  injection.set_state(v1::INJECTION_STATE_ENDED);
  injection.set_end_reason(v1::END_REASON_DURATION);
  injection.set_end_proven(verdict != v1::VERDICT_UNCLEAN);
  (*injection.mutable_counters())["packets_dropped"] = 1234567;
  v1::AlertResult& alert = *run.add_alerts();
  alert.mutable_expected()->set_alert("ShopSlow");
  alert.mutable_expected()->set_expect(v1::EXPECTATION_FIRES);
  alert.mutable_expected()->mutable_within()->set_seconds(60);
  alert.set_outcome(v1::DETECTION_OUTCOME_DETECTED);
  v1::Measure& detect = *alert.mutable_time_to_detect();
  detect.mutable_value()->set_seconds(12);
  detect.mutable_value()->set_nanos(300'000'000);
  detect.mutable_uncertainty()->set_nanos(2'000'000);
  detect.set_from(v1::MARK_KIND_FIRST_IMPACT);
  detect.set_to(v1::MARK_KIND_ALERT_FIRING);
  detect.set_subject("ShopSlow");
  *run.mutable_time_to_detect() = detect;
  v1::IndicatorResult& indicator = *run.add_indicators();
  indicator.mutable_indicator()->set_name("success ratio");
  indicator.mutable_indicator()->mutable_expect()->set_operator_(v1::OPERATOR_GREATER_OR_EQUAL);
  indicator.mutable_indicator()->mutable_expect()->set_value(0.99);
  indicator.set_outcome(v1::RECOVERY_OUTCOME_AFTER_END);
  indicator.set_lowest(0.951234);
  v1::Measure& recover = *indicator.mutable_time_to_recover();
  recover.mutable_value()->set_seconds(68);
  recover.set_from(v1::MARK_KIND_FIRST_IMPACT);
  recover.set_to(v1::MARK_KIND_RECOVERED);
  *run.mutable_time_to_recover() = recover;
  run.set_detection(v1::DETECTION_OUTCOME_DETECTED);
  run.set_recovery(v1::RECOVERY_OUTCOME_AFTER_END);
  run.mutable_verdict()->set_verdict(verdict);
  return run;
}

v1::Run MeasuredRun() {
  v1::Run run = FinishedRun(v1::VERDICT_FAILED);
  const auto measure = [](v1::Measure& into, double seconds, double error, v1::MarkKind to,
                          const std::string& subject) {
    *into.mutable_value() = ToProto(Nanoseconds(std::llround(seconds * 1e9)));
    *into.mutable_uncertainty() = ToProto(Nanoseconds(std::llround(error * 1e9)));
    into.set_from(v1::MARK_KIND_FIRST_IMPACT);
    into.set_to(to);
    into.set_subject(subject);
  };
  v1::AlertResult& alert = *run.mutable_alerts(0);
  alert.set_episodes(2);
  const auto stage = [&alert](v1::StageKind kind, double seconds, const std::string& setting,
                              const std::string& explanation) {
    v1::Stage& added = *alert.add_stages();
    added.set_kind(kind);
    *added.mutable_value() = ToProto(Nanoseconds(std::llround(seconds * 1e9)));
    added.set_setting(setting);
    added.set_explanation(explanation);
  };
  stage(v1::STAGE_KIND_SCRAPE, 3, "scrape_interval: 5s",
        "until the next scrape of what the rule reads");
  stage(v1::STAGE_KIND_EVALUATION, 4, "evaluation_interval: 5s",
        "until the rule was evaluated over that scrape");
  stage(v1::STAGE_KIND_FOR, 12, "for: 12s", "the expression must hold for so long");
  stage(v1::STAGE_KIND_ROUNDING, 3, "evaluation_interval: 5s",
        "for: 12s is not a multiple of the evaluation interval, 5s");
  stage(v1::STAGE_KIND_GROUPING, 0.5, "group_wait: 500ms",
        "Alertmanager waits for more alerts of the same group");
  stage(v1::STAGE_KIND_DELIVERY, 0.1, "", "until the notification arrived");
  measure(*alert.mutable_time_to_detect(), 22, 0.02, v1::MARK_KIND_ALERT_FIRING, "ShopSlow");
  measure(*alert.mutable_time_to_notify(), 22.6, 0.02, v1::MARK_KIND_NOTIFIED, "ShopSlow");
  *run.mutable_time_to_detect() = alert.time_to_detect();
  *run.mutable_time_to_notify() = alert.time_to_notify();
  measure(*run.mutable_time_to_acknowledge(), 41, 0.0015, v1::MARK_KIND_ACKNOWLEDGED, "");
  measure(*run.mutable_time_to_mitigate(), 55.5, 0.0015, v1::MARK_KIND_MITIGATED, "");
  *run.add_marks() = MakeMark(v1::MARK_KIND_ACKNOWLEDGED, 43, v1::MARK_SOURCE_PAGER, "ShopSlow");
  run.mutable_marks(run.marks_size() - 1)->set_detail("Bob Example; incident PGR0VU2 \"ShopSlow\"");
  *run.add_marks() = MakeMark(v1::MARK_KIND_MITIGATED, 57.5, v1::MARK_SOURCE_OPERATOR);
  run.mutable_marks(run.marks_size() - 1)->set_detail("alice: moved the traffic to cache2");
  std::sort(
      run.mutable_marks()->begin(), run.mutable_marks()->end(),
      [](const v1::Mark& a, const v1::Mark& b) { return FromProto(a.at()) < FromProto(b.at()); });
  v1::IndicatorResult& indicator = *run.mutable_indicators(0);
  indicator.mutable_indicator()->mutable_degraded()->set_operator_(v1::OPERATOR_GREATER_OR_EQUAL);
  indicator.mutable_indicator()->mutable_degraded()->set_value(0.96);
  indicator.set_floor_held(false);
  indicator.set_baseline(0.998);
  indicator.set_lowest_quality(0.9531);
  *indicator.mutable_lost() = ToProto(std::chrono::milliseconds(2340));
  indicator.set_budget_burned(0.034);
  measure(*indicator.mutable_time_to_breach(), 1.2, 0.01, v1::MARK_KIND_SLO_BREACHED,
          "success ratio");
  v1::Advice& advice = *run.add_advice();
  advice.set_kind(v1::ADVICE_KIND_FOR_NOT_A_MULTIPLE);
  advice.set_subject("ShopSlow");
  advice.set_message("for: 12s with an evaluation interval of 5s fires only after 15s");
  *advice.mutable_gain() = ToProto(std::chrono::seconds(3));
  run.add_caveats("Prometheus' clock was set while it was watched");
  run.set_false_alarms(1);
  *run.mutable_random_wait() = ToProto(std::chrono::milliseconds(3200));
  run.mutable_verdict()->add_reasons("the floor of success ratio broke");
  return run;
}

}  // namespace firedrill::test
