// SPDX-License-Identifier: Apache-2.0
// How long it takes from asking for a fault until it is in force, and until it is undone; and how
// soon a process is dead.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/faults/process_kill.h"
#include "agent/host/descriptor.h"
#include "agent/host/host.h"
#include "agent/journal/journal.h"
#include "tests/bench/lib/report.h"
#include "tests/bench/lib/scene.h"

namespace firedrill::bench {
namespace {

constexpr int kKills = 30;
constexpr int kRounds = 5;

double Milliseconds(Nanoseconds time) { return static_cast<double>(time.count()) / 1e6; }

// A process that does nothing.
class Victim {
 public:
  Victim() : pid_(fork()) {
    if (pid_ < 0) Die("fork");
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
  }
  ~Victim() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;
  pid_t pid() const { return pid_; }

 private:
  const pid_t pid_;
};

pid_t Spawn(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  char* none[] = {nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int failed = posix_spawn(&child, arguments[0], &actions, nullptr, arguments.data(), none);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) Die("run " + words.front());
  return child;
}

// Until the process has ended.
void WaitForEnd(const agent::Descriptor& pidfd) {
  pollfd polled{pidfd.get(), POLLIN, 0};
  if (poll(&polled, 1, 5000) != 1) Die("what was killed is still there");
}

agent::Descriptor Pidfd(pid_t pid) {
  return agent::Descriptor(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
}

// By the program that people use, from its start until the process has ended.
Nanoseconds KilledByHand() {
  const Victim victim;
  const agent::Descriptor watched = Pidfd(victim.pid());
  const SteadyTime start = Clock::Real().Steady();
  const pid_t child = Spawn({"/bin/kill", "-9", std::to_string(victim.pid())});
  WaitForEnd(watched);
  const Nanoseconds took = Clock::Real().Steady() - start;
  waitpid(child, nullptr, 0);
  return took;
}

// By a worker that is there, from its order until the process has ended. In a new process, for the
// first fault of a process costs most and a worker has one.
Nanoseconds KilledByWorker(const std::string& folder) {
  const Victim victim;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) Die("make a pipe");
  const agent::Descriptor in(ends[0]);
  agent::Descriptor out(ends[1]);
  const pid_t worker = fork();
  if (worker < 0) Die("fork");
  if (worker == 0) {
    agent::Host host;
    const auto journal = agent::Journal::Open(folder, host.BootId(), host.clock());
    if (!journal.ok()) Die(journal.status().ToString());
    std::shared_ptr<agent::TrafficEngine> none;
    agent::WorkerContext context{host, **journal, none};
    agent::InjectionRequest request;
    request.id = "bench";
    request.fault.mutable_process_kill()->mutable_processes()->set_pid(victim.pid());
    const agent::Descriptor watched = Pidfd(victim.pid());
    const SteadyTime start = Clock::Real().Steady();
    const auto fault = agent::ApplyProcessKill(request, context);
    WaitForEnd(watched);
    const Nanoseconds took = Clock::Real().Steady() - start;
    if (!fault.ok()) Die(fault.status().ToString());
    _exit(write(out.get(), &took, sizeof(took)) == sizeof(took) ? 0 : 1);
  }
  out.Reset();
  Nanoseconds took{0};
  if (read(in.get(), &took, sizeof(took)) != sizeof(took)) Die("a worker did not kill");
  waitpid(worker, nullptr, 0);
  return took;
}

// From a program's start to its end.
Nanoseconds RunTime(const std::vector<std::string>& words) {
  const SteadyTime start = Clock::Real().Steady();
  waitpid(Spawn(words), nullptr, 0);
  return Clock::Real().Steady() - start;
}

// What of a kill is the worker's own, and what its start. Before anything has threads.
struct Parts {
  std::vector<double> kills, starts, others;
};

Parts PartsOfKill() {
  const test::TemporaryFolder folder;
  Parts parts;
  setpriority(PRIO_PROCESS, 0, -20);  // as the agent and its workers have it
  for (int i = 0; i < kKills; ++i) {
    parts.kills.push_back(Milliseconds(KilledByWorker(folder.path())));
    parts.starts.push_back(Milliseconds(RunTime({test::AgentBinary(), "--version"})));
    parts.others.push_back(Milliseconds(RunTime({"/bin/kill", "--version"})));
  }
  setpriority(PRIO_PROCESS, 0, 0);
  return parts;
}

void Kills(Scene& scene, const Parts& parts) {
  Report report(fmt::format("kill: from the request to the process's end, median of {}", kKills));
  std::vector<double> ours, theirs;
  for (int i = 0; i < kKills; ++i) {
    const Victim victim;
    Scene::Fault fault(
        scene, fmt::format("process_kill {{ processes {{ pid: {} }} }}", victim.pid()), true);
    ours.push_back(Milliseconds(fault.impact_latency()));
    theirs.push_back(Milliseconds(KilledByHand()));
  }
  const double by_hand = Median(theirs);
  report.Add({"over gRPC, agent and worker", Median(ours), "ms", "/bin/kill", by_hand, {}, {}});
  report.Add({"worst of them", Quantile(ours, 1), "ms", "/bin/kill", Quantile(theirs, 1), {}, {}});
  report.Add({"of it inside the worker", Median(parts.kills), "ms", "/bin/kill", by_hand, 1.0, {}});
  report.Add({"starting and ending its program (--version)",
              Median(parts.starts),
              "ms",
              "/bin/kill --version",
              Median(parts.others),
              {},
              {}});
}

void ApplyAndEnd(Scene& scene, Report& report, const std::string& name, const std::string& fault) {
  std::vector<double> apply, end;
  for (int i = 0; i < kRounds; ++i) {
    Scene::Fault live(scene, fault);
    apply.push_back(Milliseconds(live.apply_latency()));
    end.push_back(Milliseconds(live.End()));
  }
  report.Add({name + ", in force and read back", Median(apply), "ms", "", {}, {}, {}});
  report.Add({name + ", reverted", Median(end), "ms", "", {}, {}, {}});
}

void Run() {
  const Parts parts = PartsOfKill();
  Scene scene;
  Kills(scene, parts);
  const test::TemporaryFolder folder;
  const Victim victim;
  const std::string of_victim = fmt::format("processes {{ pid: {} }}", victim.pid());
  const std::string traffic = "traffic { device: 'eth0' }";
  const std::vector<std::pair<std::string, std::string>> faults = {
      {"packet_loss", "packet_loss { percent: 1 " + traffic + " }"},
      {"latency", "latency { delay { nanos: 50000000 } " + traffic + " }"},
      {"packet_duplicate", "packet_duplicate { percent: 1 " + traffic + " }"},
      {"packet_corrupt", "packet_corrupt { percent: 1 " + traffic + " }"},
      {"packet_reorder", "packet_reorder { percent: 1 " + traffic + " }"},
      {"bandwidth", "bandwidth { rate: 100000000 " + traffic + " }"},
      {"partition", "partition { addresses: '10.73.0.9' " + traffic + " }"},
      {"dns", "dns { answer: DNS_ANSWER_SERVFAIL " + traffic + " }"},
      {"connection_error", "connection_error { addresses: '10.73.0.9' }"},
      {"cpu", "cpu { percent: 10 }"},
      {"memory", "memory { bytes: 67108864 }"},
      {"disk_fill", fmt::format("disk_fill {{ path: '{}' bytes: 67108864 }}", folder.path())},
      {"disk_load",
       fmt::format("disk_load {{ path: '{}' write_rate: 1048576 size: 1048576 }}", folder.path())},
      {"file_fault",
       fmt::format("file_fault {{ path: '{}' delay {{ nanos: 1000000 }} }}", folder.path())},
      {"descriptors", "descriptors { " + of_victim + " }"},
      {"process_pause", "process_pause { " + of_victim + " }"},
  };
  Report report(fmt::format("apply and end: from the request, median of {}", kRounds));
  for (const auto& [name, fault] : faults) ApplyAndEnd(scene, report, name, fault);
}

}  // namespace
}  // namespace firedrill::bench

int main() { firedrill::bench::Run(); }
