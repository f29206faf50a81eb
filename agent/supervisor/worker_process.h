// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace firedrill::agent {

namespace wire {
class Finished;
class FromWorker;
class Observed;
class ToWorker;
}  // namespace wire

/// A worker as its agent holds it. Destroying it kills the process and waits for its end.
/// Not thread-safe.
class WorkerProcess {
 public:
  virtual ~WorkerProcess() = default;

  virtual int pid() const = 0;
  /// Readable when Receive has something to say.
  virtual int fd() const = 0;
  /// As Channel's.
  virtual absl::Status Send(const wire::ToWorker& message) = 0;
  virtual absl::StatusOr<bool> Receive(wire::FromWorker& message) = 0;
  /// SIGKILL. Idempotent.
  virtual void Kill() = 0;
  /// True once the process is no more. Does not block.
  virtual bool Gone() = 0;
  /// Once it is gone: how, in a few words for people. Empty if that is not known.
  virtual std::string HowItEnded() const { return ""; }
};

/// Makes workers. Not thread-safe: call it on one thread that lives as long as the agent, for the
/// kernel signals a worker when the thread that spawned it ends.
class Spawner {
 public:
  virtual ~Spawner() = default;
  virtual absl::StatusOr<std::unique_ptr<WorkerProcess>> Spawn() = 0;
};

/// Workers are the agent's own binary, executed anew: never forked out of a process with threads.
/// `state` is the agent's folder, `binary` what is executed.
std::unique_ptr<Spawner> MakeSpawner(const std::string& state,
                                     const std::string& binary = "/proc/self/exe");

}  // namespace firedrill::agent
