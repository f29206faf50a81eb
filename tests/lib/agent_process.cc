// SPDX-License-Identifier: Apache-2.0
#include "tests/lib/agent_process.h"

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "agent/host/host.h"
#include "agent/host/processes.h"

namespace firedrill::test {
namespace {

// The folders of a process' threads; none if there is no such process.
std::vector<std::string> Tasks(pid_t pid) {
  std::vector<std::string> tasks;
  std::error_code error;
  std::filesystem::directory_iterator at("/proc/" + std::to_string(pid) + "/task", error);
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    tasks.push_back(at->path());
  }
  return tasks;
}

// Sums over the threads that live (Documentation/scheduler/sched-stats.rst).
struct SchedStat {
  Nanoseconds on_core{0};
  Nanoseconds waited{0};
};

SchedStat Scheduled(pid_t pid) {
  SchedStat sum;
  for (const std::string& task : Tasks(pid)) {
    std::istringstream fields(ReadFile(task + "/schedstat"));
    long long on_core = 0, waited = 0;
    fields >> on_core >> waited;
    sum.on_core += Nanoseconds(on_core);
    sum.waited += Nanoseconds(waited);
  }
  return sum;
}

}  // namespace

std::string AgentBinary() {
  const char* build = std::getenv("FIREDRILL_BUILD_DIR");
  return std::string(build == nullptr ? "build/dev" : build) + "/agent/firedrill-agent";
}

absl::StatusOr<std::unique_ptr<AgentProcess>> AgentProcess::Start(
    const std::string& state, const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {AgentBinary(), "--state", state, "--log-level", "debug"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::filesystem::create_directories(state);
  auto child = Child::Start(words, state + "/log");
  if (!child.ok()) return child.status();
  return std::unique_ptr<AgentProcess>(new AgentProcess(*std::move(child)));
}

std::vector<pid_t> AgentProcess::Workers() const { return Children(pid()); }

std::vector<pid_t> Children(pid_t parent) {
  std::vector<pid_t> children;
  const auto processes = agent::ListProcesses(agent::Host());
  if (!processes.ok()) return children;
  for (const agent::Process& process : *processes) {
    if (process.parent == parent && process.state != 'Z') children.push_back(process.pid);
  }
  return children;
}

char ProcessState(pid_t pid) {
  const auto process = agent::ReadProcess(agent::Host(), pid);
  return process.ok() ? process->state : '?';
}

bool Alive(pid_t pid) {
  const char state = ProcessState(pid);
  if (state != 'Z') return state != '?';
  // The state of a process is that of its main thread, which may end before the others do.
  return Tasks(pid).size() > 1;
}

bool Doomed(pid_t pid) {
  // Until it is collected the kernel shows the signal as pending for all of its threads (proc(5)).
  const std::string status = ReadFile("/proc/" + std::to_string(pid) + "/status");
  const std::string name = "\nShdPnd:";
  const std::size_t at = status.find(name);
  if (at == std::string::npos) return true;
  return (std::stoull(status.substr(at + name.size()), nullptr, 16) >> (SIGKILL - 1) & 1) != 0;
}

Nanoseconds RunDelay(pid_t pid) { return Scheduled(pid).waited; }

Nanoseconds CoreTime(pid_t pid) { return Scheduled(pid).on_core; }

Nanoseconds CpuTime(pid_t pid) {
  const std::string text = ReadFile("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t close = text.rfind(')');
  if (close == std::string::npos) return Nanoseconds(0);
  std::istringstream rest(text.substr(close + 1));
  std::string field;
  for (int i = 0; i < 11; ++i) rest >> field;  // fields 3 to 13 of proc(5)
  long long user = 0, system = 0;
  rest >> user >> system;
  return Nanoseconds((user + system) * (1'000'000'000 / sysconf(_SC_CLK_TCK)));
}

}  // namespace firedrill::test
