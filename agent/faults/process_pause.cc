// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/process_pause.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "agent/faults/process_selection.h"
#include "agent/faults/tracer.h"
#include "agent/host/host.h"
#include "agent/host/processes.h"
#include "agent/host/task_events.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

// Well within the time that the agent gives a worker to answer.
constexpr Nanoseconds kToStop = std::chrono::milliseconds(1200);

class ProcessPause : public ActiveFault {
 public:
  ProcessPause(const Host& host, std::unique_ptr<Tracer> tracer, std::size_t found)
      : tracer_(std::move(tracer)), found_(found) {
    // It was between the asking and the seeing.
    const Tracer::Stopped& stopped = tracer_->stopped();
    const Nanoseconds half = (stopped.stopped_at - stopped.asked_at) / 2;
    const WallInstant wall = OnWallClock(host.clock(), stopped.asked_at + half);
    first_ = wall.at;
    uncertainty_ = half + wall.uncertainty;
  }

  absl::StatusOr<Impact> Observe() const override {
    const Tracer::Stopped& stopped = tracer_->stopped();
    const int ended = tracer_->ended();
    if (ended >= stopped.processes && !reverted_) {
      return absl::NotFoundError("every paused process has ended");
    }
    Impact impact;
    impact.first = first_;
    impact.uncertainty = uncertainty_;
    impact.counters = {{"processes_found", static_cast<double>(found_)},
                       {"processes_paused", stopped.processes},
                       {"threads_paused", stopped.threads},
                       {"processes_ended", ended}};
    return impact;
  }

  absl::Status Revert() override {
    reverted_ = true;
    tracer_->Release();
    return absl::OkStatus();
  }

 private:
  const std::unique_ptr<Tracer> tracer_;
  const std::size_t found_;
  SystemTime first_;
  Nanoseconds uncertainty_{0};
  bool reverted_ = false;
};

std::set<int> Spared(const InjectionRequest& request) {
  std::set<int> spared(request.protect.family_pids.begin(), request.protect.family_pids.end());
  spared.insert(getpid());
  return spared;
}

}  // namespace

absl::Status ProcessPauseSupported(const Host& host) { return TryTracing(host); }

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyProcessPause(const InjectionRequest& request,
                                                               WorkerContext& context) {
  const v1::ProcessPause& pause = request.fault.process_pause();
  ASSIGN_OR_RETURN(std::vector<Process> found, SelectProcesses(context.host, pause.processes(),
                                                               Spared(request), pause.exclude()));
  const std::size_t count = found.size();
  std::mt19937_64 random(std::random_device{}());
  ASSIGN_OR_RETURN(
      std::unique_ptr<Tracer> tracer,
      Tracer::Stop(context.host, Pick(std::move(found), pause.pick(), random, pause.order()),
                   kToStop));
  return std::make_unique<ProcessPause>(context.host, std::move(tracer), count);
}

absl::Status VerifyProcessPauseGone(const InjectionRequest& request, const Host& host) {
  const auto found = SelectProcesses(host, request.fault.process_pause().processes(), {getpid()});
  if (absl::IsNotFound(found.status())) return absl::OkStatus();  // they have ended since
  RETURN_IF_ERROR(found.status());
  for (const Process& process : *found) {
    // Its tracer shows 0 once that is dead; one that lives is another's, a debugger's perhaps.
    if (const auto thread = UntracedButStill(host, process.pid)) {
      return absl::FailedPreconditionError(fmt::format(
          "thread {} of {} (pid {}) still stands still", *thread, process.name, process.pid));
    }
  }
  return absl::OkStatus();
}

}  // namespace firedrill::agent
