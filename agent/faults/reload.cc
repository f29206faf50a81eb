// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/reload.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "absl/strings/ascii.h"
#include "agent/host/descriptor.h"

namespace firedrill::agent {
namespace {

constexpr std::size_t kMostOfOutput = 1000;

// What comes out of `fd` until its other end is closed; false: not within the time.
bool ReadUntilClosed(int fd, SteadyTime end, std::string& text) {
  char block[512];
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::Real().Steady());
    if (left.count() <= 0) return false;
    pollfd poll_fd = {fd, POLLIN, 0};
    if (poll(&poll_fd, 1, static_cast<int>(left.count())) <= 0) continue;
    const ssize_t got = read(fd, block, sizeof block);
    if (got == 0 || (got < 0 && errno != EINTR)) return true;
    if (got > 0 && text.size() < kMostOfOutput) text.append(block, static_cast<std::size_t>(got));
  }
}

}  // namespace

absl::Status ReloadUnit(const std::string& unit, bool wait, Nanoseconds within) {
  const SteadyTime end = Clock::Real().Steady() + within;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "make a pipe");
  const Descriptor output(ends[0]);
  Descriptor input(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, input.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, input.get(), 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string words[] = {
      "systemctl", "--no-ask-password", wait ? "--quiet" : "--no-block", "reload", "--", unit};
  char* argv[] = {words[0].data(), words[1].data(), words[2].data(), words[3].data(),
                  words[4].data(), words[5].data(), nullptr};
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, "systemctl", &actions, &attributes, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  input.Reset();
  if (error != 0) {
    return absl::UnavailableError(
        fmt::format("reload {}: cannot start systemctl: {}", unit, std::strerror(error)));
  }
  std::string text;
  const bool closed = ReadUntilClosed(output.get(), end, text);
  if (!closed) kill(pid, SIGKILL);  // ours until it is waited for
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!closed) {
    return absl::DeadlineExceededError(
        fmt::format("reload {}: systemctl did not end in time", unit));
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("reload {}: {}", unit, std::string(absl::StripAsciiWhitespace(text))));
}

}  // namespace firedrill::agent
