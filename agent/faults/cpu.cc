// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/cpu.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "agent/faults/burner.h"
#include "agent/faults/marks.h"
#include "agent/host/cgroups.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"
#include "proto/support/time.h"

namespace firedrill::agent {
namespace {

constexpr Nanoseconds kToStart = std::chrono::seconds(1);
// Realtime threads leave so much of each period to everything else: the host, the agent and this
// worker's own control thread among it. The kernel's own bound (sched_rt_runtime_us, 95 % of a
// second) would let them stand still for 0.95 s.
constexpr double kMostRealtime = 0.9;

std::string MarkOfBurners(const std::string& injection_id) {
  return MarkOf("fdburn", injection_id);
}

// How long a cgroup was held back by its quota, since it was made.
double ThrottledSeconds(const Cgroup& cgroup) {
  auto table = ReadCgroupTable(cgroup.folder + "/cpu.stat");
  if (!table.ok()) return 0;
  return cgroup.v2 ? static_cast<double>((*table)["throttled_usec"]) / 1e6
                   : static_cast<double>((*table)["throttled_time"]) / 1e9;
}

class CpuFault : public ActiveFault {
 public:
  CpuFault(std::vector<std::unique_ptr<Burner>> burners, std::size_t cores, std::size_t realtime,
           std::optional<Cgroup> cgroup)
      : burners_(std::move(burners)),
        cores_(static_cast<double>(cores)),
        realtime_(static_cast<double>(realtime)),
        cgroup_(std::move(cgroup)),
        throttled_before_(cgroup_ ? ThrottledSeconds(*cgroup_) : 0) {}
  ~CpuFault() override { CpuFault::Revert().IgnoreError(); }

  absl::StatusOr<Impact> Observe() const override {
    Impact impact;
    Burner::Figures sum;
    for (const auto& burner : burners_) {
      const Burner::Figures figures = burner->figures();
      sum.cpu_seconds += figures.cpu_seconds;
      sum.asked_share += figures.asked_share;
      sum.achieved_share += figures.achieved_share;
      sum.starved_seconds += figures.starved_seconds;
      sum.waited_seconds += figures.waited_seconds;
      if (figures.first_slice && (!impact.first || *figures.first_slice < *impact.first)) {
        impact.first = figures.first_slice;
        impact.uncertainty = figures.first_slice_length;
      }
    }
    impact.counters = {{"cores", cores_},
                       {"realtime_cores", realtime_},
                       {"cpu_seconds", sum.cpu_seconds},
                       {"asked_percent", 100 * sum.asked_share / cores_},
                       {"achieved_percent", 100 * sum.achieved_share / cores_},
                       {"starved_seconds", sum.starved_seconds},
                       {"waited_seconds", sum.waited_seconds}};
    if (cgroup_) {
      impact.counters["throttled_seconds"] = ThrottledSeconds(*cgroup_) - throttled_before_;
    }
    return impact;
  }

  absl::Status Revert() override {
    for (const auto& burner : burners_) burner->Stop();
    return absl::OkStatus();
  }

