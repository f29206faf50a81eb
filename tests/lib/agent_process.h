// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/support/clock.h"
#include "tests/lib/process.h"

// A real agent with a folder of its own, and what tests look at from outside.
namespace firedrill::test {

/// The agent's binary of this build.
std::string AgentBinary();

/// A running firedrill-agent whose state folder outlives it, so that it can be started again.
class AgentProcess {
 public:
  /// `state`: the agent's folder. `arguments`: beyond --state. Kills it when destroyed.
  static absl::StatusOr<std::unique_ptr<AgentProcess>> Start(
      const std::string& state, const std::vector<std::string>& arguments);

  pid_t pid() const { return child_->pid(); }
  void Signal(int signal) { child_->Signal(signal); }
  bool Running() { return child_->Running(); }
  std::string Log() const { return child_->Log(); }
  /// Pids of its workers, by their parent.
  std::vector<pid_t> Workers() const;

 private:
  explicit AgentProcess(std::unique_ptr<Child> child) : child_(std::move(child)) {}
  std::unique_ptr<Child> child_;
};

/// Pids of processes whose parent is `parent`.
std::vector<pid_t> Children(pid_t parent);
/// False for a zombie, too, once its last thread has ended.
bool Alive(pid_t pid);
/// 'R', 'S', 'T', 'Z', …; '?' if there is no such process.
char ProcessState(pid_t pid);
/// Whether the process has been sent SIGKILL, or is gone: a busy host may take its time over the
/// end, but it is decided.
bool Doomed(pid_t pid);
/// How long the threads of a process, those that live, were ready to run and did not so far: as the
/// kernel's scheduler counts.
Nanoseconds RunDelay(pid_t pid);
/// How long they ran: CpuTime has whole clock ticks only, but knows of threads that ended.
Nanoseconds CoreTime(pid_t pid);
/// User and system time of a process with all its threads so far.
Nanoseconds CpuTime(pid_t pid);

}  // namespace firedrill::test
