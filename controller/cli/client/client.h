// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "firedrill/v1/operator.pb.h"
#include "proto/support/credentials.h"

namespace firedrill::cli {

/// Where the controller is and how to prove who asks.
struct Connection {
  std::string address;  ///< host:port
  CredentialOptions credentials;
};

/// The operator's API, one method a call. Every call has a deadline (ten seconds, unless it says
/// more); statuses name the controller and, where it helps, what to look at. Thread-safe.
class Client {
 public:
  /// INVALID_ARGUMENT for bad credentials or an address that may not be talked to without TLS.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const Connection& connection);
  ~Client();

  absl::StatusOr<v1::GetServerInfoResponse> GetServerInfo();
  absl::StatusOr<v1::Plan> Plan(const v1::Experiment& experiment);
  /// Tries again while the controller is away for a moment: the id makes that harmless.
  absl::StatusOr<v1::Run> StartRun(const v1::StartRunRequest& request);
  absl::StatusOr<v1::Run> AbortRun(const std::string& run_id, const std::string& reason);
  /// What a person says of a run; an empty id: of the one that is under way.
  absl::StatusOr<v1::Run> AcknowledgeRun(const v1::AcknowledgeRunRequest& request);
  absl::StatusOr<v1::Run> MitigateRun(const v1::MitigateRunRequest& request);
  absl::StatusOr<v1::HaltResponse> Halt(const std::string& reason);
  absl::StatusOr<v1::ListRunsResponse> ListRuns(const v1::ListRunsRequest& request);
  absl::StatusOr<v1::Run> GetRun(const std::string& run_id);
  absl::StatusOr<v1::ApplyExperimentResponse> ApplyExperiment(const v1::Experiment& experiment);
  absl::Status DeleteExperiment(const std::string& name);
  absl::StatusOr<v1::ListExperimentsResponse> ListExperiments();
  absl::StatusOr<v1::ListAgentsResponse> ListAgents();
  /// Thirty seconds.
  absl::StatusOr<v1::GetTrendResponse> GetTrend(const v1::GetTrendRequest& request);
  /// Two minutes.
  absl::StatusOr<v1::ReplayRuleResponse> ReplayRule(const v1::ReplayRuleRequest& request);

  /// Counts what a fault would touch; blocks until that is over. `on_counts` returns false to stop:
  /// then CANCELLED.
  absl::Status Preview(const v1::PreviewRequest& request,
                       const std::function<bool(const v1::PreviewResponse&)>& on_counts);

  /// Hands over each state of a run until the stream ends; blocks. `stop` is asked for by Cancel.
  class Watch {
   public:
    virtual ~Watch() = default;
    virtual absl::Status Read(const std::function<void(v1::Run)>& on_run) = 0;
    /// Thread-safe; Read returns CANCELLED soon after.
    virtual void Cancel() = 0;
  };
  std::unique_ptr<Watch> WatchRun(const std::string& run_id);

  const std::string& address() const { return address_; }

 private:
  struct Impl;
  Client(std::string address, std::unique_ptr<Impl> impl);
  std::string address_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace firedrill::cli
