// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/cpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "agent/faults/burner.h"
#include "agent/host/host.h"
#include "agent/host/processes.h"
#include "proto/support/status_macros.h"
#include "proto/support/time.h"

namespace firedrill::agent {
namespace {

constexpr Nanoseconds kToStart = std::chrono::seconds(1);

// Burners bear their injection's name, so that any process can see whether one is left: 7 + 8
// bytes.
std::string ThreadName(const std::string& injection_id) {
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : injection_id) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return fmt::format("fdburn-{:08x}", hash);
}

class CpuFault : public ActiveFault {
 public:
  explicit CpuFault(std::vector<std::unique_ptr<Burner>> burners) : burners_(std::move(burners)) {}
  ~CpuFault() override { CpuFault::Revert().IgnoreError(); }

  absl::StatusOr<Impact> Observe() const override {
    Impact impact;
    double cpu_seconds = 0, asked = 0, achieved = 0;
    for (const auto& burner : burners_) {
      const Burner::Figures figures = burner->figures();
      cpu_seconds += figures.cpu_seconds;
      asked += figures.asked_share;
      achieved += figures.achieved_share;
      if (figures.first_slice && (!impact.first || *figures.first_slice < *impact.first)) {
        impact.first = figures.first_slice;
        impact.uncertainty = figures.first_slice_length;
      }
    }
    const double cores = static_cast<double>(burners_.size());
    impact.counters = {{"cores", cores},
                       {"cpu_seconds", cpu_seconds},
                       {"asked_percent", 100 * asked / cores},
                       {"achieved_percent", 100 * achieved / cores}};
    return impact;
  }

  absl::Status Revert() override {
    for (const auto& burner : burners_) burner->Stop();
    return absl::OkStatus();
  }

 private:
  const std::vector<std::unique_ptr<Burner>> burners_;
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

}  // namespace

absl::Status CpuSupported(const Host& host) {
  if (!host.AllowedCores().empty()) return absl::OkStatus();
  return absl::UnimplementedError("the kernel does not say which cores the agent may run on");
}

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyCpu(const InjectionRequest& request,
                                                      WorkerContext& context) {
  const v1::Cpu& cpu = request.fault.cpu();
  ASSIGN_OR_RETURN(const std::vector<int> cores, ChosenCores(cpu, context.host));
  std::vector<std::unique_ptr<Burner>> burners;
  for (const int core : cores) {
    BurnerOptions options;
    options.core = core;
    options.share = cpu.percent() / 100;
    options.fill = cpu.mode() == v1::CPU_MODE_FILL;
    if (cpu.has_ramp()) options.ramp = FromProto(cpu.ramp());
    options.thread_name = ThreadName(request.id);
    burners.push_back(std::make_unique<Burner>(context.host, std::move(options)));
  }
  for (const auto& burner : burners) RETURN_IF_ERROR(burner->Confirm(kToStart));
  return std::make_unique<CpuFault>(std::move(burners));
}

absl::Status VerifyCpuGone(const InjectionRequest& request, const Host& host) {
  const std::string name = ThreadName(request.id);
  ASSIGN_OR_RETURN(const std::vector<Process> processes, ListProcesses(host));
  for (const Process& process : processes) {
    if (process.kernel_thread || !absl::StrContains(process.command_line, "worker")) continue;
    const std::string tasks = fmt::format("{}/{}/task", host.proc(), process.pid);
    std::error_code error;
    for (const auto& task : std::filesystem::directory_iterator(tasks, error)) {
      const auto comm = Host::Read(task.path() / "comm", 64);
      if (comm.ok() && absl::StartsWith(*comm, name)) {
        return absl::FailedPreconditionError(
            fmt::format("process {} still has a burner ({})", process.pid, name));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace firedrill::agent
