// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/client/client.h"

#include <fmt/format.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>

#include <utility>

#include "firedrill/v1/operator.grpc.pb.h"
#include "proto/support/clock.h"
#include "proto/support/grpc_status.h"
#include "proto/support/status_macros.h"

namespace firedrill::cli {
namespace {

constexpr std::chrono::seconds kDeadline(10);
constexpr std::chrono::seconds kTrendDeadline(30);    // thousands of runs are read
constexpr std::chrono::seconds kReplayDeadline(120);  // days of a Prometheus
constexpr std::chrono::seconds kConnectTime(3);
constexpr int kLargestMessage = 64 << 20;  // a run with its series
constexpr int kStartAttempts = 3;

void SetDeadline(grpc::ClientContext* context, std::chrono::seconds deadline) {
  context->set_deadline(std::chrono::time_point_cast<std::chrono::system_clock::duration>(
      Clock::Real().System() + deadline));
}

// gRPC wraps the one thing that helps, "Connection refused", in layers of its own words.
std::string Shorter(absl::string_view message) {
  std::string text(message);
  for (const char* wrapper :
       {"last error: ", "UNKNOWN: ", "UNAVAILABLE: ", "Failed to connect to remote host: "}) {
    const std::size_t at = text.rfind(wrapper);
    if (at != std::string::npos) text.erase(0, at + std::string(wrapper).size());
  }
  const std::size_t address = text.find("ip") == 0 ? text.find(": ") : std::string::npos;
  if (address != std::string::npos) text.erase(0, address + 2);  // it is named already
  return text;
}

// Adds to a status where it came from and, if anything helps, what to look at.
absl::Status Explain(const std::string& address, const grpc::Status& grpc_status) {
  const absl::Status status = FromGrpc(grpc_status);
  if (status.ok()) return status;
  std::string text;
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      text = fmt::format("controller {} cannot be reached: {}", address, Shorter(status.message()));
      break;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      text = fmt::format("controller {} refuses: {}", address, std::string(status.message()));
      break;
    default:
      text = std::string(status.message());
  }
  const std::string hint = ConnectionHint(status);
  if (!hint.empty()) text += "\nhint: " + hint;
  return {status.code(), text};
}

// To what is not known by that name: where the names are.
absl::Status SayWhereNamesAre(const absl::Status& status, const char* command) {
  if (!absl::IsNotFound(status)) return status;
  return {status.code(),
          fmt::format("{}\nhint: {} lists them", std::string(status.message()), command)};
}

class WatchImpl : public Client::Watch {
 public:
  WatchImpl(grpc::Channel* channel, v1::OperatorService::Stub* stub, std::string run_id,
            std::string address)
      : channel_(channel), stub_(stub), run_id_(std::move(run_id)), address_(std::move(address)) {}

  absl::Status Read(const std::function<void(v1::Run)>& on_run) override {
    // A synchronous client's connections get on only while a thread waits in gRPC: a call alone
    // fails at once while the last attempt counts as failed, and nobody would ever finish the next.
    channel_->WaitForConnected(std::chrono::time_point_cast<std::chrono::system_clock::duration>(
        Clock::Real().System() + kConnectTime));
    v1::WatchRunRequest request;
    request.set_run_id(run_id_);
    const auto reader = stub_->WatchRun(&context_, request);
    v1::WatchRunResponse response;
    while (reader->Read(&response)) on_run(std::move(*response.mutable_run()));
    return Explain(address_, reader->Finish());
  }

  void Cancel() override { context_.TryCancel(); }

 private:
  grpc::Channel* channel_;
  v1::OperatorService::Stub* stub_;
  const std::string run_id_, address_;
  grpc::ClientContext context_;
};

}  // namespace

struct Client::Impl {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::OperatorService::Stub> stub;

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (v1::OperatorService::Stub::*method)(
                                    grpc::ClientContext*, const Request&, Response*),
                                const Request& request, const std::string& address,
                                std::chrono::seconds deadline = kDeadline) {
    grpc::ClientContext context;
    SetDeadline(&context, deadline);
    Response response;
    const grpc::Status status = ((*stub).*method)(&context, request, &response);
    if (!status.ok()) return Explain(address, status);
    return response;
  }
};

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const Connection& connection) {
  if (connection.credentials.insecure) RETURN_IF_ERROR(CheckLoopback(connection.address));
  ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ChannelCredentials> credentials,
                   MakeChannelCredentials(connection.credentials));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kLargestMessage);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1'000);
  auto impl = std::make_unique<Impl>();
  impl->channel = grpc::CreateCustomChannel(connection.address, credentials, arguments);
  impl->stub = v1::OperatorService::NewStub(impl->channel);
  return std::unique_ptr<Client>(new Client(connection.address, std::move(impl)));
}

Client::Client(std::string address, std::unique_ptr<Impl> impl)
    : address_(std::move(address)), impl_(std::move(impl)) {}
Client::~Client() = default;

absl::StatusOr<v1::GetServerInfoResponse> Client::GetServerInfo() {
  return impl_->Call(&v1::OperatorService::Stub::GetServerInfo, v1::GetServerInfoRequest(),
                     address_);
}

