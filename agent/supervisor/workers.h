// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"
#include "agent/supervisor/worker_process.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

/// The agent's workers: one for each injection, one for all traffic. Renews their leases, kills
/// those that hang. A worker is named by its pid, which is its own until Poll has said that it is
/// gone. Not thread-safe.
class Workers {
 public:
  using OnMessage = std::function<void(int pid, const wire::FromWorker& message)>;
  struct GoneWorker {
    int pid = 0;
    bool hung = false;  ///< It was silent for the host's lease and was killed for that.
    std::string how;    ///< How it ended, in a few words; may be empty.
  };

  /// Both must outlive it.
  Workers(Spawner& spawner, const Clock& clock) : spawner_(spawner), clock_(clock) {}

  /// A new worker; for traffic the one that there is, if any.
  absl::StatusOr<int> Acquire(bool traffic);
  absl::Status Send(int pid, const wire::ToWorker& message);
  /// Asks it to revert what it holds and to exit.
  void Dismiss(int pid);
  void Kill(int pid);
  void KillAll();

  /// Takes what workers say, renews their leases, kills who is silent.
  std::vector<GoneWorker> Poll(const OnMessage& on_message);

  /// Renews the leases that are due, and nothing else: between two things that take their time.
  void RenewLeashes();

  /// What no fault may touch has changed; every worker is told.
  void SetEndpoints(std::vector<Protected::Endpoint> endpoints);
  /// The endpoints, this process and its workers.
  Protected protect() const;

  std::vector<int> fds() const;
  bool empty() const { return workers_.empty(); }
  /// When Poll ought to be called again at the latest.
  SteadyTime NextWake() const;

 private:
  struct Entry;
  void RenewLeash(Entry& entry, SteadyTime now);

  struct Entry {
    std::unique_ptr<WorkerProcess> process;
    SteadyTime heard_at;
    bool heard = false;  // it has said something
    std::optional<SteadyTime> leashed_at;
    bool traffic = false;
    bool leaving = false;
    bool closed = false;
    bool hung = false;
    bool stale = true;  // does not know the newest protected set
  };

  Spawner& spawner_;
  const Clock& clock_;
  std::map<int, Entry> workers_;
  std::vector<Protected::Endpoint> endpoints_;
  std::uint64_t sequence_ = 0;
};

}  // namespace firedrill::agent
