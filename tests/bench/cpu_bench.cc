// SPDX-License-Identifier: Apache-2.0
// Asked against achieved processor time.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <thread>

#include "tests/bench/lib/report.h"
#include "tests/bench/lib/scene.h"

namespace firedrill::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Load {
  double steady_percent = 0;   ///< Of a core, over five seconds, from the third second on.
  double highest_percent = 0;  ///< Of any 250 ms of the first three seconds.
};

// What `pid` and all below it use, of each of `cores`.
Load Watch(pid_t pid, int cores) {
  Load load;
  const auto percent = [&](Nanoseconds ran, Nanoseconds took) {
    return 100.0 * static_cast<double>(ran.count()) / static_cast<double>(took.count()) / cores;
  };
  SteadyTime at = Clock::Real().Steady();
  Nanoseconds ran = TreeCpuTime(pid);
  for (int window = 0; window < 12; ++window) {
    test::Pause(milliseconds(250));
    const SteadyTime now = Clock::Real().Steady();
    const Nanoseconds more = TreeCpuTime(pid);
    load.highest_percent = std::max(load.highest_percent, percent(more - ran, now - at));
    at = now;
    ran = more;
  }
  test::Pause(seconds(5));
  load.steady_percent = percent(TreeCpuTime(pid) - ran, Clock::Real().Steady() - at);
  return load;
}

Load Ours(Scene& scene, double asked, int cores, bool raised) {
  const Scene::Fault fault(scene, fmt::format("cpu {{ percent: {} {} }}", asked,
                                              raised ? "priority: PRIORITY_RAISED" : ""));
  const auto workers = scene.agent().Workers();
  if (workers.size() != 1) Die("the agent has not one worker");
  return Watch(workers.front(), cores);
}

Load Theirs(double asked, int cores) {
  const Background stress({"/usr/bin/stress-ng", "--cpu", std::to_string(cores), "--cpu-load",
                           fmt::format("{:g}", asked), "--timeout", "20"});
  return Watch(stress.pid(), cores);
}

void Compare(Scene& scene, Report& report, int cores, bool raised, bool goals) {
  for (const double asked : {20.0, 50.0, 80.0}) {
    const Load ours = Ours(scene, asked, cores, raised);
    const Load theirs = Theirs(asked, cores);
    const char* than = "stress-ng --cpu-load";
    const std::string what = fmt::format("{:g} % asked", asked);
    report.Add({what + ", off by",
                std::abs(ours.steady_percent - asked),
                "points",
                than,
                std::abs(theirs.steady_percent - asked),
                goals ? std::optional(0.5) : std::nullopt,
                {}});
    if (!goals) continue;
    report.Add({what + ", overshoot in the first 3 s",
                std::max(0.0, ours.highest_percent - asked),
                "points",
                than,
                std::max(0.0, theirs.highest_percent - asked),
                5.0,
                {}});
  }
}

void Run() {
  Scene scene;
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  {
    Report report("cpu: on an idle host");
    Compare(scene, report, cores, false, true);
  }
  const Hogs hogs(cores);
  {
    Report report("cpu: beside a hog on each core, normal priority");
    Compare(scene, report, cores, false, false);
  }
  {
    Report report("cpu: beside a hog on each core, raised priority");
    Compare(scene, report, cores, true, false);
  }
}

}  // namespace
}  // namespace firedrill::bench

int main() { firedrill::bench::Run(); }
