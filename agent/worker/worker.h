// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "agent/faults/fault.h"
#include "agent/worker/channel.h"
#include "agent/worker/leash.h"

namespace firedrill::agent {

namespace wire {
class Begin;
class Observed;
class ToWorker;
}  // namespace wire

/// The process that holds injections: its life is the damage, its death the repair. It does what
/// its agent says over the channel, and reverts and leaves when the agent's end is closed, falls
/// silent for the host's lease, or SIGTERM comes. Single-threaded, apart from what faults start.
class Worker {
 public:
  /// All must outlive it.
  Worker(Host& host, Journal& journal, std::span<const FaultKind> kinds, Channel channel);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();

  /// Returns when everything is reverted: OK if all of it could be.
  absl::Status Run();

 private:
  struct Living {
    std::unique_ptr<ActiveFault> fault;
    std::string last_report;
    SteadyTime reported_at;
    SteadyTime observed_at;
    bool has_impact = false;
    int events = 0;  // told so far
  };

  absl::Status Handle(const wire::ToWorker& message);
  absl::Status Begin(const wire::Begin& begin);
  absl::Status Finish(const std::string& id);
  absl::Status Report();
  wire::Observed Observe(const std::string& id, const ActiveFault& fault) const;
  Nanoseconds UntilNextLook() const;
  absl::Status RevertAll();

  Host& host_;
  const std::span<const FaultKind> kinds_;
  Channel channel_;
  Leash leash_;
  std::shared_ptr<TrafficEngine> traffic_;
  WorkerContext context_;
  std::map<std::string, Living> living_;
  SteadyTime heard_at_;
  bool leaving_ = false;
};

/// What `firedrill-agent worker` does: the exit code of the process. `socket` is the descriptor
/// that the agent left open for it, `state` the agent's folder.
int RunWorker(int socket, const std::string& state);

}  // namespace firedrill::agent
