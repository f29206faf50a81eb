// SPDX-License-Identifier: Apache-2.0
// How long it takes from asking for a fault until it is in force, and until it is undone; and how
// soon a process is dead.
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <utility>
#include <vector>

#include "agent/host/descriptor.h"
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

// By the program that people use, from its start until the process has ended.
Nanoseconds KilledByHand() {
  const Victim victim;
  const agent::Descriptor watched(static_cast<int>(syscall(SYS_pidfd_open, victim.pid(), 0)));
  const std::string pid = std::to_string(victim.pid());
  const char* arguments[] = {"/bin/kill", "-9", pid.c_str(), nullptr};
  char* none[] = {nullptr};
  const SteadyTime start = Clock::Real().Steady();
  pid_t child = 0;
  if (posix_spawn(&child, arguments[0], nullptr, nullptr, const_cast<char**>(arguments), none) !=
      0) {
    Die("run /bin/kill");
  }
  pollfd polled{watched.get(), POLLIN, 0};
  poll(&polled, 1, 5000);
  const Nanoseconds took = Clock::Real().Steady() - start;
  waitpid(child, nullptr, 0);
  return took;
}

void Kills(Scene& scene) {
  Report report(fmt::format("kill: from the request to the process's end, median of {}", kKills));
  std::vector<double> ours, theirs;
  for (int i = 0; i < kKills; ++i) {
    const Victim victim;
    Scene::Fault fault(
        scene, fmt::format("process_kill {{ processes {{ pid: {} }} }}", victim.pid()), true);
    ours.push_back(Milliseconds(fault.impact_latency()));
    theirs.push_back(Milliseconds(KilledByHand()));
  }
  report.Add(
      {"over gRPC, agent and worker", Median(ours), "ms", "/bin/kill", Median(theirs), {}, {}});
  report.Add({"worst of them", Quantile(ours, 1), "ms", "/bin/kill", Quantile(theirs, 1), {}, {}});
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
  Scene scene;
  Kills(scene);
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
