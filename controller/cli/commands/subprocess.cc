// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/commands/subprocess.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

extern char** environ;

namespace firedrill::cli {
namespace {

constexpr std::size_t kMost = 1 << 20;

// Reads until the end; false if the deadline came first.
bool ReadAll(int fd, SteadyTime until, const Clock& clock, std::string* output) {
  char buffer[4096];
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock.Steady()).count();
    if (left <= 0) return false;
    pollfd ready{fd, POLLIN, 0};
    if (poll(&ready, 1, static_cast<int>(left)) < 0 && errno != EINTR) return true;
    if (ready.revents == 0) continue;
    const ssize_t size = read(fd, buffer, sizeof(buffer));
    if (size <= 0) return true;
    output->append(buffer, std::min<std::size_t>(static_cast<std::size_t>(size),
                                                 kMost - std::min(kMost, output->size())));
  }
}

}  // namespace

absl::StatusOr<std::string> OutputOf(const std::vector<std::string>& argv, Nanoseconds deadline,
                                     const Clock& clock) {
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "make a pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    return absl::NotFoundError(fmt::format("{}: {}", argv[0], std::strerror(error)));
  }
  std::string output;
  const bool ended = ReadAll(ends[0], clock.Steady() + deadline, clock, &output);
  close(ends[0]);
  if (!ended) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!ended) return absl::DeadlineExceededError(argv[0] + " did not answer in time");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return absl::InternalError(
        fmt::format("{} failed ({} {})", argv[0], WIFEXITED(status) ? "exit code" : "signal",
                    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status)));
  }
  return output;
}

}  // namespace firedrill::cli