 private:
  const std::vector<std::unique_ptr<Burner>> burners_;
  const double cores_, realtime_;
  const std::optional<Cgroup> cgroup_;
  const double throttled_before_;
};

absl::StatusOr<std::vector<int>> ChosenCores(const v1::Cpu& cpu, const Host& host) {
  const std::vector<int> allowed = host.AllowedCores();
  if (allowed.empty()) return absl::FailedPreconditionError("cannot read which cores are allowed");
  if (cpu.cores().empty()) return allowed;
  std::vector<int> cores(cpu.cores().begin(), cpu.cores().end());
  std::sort(cores.begin(), cores.end());
  cores.erase(std::unique(cores.begin(), cores.end()), cores.end());
  for (const int core : cores) {
    if (std::find(allowed.begin(), allowed.end(), core) != allowed.end()) continue;
    return absl::InvalidArgumentError(
        fmt::format("cpu.cores: found {}; allowed: cores that the agent may run on: {}", core,
                    absl::StrJoin(allowed, ", ")));
  }
  return cores;
}

// The priority that burners get. Realtime threads do not count against a cgroup's quota, so inside
// a cgroup it is a nice value. Where the kernel grants no realtime (RT_GROUP_SCHED outside the root
// cgroup) it is one, too.
absl::StatusOr<BurnerClass> ChosenClass(const v1::Cpu& cpu) {
  if (cpu.priority() != v1::PRIORITY_RAISED) return BurnerClass::kNormal;
  absl::Status allowed = absl::OkStatus();
  const int nice = getpriority(PRIO_PROCESS, 0);
  BurnerClass chosen = BurnerClass::kNice;
  if (cpu.cgroup().empty() && EnterClass(BurnerClass::kRealtime).ok()) {
    chosen = BurnerClass::kRealtime;
  } else {
    allowed = EnterClass(BurnerClass::kNice);
  }
  // This thread only tried; it goes on as it was.
  if (allowed.ok()) allowed = EnterClass(BurnerClass::kNormal);
  setpriority(PRIO_PROCESS, 0, nice);
  if (!allowed.ok()) return allowed;
  return chosen;
}

// What one core gets: a realtime thread cannot have all of it, so a normal one adds the rest.
std::vector<BurnerOptions> BurnersOf(const v1::Cpu& cpu, int core, BurnerClass scheduling,
                                     const std::string& injection_id) {
  BurnerOptions options;
  options.core = core;
  options.share = cpu.percent() / 100;
  options.fill = cpu.mode() == v1::CPU_MODE_FILL;
  if (cpu.has_ramp()) options.ramp = FromProto(cpu.ramp());
  options.thread_name = MarkOfBurners(injection_id);
  options.scheduling = scheduling;
  options.core_burnt = std::make_shared<std::atomic<std::int64_t>>(0);
  if (scheduling != BurnerClass::kRealtime || options.share <= kMostRealtime) return {options};
  BurnerOptions rest = options;
  options.most = kMostRealtime;
  rest.above = kMostRealtime;
  rest.scheduling = BurnerClass::kNormal;
  return {options, rest};
}

}  // namespace

absl::Status CpuSupported(const Host& host) {
  if (!host.AllowedCores().empty()) return absl::OkStatus();
  return absl::UnimplementedError("the kernel does not say which cores the agent may run on");
}

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyCpu(const InjectionRequest& request,
                                                      WorkerContext& context) {
  const v1::Cpu& cpu = request.fault.cpu();
  std::optional<Cgroup> cgroup;
  if (!cpu.cgroup().empty()) {
    ASSIGN_OR_RETURN(cgroup, FindCgroup(context.host, "cpu", cpu.cgroup()));
    // v2 takes whole processes only. This one is the injection's own, and its end the undo.
    if (cgroup->v2) {
      RETURN_IF_ERROR(JoinCgroup(context.host, *cgroup, Joining::kProcess));
    }
  }
  ASSIGN_OR_RETURN(const std::vector<int> cores, ChosenCores(cpu, context.host));
  ASSIGN_OR_RETURN(const BurnerClass scheduling, ChosenClass(cpu));
  std::vector<std::unique_ptr<Burner>> burners;
  for (const int core : cores) {
    for (BurnerOptions& options : BurnersOf(cpu, core, scheduling, request.id)) {
      if (cgroup && !cgroup->v2) options.cgroup = cgroup;
      burners.push_back(std::make_unique<Burner>(context.host, std::move(options)));
    }
  }
  for (const auto& burner : burners) RETURN_IF_ERROR(burner->Confirm(kToStart));
  const bool realtime = scheduling == BurnerClass::kRealtime;
  return std::make_unique<CpuFault>(std::move(burners), cores.size(), realtime ? cores.size() : 0,
                                    std::move(cgroup));
}

absl::Status VerifyCpuGone(const InjectionRequest& request, const Host& host) {
  return VerifyNoMark(host, MarkOfBurners(request.id));
}

}  // namespace firedrill::agent
