// SPDX-License-Identifier: Apache-2.0
// What the agent and its workers take of a host, and whether the agent answers while every
// processor burns.
#include <fmt/format.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/bench/lib/report.h"
#include "tests/bench/lib/scene.h"

namespace firedrill::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// From asking for something that is refused until the refusal is here.
Nanoseconds Answer(Scene& scene, int number) {
  v1::Fault nothing;
  nothing.mutable_cpu()->set_percent(500);
  const std::string id = fmt::format("question-{}", number);
  const SteadyTime start = Clock::Real().Steady();
  scene.controller().Apply(id, nothing, seconds(5), seconds(5));
  while (scene.controller().updates(id).empty()) {
    if (Clock::Real().Steady() - start > seconds(10)) Die("no answer within 10 s");
    usleep(200);
  }
  return Clock::Real().Steady() - start;
}

void Run() {
  sync();  // pages of a program that was just built are the process' own until they are on the disk
  Scene scene;
  test::Pause(seconds(2));
  const pid_t agent = scene.agent().pid();
  Report report("footprint");
  const Nanoseconds before = TreeCpuTime(agent);
  const SteadyTime start = Clock::Real().Steady();
  test::Pause(seconds(10));
  const double share = 100 * static_cast<double>((TreeCpuTime(agent) - before).count()) /
                       static_cast<double>((Clock::Real().Steady() - start).count());
  report.Add({"idle agent, processor", share, "% core", "", {}, 0.1, {}});
  report.Add({"idle agent, private memory", PrivateMegabytes(agent), "MB", "", {}, 8.0, {}});
  const std::vector<std::pair<std::string, std::string>> faults = {
      {"cpu", "cpu { percent: 1 }"},
      {"packet_loss", "packet_loss { percent: 1 traffic { device: 'eth0' } }"},
      {"latency", "latency { delay { nanos: 50000000 } traffic { device: 'eth0' } }"}};
  for (const auto& [name, text] : faults) {
    const Scene::Fault fault(scene, text);
    test::Pause(milliseconds(500));
    const auto workers = scene.agent().Workers();
    if (workers.empty()) Die("no worker of " + name);
    report.Add({"worker of " + name + ", private memory",
                PrivateMegabytes(workers.front()),
                "MB",
                "",
                {},
                4.0,
                {}});
  }
  report.Add({"agent after these, private memory", PrivateMegabytes(agent), "MB", "", {}, 8.0, {}});
  std::vector<double> answers;
  {
    const Scene::Fault burn(scene, "cpu { percent: 100 }");
    test::Pause(seconds(1));
    for (int i = 0; i < 50; ++i) {
      answers.push_back(static_cast<double>(Answer(scene, i).count()) / 1e6);
      test::Pause(milliseconds(50));
    }
  }
  report.Add({"answer during a 100 % burn of every core, p50",
              Quantile(answers, 0.5),
              "ms",
              "",
              {},
              {},
              {}});
  report.Add({"answer during a 100 % burn of every core, worst",
              Quantile(answers, 1),
              "ms",
              "",
              {},
              100.0,
              {}});
}

}  // namespace
}  // namespace firedrill::bench

int main() { firedrill::bench::Run(); }