absl::StatusOr<v1::Plan> Client::Plan(const v1::Experiment& experiment) {
  v1::PlanExperimentRequest request;
  *request.mutable_experiment() = experiment;
  ASSIGN_OR_RETURN(auto response,
                   impl_->Call(&v1::OperatorService::Stub::PlanExperiment, request, address_));
  return std::move(*response.mutable_plan());
}

absl::StatusOr<v1::Run> Client::StartRun(const v1::StartRunRequest& request) {
  absl::StatusOr<v1::StartRunResponse> response;
  for (int attempt = 1; attempt <= kStartAttempts; ++attempt) {
    response = impl_->Call(&v1::OperatorService::Stub::StartRun, request, address_);
    const bool again =
        absl::IsUnavailable(response.status()) || absl::IsDeadlineExceeded(response.status());
    if (response.ok() || !again || request.run_id().empty()) break;
  }
  if (!response.ok()) {
    return SayWhereNamesAre(response.status(), "firedrill get experiments");
  }
  return std::move(*response->mutable_run());
}

absl::StatusOr<v1::Run> Client::AbortRun(const std::string& run_id, const std::string& reason) {
  v1::AbortRunRequest request;
  request.set_run_id(run_id);
  request.set_reason(reason);
  auto response = impl_->Call(&v1::OperatorService::Stub::AbortRun, request, address_);
  if (!response.ok()) return SayWhereNamesAre(response.status(), "firedrill get runs");
  return std::move(*response->mutable_run());
}

absl::StatusOr<v1::Run> Client::AcknowledgeRun(const v1::AcknowledgeRunRequest& request) {
  auto response = impl_->Call(&v1::OperatorService::Stub::AcknowledgeRun, request, address_);
  if (!response.ok()) return SayWhereNamesAre(response.status(), "firedrill get runs");
  return std::move(*response->mutable_run());
}

absl::StatusOr<v1::Run> Client::MitigateRun(const v1::MitigateRunRequest& request) {
  auto response = impl_->Call(&v1::OperatorService::Stub::MitigateRun, request, address_);
  if (!response.ok()) return SayWhereNamesAre(response.status(), "firedrill get runs");
  return std::move(*response->mutable_run());
}

absl::StatusOr<v1::HaltResponse> Client::Halt(const std::string& reason) {
  v1::HaltRequest request;
  request.set_reason(reason);
  return impl_->Call(&v1::OperatorService::Stub::Halt, request, address_);
}

absl::StatusOr<v1::ListRunsResponse> Client::ListRuns(const v1::ListRunsRequest& request) {
  return impl_->Call(&v1::OperatorService::Stub::ListRuns, request, address_);
}

absl::StatusOr<v1::Run> Client::GetRun(const std::string& run_id) {
  v1::GetRunRequest request;
  request.set_run_id(run_id);
  auto response = impl_->Call(&v1::OperatorService::Stub::GetRun, request, address_);
  if (!response.ok()) return SayWhereNamesAre(response.status(), "firedrill get runs");
  return std::move(*response->mutable_run());
}

absl::StatusOr<v1::ApplyExperimentResponse> Client::ApplyExperiment(
    const v1::Experiment& experiment) {
  v1::ApplyExperimentRequest request;
  *request.mutable_experiment() = experiment;
  return impl_->Call(&v1::OperatorService::Stub::ApplyExperiment, request, address_);
}

absl::Status Client::DeleteExperiment(const std::string& name) {
  v1::DeleteExperimentRequest request;
  request.set_name(name);
  return SayWhereNamesAre(
      impl_->Call(&v1::OperatorService::Stub::DeleteExperiment, request, address_).status(),
      "firedrill get experiments");
}

absl::StatusOr<v1::ListExperimentsResponse> Client::ListExperiments() {
  return impl_->Call(&v1::OperatorService::Stub::ListExperiments, v1::ListExperimentsRequest(),
                     address_);
}

absl::StatusOr<v1::ListAgentsResponse> Client::ListAgents() {
  return impl_->Call(&v1::OperatorService::Stub::ListAgents, v1::ListAgentsRequest(), address_);
}

absl::StatusOr<v1::GetTrendResponse> Client::GetTrend(const v1::GetTrendRequest& request) {
  return impl_->Call(&v1::OperatorService::Stub::GetTrend, request, address_, kTrendDeadline);
}

absl::StatusOr<v1::ReplayRuleResponse> Client::ReplayRule(const v1::ReplayRuleRequest& request) {
  auto response =
      impl_->Call(&v1::OperatorService::Stub::ReplayRule, request, address_, kReplayDeadline);
  if (!response.ok()) return SayWhereNamesAre(response.status(), "firedrill get runs");
  return response;
}

absl::Status Client::Preview(const v1::PreviewRequest& request,
                             const std::function<bool(const v1::PreviewResponse&)>& on_counts) {
  grpc::ClientContext context;
  const auto reader = impl_->stub->Preview(&context, request);
  v1::PreviewResponse response;
  while (reader->Read(&response)) {
    if (on_counts(response)) continue;
    context.TryCancel();
    break;
  }
  return Explain(address_, reader->Finish());
}

std::unique_ptr<Client::Watch> Client::WatchRun(const std::string& run_id) {
  return std::make_unique<WatchImpl>(impl_->channel.get(), impl_->stub.get(), run_id, address_);
}

}  // namespace firedrill::cli
