// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/lib/scene.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "controller/service/agent_link.h"
#include "google/protobuf/text_format.h"
#include "proto/support/time.h"

namespace firedrill::bench {
namespace {

using std::chrono::seconds;

constexpr Nanoseconds kPatience = seconds(20);

}  // namespace

void Die(const std::string& what) {
  fmt::print(stderr, "bench: {}\n", what);
  std::exit(1);
}

void Must(const std::vector<std::string>& arguments) {
  const auto finished = test::RunToEnd(arguments);
  if (finished.ok() && finished->exit_status == 0) return;
  Die(fmt::format("{}: {}", arguments.front(),
                  finished.ok() ? finished->output : finished.status().ToString()));
}

bool Works(const std::vector<std::string>& arguments) {
  const auto finished = test::RunToEnd(arguments);
  return finished.ok() && finished->exit_status == 0;
}

Background::Background(const std::vector<std::string>& arguments) {
  auto child = test::Child::Start(arguments, folder_.path() + "/log");
  if (!child.ok()) Die(child.status().ToString());
  child_ = *std::move(child);
}

Scene::Scene() {
  // Room for what a fast connection has under way during a delay.
  for (const char* which : {"tcp_rmem", "tcp_wmem"}) {
    for (const testing::NetNamespace* space : {&hosts_.near(), &hosts_.far()}) {
      testing::RunIn(*space, [&] {
        std::ofstream(fmt::format("/proc/sys/net/ipv4/{}", which)) << "4096 1048576 536870912";
      });
    }
  }
  test::FakeController::Options options;
  options.heartbeat_interval = controller::AgentLinkOptions().heartbeat_interval;
  auto controller = test::FakeController::Start(options);
  if (!controller.ok()) Die(controller.status().ToString());
  controller_ = *std::move(controller);
  auto agent = test::AgentProcess::Start(
      state_.path(), {"--controller", controller_->address(), "--insecure", "--id", "bench",
                      "--allow", "process_kill"});
  if (!agent.ok()) Die(agent.status().ToString());
  agent_ = *std::move(agent);
  if (!controller_->WaitForHello()) Die("no hello of the agent:\n" + agent_->Log());
}

Scene::Fault::Fault(Scene& scene, const std::string& text, bool event)
    : scene_(scene), id_(fmt::format("bench-{}", ++scene.next_id_)) {
  v1::Fault fault;
  if (!google::protobuf::TextFormat::ParseFromString(text, &fault)) Die("cannot read " + text);
  asked_ = Clock::Real().System();
  const std::optional<Nanoseconds> duration =
      event ? std::nullopt : std::optional<Nanoseconds>(seconds(300));
  if (!scene_.controller_->Apply(id_, fault, duration, seconds(50))) Die("no agent is connected");
  const auto active = scene_.controller_->WaitForUpdate(
      id_,
      [](const v1::InjectionUpdate& update) {
        return update.has_applied_at() || update.state() == v1::INJECTION_STATE_FAILED;
      },
      kPatience);
  if (!active || !active->has_applied_at()) {
    Die(fmt::format("{}: {}\n{}", text, active ? active->error() : "was not applied",
                    scene_.agent_->Log()));
  }
  apply_latency_ = FromProto(active->applied_at()) - asked_;
}

Scene::Fault::~Fault() { End(); }

Nanoseconds Scene::Fault::impact_latency() {
  const auto impact = scene_.controller_->WaitForUpdate(
      id_, [](const v1::InjectionUpdate& update) { return update.has_first_impact_at(); },
      kPatience);
  if (!impact) Die("no first impact of " + id_);
  return FromProto(impact->first_impact_at()) - asked_;
}

Nanoseconds Scene::Fault::End() {
  if (ended_) return Nanoseconds(0);
  ended_ = true;
  const SystemTime asked = Clock::Real().System();
  scene_.controller_->End(id_);
  const auto ended = scene_.controller_->WaitForState(id_, v1::INJECTION_STATE_ENDED, kPatience);
  if (!ended || !ended->end_proven()) {
    Die(fmt::format("{} has not ended: {}\n{}", id_, ended ? ended->error() : "",
                    scene_.agent_->Log()));
  }
  return FromProto(ended->ended_at()) - asked;
}

double Scene::Fault::Counter(const std::string& name) const {
  double value = 0;
  for (const v1::InjectionUpdate& update : scene_.controller_->updates(id_)) {
    const auto found = update.counters().find(name);
    if (found != update.counters().end()) value = found->second;
  }
  return value;
}

Nanoseconds TreeCpuTime(pid_t pid) {
  Nanoseconds sum{0};
  std::error_code error;
  for (const auto& task :
       std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid), error)) {
    // Nanoseconds on a processor, of waiting, and the number of slices.
    std::ifstream file(task.path() / "schedstat");
    long long ran = 0;
    if (file >> ran) sum += Nanoseconds(ran);
  }
  for (const pid_t child : test::Children(pid)) sum += TreeCpuTime(child);
  return sum;
}

double PrivateMegabytes(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/smaps_rollup", pid));
  std::string word;
  double kilobytes = 0, value = 0;
  while (file >> word) {
    if (word == "Private_Dirty:" && file >> value) kilobytes += value;
  }
  return kilobytes / 1024;
}

Hogs::Hogs(int cores) {
  for (int core = 0; core < cores; ++core) {
    const pid_t pid = fork();
    if (pid < 0) Die("fork");
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(static_cast<unsigned>(core), &set);
      sched_setaffinity(0, sizeof(set), &set);
      for (volatile unsigned spin = 0;;) spin = spin + 1;
    }
    pids_.push_back(pid);
  }
}

Hogs::~Hogs() {
  for (const pid_t pid : pids_) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
}

}  // namespace firedrill::bench
