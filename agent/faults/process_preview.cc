// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/process_preview.h"

#include <fmt/format.h>
#include <unistd.h>

#include <random>
#include <set>
#include <utility>
#include <vector>

#include "agent/faults/process_selection.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr std::size_t kMostEvents = 100;
constexpr std::size_t kLongestCommand = 200;

class ProcessPreview : public ActiveFault {
 public:
  explicit ProcessPreview(Impact impact) : impact_(std::move(impact)) {}
  absl::StatusOr<Impact> Observe() const override { return impact_; }
  absl::Status Revert() override { return absl::OkStatus(); }

 private:
  const Impact impact_;
};

struct Choice {
  const v1::ProcessSelector& selector;
  const v1::ProcessSelector& exclude;
  const v1::Amount& pick;
};

absl::StatusOr<Choice> ChoiceOf(const v1::Fault& fault) {
  if (fault.has_process_kill()) {
    const v1::ProcessKill& kill = fault.process_kill();
    return Choice{kill.processes(), kill.exclude(), kill.pick()};
  }
  if (fault.has_process_pause()) {
    const v1::ProcessPause& pause = fault.process_pause();
    return Choice{pause.processes(), pause.exclude(), pause.pick()};
  }
  if (fault.has_descriptors()) {
    return Choice{fault.descriptors().processes(), v1::ProcessSelector::default_instance(),
                  fault.descriptors().pick()};
  }
  return absl::UnimplementedError("this fault chooses no processes");
}

}  // namespace

absl::StatusOr<std::unique_ptr<ActiveFault>> PreviewProcesses(const InjectionRequest& request,
                                                              WorkerContext& context) {
  const Host& host = context.host;
  ASSIGN_OR_RETURN(const Choice choice, ChoiceOf(request.fault));
  std::set<int> spared(request.protect.family_pids.begin(), request.protect.family_pids.end());
  spared.insert(getpid());
  ASSIGN_OR_RETURN(const std::vector<Process> found,
                   SelectProcesses(host, choice.selector, spared, choice.exclude));
  Impact impact;
  std::mt19937_64 random;
  impact.counters["processes_found"] = static_cast<double>(found.size());
  impact.counters["processes_picked"] =
      static_cast<double>(Pick(found, choice.pick, random).size());
  for (const Process& process : found) {
    if (impact.events.size() == kMostEvents) break;
    impact.events.push_back({"match", host.clock().System(), false, Nanoseconds(0),
                             fmt::format("{} (pid {}): {}", process.name, process.pid,
                                         process.command_line.substr(0, kLongestCommand))});
  }
  impact.completed = true;
  return std::make_unique<ProcessPreview>(std::move(impact));
}

}  // namespace firedrill::agent
