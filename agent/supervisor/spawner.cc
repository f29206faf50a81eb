// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "agent/supervisor/worker_process.h"
#include "agent/worker/channel.h"
#include "agent/worker/worker.pb.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr int kWorkerSocket = 3;  // the descriptor on which a worker finds its agent

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
      const pid_t got = waitpid(pid_, nullptr, WNOHANG);
      reaped_ = got == pid_ || (got < 0 && errno == ECHILD);
    }
    return reaped_;
  }

 private:
  const pid_t pid_;
  Channel channel_;
  bool reaped_ = false;
};

class RealSpawner : public Spawner {
 public:
  RealSpawner(std::string state, std::string binary)
      : state_(std::move(state)), binary_(std::move(binary)) {}

  absl::StatusOr<std::unique_ptr<WorkerProcess>> Spawn() override {
    ASSIGN_OR_RETURN(auto ends, Channel::Pair());
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends.second.fd(), kWorkerSocket);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    // A group of its own: Ctrl-C in the agent's terminal is the agent's affair.
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    std::vector<std::string> words = {
        "firedrill-agent", "worker", "--socket", std::to_string(kWorkerSocket), "--state", state_};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_t pid = 0;
    const int error =
        posix_spawn(&pid, binary_.c_str(), &actions, &attributes, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (error != 0) return absl::ErrnoToStatus(error, fmt::format("start a worker ({})", binary_));
    return std::make_unique<SpawnedWorker>(pid, std::move(ends.first));
  }

 private:
  const std::string state_;
  const std::string binary_;
};

}  // namespace

std::unique_ptr<Spawner> MakeSpawner(const std::string& state, const std::string& binary) {
  return std::make_unique<RealSpawner>(state, binary);
}

}  // namespace firedrill::agent
