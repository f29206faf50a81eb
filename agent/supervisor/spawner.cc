// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "agent/host/host.h"
#include "agent/host/launch.h"
#include "agent/host/sleeping_threads.h"
#include "agent/supervisor/worker_process.h"
#include "agent/worker/channel.h"
#include "agent/worker/worker.pb.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr int kWorkerSocket = 3;  // the descriptor on which a worker finds its agent
// A worker, and the first threads of its fault.
constexpr std::size_t kReservedPids = 8;
constexpr int kAttempts = 5;  // what was freed may be taken by others at once

// Processes that the kernel has ended for want of memory since boot, on the host or in a cgroup;
// none from a kernel older than 4.13.
std::optional<std::uint64_t> OomKills() {
  const auto text = Host::Read("/proc/vmstat", 64 << 10);
  if (!text.ok()) return std::nullopt;
  const std::string name = "\noom_kill ";
  const std::size_t at = text->find(name);
  std::uint64_t count = 0;
  if (at == std::string::npos) return std::nullopt;
  const std::size_t start = at + name.size();
  if (!absl::SimpleAtoi(text->substr(start, text->find('\n', start) - start), &count)) {
    return std::nullopt;
  }
  return count;
}

class SpawnedWorker : public WorkerProcess {
 public:
  SpawnedWorker(pid_t pid, Channel channel) : pid_(pid), channel_(std::move(channel)) {}
  ~SpawnedWorker() override {
    Kill();
    while (!reaped_ && waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  int pid() const override { return pid_; }
  int fd() const override { return channel_.fd(); }
  absl::Status Send(const wire::ToWorker& message) override { return channel_.Send(message); }
  absl::StatusOr<bool> Receive(wire::FromWorker& message) override {
    return channel_.Receive(message);
  }
  void Kill() override {
    // The pid is ours until it is waited for, so this cannot hit another process.
    if (!reaped_) kill(pid_, SIGKILL);
  }
  bool Gone() override {
    if (!reaped_) {
      int status = 0;
      const pid_t got = waitpid(pid_, &status, WNOHANG);
      reaped_ = got == pid_ || (got < 0 && errno == ECHILD);
      if (got == pid_) Remember(status);
    }
    return reaped_;
  }
  std::string HowItEnded() const override { return how_; }

 private:
  void Remember(int status) {
    if (WIFEXITED(status)) how_ = fmt::format("exit code {}", WEXITSTATUS(status));
    if (!WIFSIGNALED(status)) return;
    how_ = fmt::format("signal {}", WTERMSIG(status));
    const auto oom_kills = OomKills();
    if (WTERMSIG(status) == SIGKILL && oom_kills && oom_kills_before_ &&
        *oom_kills > *oom_kills_before_) {
      how_ += ", and the kernel's OOM killer was at work meanwhile: memory had run out";
    }
  }

  const pid_t pid_;
  Channel channel_;
  const std::optional<std::uint64_t> oom_kills_before_ = OomKills();
  bool reaped_ = false;
  std::string how_;
};

class RealSpawner : public Spawner {
 public:
  RealSpawner(std::string state, std::string binary)
      : state_(std::move(state)), binary_(std::move(binary)) {}

  absl::StatusOr<std::unique_ptr<WorkerProcess>> Spawn() override {
    ASSIGN_OR_RETURN(auto ends, Channel::Pair());
    Launch launch({"firedrill-agent", "worker", "--socket", std::to_string(kWorkerSocket),
                   "--state", state_});
    launch.Give(ends.second.fd(), kWorkerSocket);
    // Ctrl-C in the agent's terminal is the agent's affair.
    launch.OwnGroup();
    reserve_.Add(kReservedPids - reserve_.size());
    pid_t pid = 0;
    int error = 0;
    for (int i = 0; i < kAttempts; ++i) {
      error = launch.Start(binary_, pid);
      if (error != EAGAIN || !(reserve_.End() > 0 || i > 0)) break;
    }
    if (error != 0) return absl::ErrnoToStatus(error, fmt::format("start a worker ({})", binary_));
    return std::make_unique<SpawnedWorker>(pid, std::move(ends.first));
  }

 private:
  const std::string state_;
  const std::string binary_;
  // Given up when a worker is to start while the host has no pid left: the agent's own faults may
  // have seen to that.
  SleepingThreads reserve_;
};

}  // namespace

std::unique_ptr<Spawner> MakeSpawner(const std::string& state, const std::string& binary) {
  return std::make_unique<RealSpawner>(state, binary);
}

}  // namespace firedrill::agent
