// SPDX-License-Identifier: Apache-2.0
#include "agent/host/systemctl.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "agent/host/descriptor.h"
#include "agent/host/launch.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr std::size_t kMostOutput = 64 << 10;
constexpr Nanoseconds kToAnswer = std::chrono::seconds(1);

// With nothing to read.
absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& arguments, int output) {
  std::vector<std::string> words = {"systemctl", "--no-ask-password", "--no-pager"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  Launch launch(std::move(words));
  launch.Open(0, "/dev/null", O_RDONLY);
  launch.Give(output, 1);
  launch.Give(output, 2);
  pid_t pid = 0;
  const int error = launch.Start("systemctl", pid);
  if (error == 0) return pid;
  return absl::UnavailableError(fmt::format("start systemctl: {}", std::strerror(error)));
}

enum class Read { kAll, kTimeOver, kWoken };

Read ReadAll(int fd, SteadyTime end, int wake, std::string& text) {
  char block[4096];
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::Real().Steady());
    if (left.count() <= 0) return Read::kTimeOver;
    pollfd ready[] = {{fd, POLLIN, 0}, {wake, POLLIN, 0}};
    if (poll(ready, 2, static_cast<int>(left.count())) <= 0) continue;
    if (ready[1].revents != 0) return Read::kWoken;
    const ssize_t got = read(fd, block, sizeof block);
    if (got == 0 || (got < 0 && errno != EINTR)) return Read::kAll;
    if (got > 0 && text.size() < kMostOutput) text.append(block, static_cast<std::size_t>(got));
  }
}

void TakeProperty(absl::string_view name, absl::string_view value, UnitState& unit) {
  const auto text = [&](const char* wanted, std::string& out) {
    if (name == wanted) out = std::string(value);
  };
  const auto number = [&](const char* wanted, std::uint64_t& out) {
    if (name == wanted && !absl::SimpleAtoi(value, &out)) out = 0;
  };
  text("Id", unit.id);
  text("LoadState", unit.load);
  text("ActiveState", unit.active);
  text("SubState", unit.sub);
  text("Result", unit.result);
  text("InvocationID", unit.invocation);
  text("ControlGroup", unit.cgroup);
  number("ActiveEnterTimestampMonotonic", unit.active_since_us);
  number("ActiveExitTimestampMonotonic", unit.active_until_us);
  number("InactiveEnterTimestampMonotonic", unit.inactive_since_us);
  if (name == "CanStop") unit.can_stop = value != "no";
  if (name == "RequiredBy" || name == "RequisiteOf" || name == "BoundBy" || name == "ConsistsOf" ||
      name == "PropagatesStopTo") {
    for (const absl::string_view other : absl::StrSplit(value, ' ', absl::SkipEmpty())) {
      unit.stops_with.emplace_back(other);
    }
  }
}

}  // namespace

absl::StatusOr<SystemctlResult> RunSystemctl(const std::vector<std::string>& arguments,
                                             Nanoseconds within, int wake) {
  const SteadyTime end = Clock::Real().Steady() + within;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "make a pipe");
  const Descriptor output(ends[0]);
  Descriptor input(ends[1]);
  ASSIGN_OR_RETURN(const pid_t pid, Spawn(arguments, input.get()));
  input.Reset();
  SystemctlResult result;
  const Read read = ReadAll(output.get(), end, wake, result.output);
  if (read != Read::kAll) kill(pid, SIGKILL);  // the pid is ours until it is waited for
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (read == Read::kWoken) {
    return absl::CancelledError(fmt::format("systemctl {} was not waited for", arguments.front()));
  }
  if (read == Read::kTimeOver) {
    return absl::DeadlineExceededError(
        fmt::format("systemctl {} did not answer in time", arguments.front()));
  }
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

absl::Status LaunchSystemctl(const std::vector<std::string>& arguments) {
  const Descriptor nowhere(open("/dev/null", O_WRONLY | O_CLOEXEC));
  if (!nowhere.valid()) return absl::ErrnoToStatus(errno, "open /dev/null");
  ASSIGN_OR_RETURN(const pid_t pid, Spawn(arguments, nowhere.get()));
  std::thread([pid] {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }).detach();
  return absl::OkStatus();
}

std::vector<UnitState> ParseUnits(const std::string& text) {
  std::vector<UnitState> units;
  bool begun = false;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.empty()) {
      begun = false;
      continue;
    }
    const std::size_t equals = line.find('=');
    if (equals == absl::string_view::npos) continue;
    if (!begun) units.emplace_back();
    begun = true;
    TakeProperty(line.substr(0, equals), line.substr(equals + 1), units.back());
  }
  for (UnitState& unit : units) {
    std::sort(unit.stops_with.begin(), unit.stops_with.end());
    unit.stops_with.erase(std::unique(unit.stops_with.begin(), unit.stops_with.end()),
                          unit.stops_with.end());
  }
  return units;
}

absl::StatusOr<std::vector<UnitState>> ShowUnits(const std::vector<std::string>& units,
                                                 Nanoseconds within) {
  std::vector<std::string> arguments = {
      "show",
      "--property=Id,LoadState,ActiveState,SubState,Result,InvocationID,ControlGroup,CanStop,"
      "RequiredBy,RequisiteOf,BoundBy,ConsistsOf,PropagatesStopTo,ActiveEnterTimestampMonotonic,"
      "ActiveExitTimestampMonotonic,InactiveEnterTimestampMonotonic",
      "--"};
  arguments.insert(arguments.end(), units.begin(), units.end());
  ASSIGN_OR_RETURN(const SystemctlResult result, RunSystemctl(arguments, within));
  std::vector<UnitState> states = ParseUnits(result.output);
  if (result.exit_code != 0 || states.size() != units.size()) {
    return absl::FailedPreconditionError(
        fmt::format("systemctl show {}: {}", units.front(),
                    std::string(absl::StripAsciiWhitespace(result.output))));
  }
  return states;
}

absl::Status TrySystemd() {
  const auto result = RunSystemctl({"is-system-running"}, kToAnswer);
  if (!result.ok()) {
    return absl::UnimplementedError(
        fmt::format("{}; services can be stopped where systemd runs, and the agent needs its "
                    "systemctl in PATH and its bus (/run/systemd/private)",
                    std::string(result.status().message())));
  }
  const std::string said(absl::StripAsciiWhitespace(result->output));
  for (const char* running :
       {"initializing", "starting", "running", "degraded", "maintenance", "stopping"}) {
    if (said == running) return absl::OkStatus();
  }
  return absl::UnimplementedError(
      fmt::format("systemd is not the first process here, or does not answer (systemctl "
                  "is-system-running: {})",
                  said.substr(0, 200)));
}

}  // namespace firedrill::agent
