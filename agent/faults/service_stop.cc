// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/service_stop.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "agent/faults/stopped_units.h"
#include "agent/host/descriptor.h"
#include "agent/host/host.h"
#include "agent/host/processes.h"
#include "agent/host/systemctl.h"
#include "agent/host/task_events.h"
#include "agent/journal/journal.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A worker that does not answer is killed: for three seconds while it begins, for two while it
// ends.
constexpr Nanoseconds kToApply = milliseconds(2000);
constexpr Nanoseconds kToTakeBack = milliseconds(700);
constexpr Nanoseconds kToRevert = milliseconds(1500);
// The agent's own thread, on which its workers' leases are renewed, stands still so long at most.
constexpr Nanoseconds kToUndo = milliseconds(1200);
constexpr Nanoseconds kToAsk = milliseconds(1200);
constexpr Nanoseconds kAskAgain = milliseconds(20);
// A unit with a cgroup shows there that it runs again; others have to be asked for.
constexpr Nanoseconds kLookEvery = milliseconds(50);
constexpr Nanoseconds kAskEvery = milliseconds(500);
constexpr Nanoseconds kAskWithCgroupEvery = seconds(2);
constexpr Nanoseconds kOfSystemd = milliseconds(1);  // ± of its timestamps

SteadyTime At(std::uint64_t microseconds) {
  return SteadyTime(std::chrono::microseconds(static_cast<std::int64_t>(microseconds)));
}

class ServiceStop : public ActiveFault {
 public:
  ServiceStop(WorkerContext& context, StoppedUnits stopped, UnitState before, Descriptor wake)
      : host_(context.host),
        journal_(context.journal),
        stopped_(std::move(stopped)),
        before_(std::move(before)),
        wake_(std::move(wake)) {}
  ~ServiceStop() override {
    if (thread_.joinable()) ServiceStop::Revert().IgnoreError();
  }

  absl::Status Begin(SteadyTime deadline);
  absl::StatusOr<Impact> Observe() const override {
    absl::MutexLock lock(&mutex_);
    return impact_;
  }
  absl::Status Revert() override;

 private:
  absl::Status WaitUntilStopped(SteadyTime deadline);
  absl::Status StartAgain(Nanoseconds within);
  void Saw(const UnitState& now) ABSL_LOCKS_EXCLUDED(mutex_);
  bool HasCgroup() const;
  void Watch();

  Host& host_;
  Journal& journal_;
  const StoppedUnits stopped_;
  const UnitState before_;
  const Descriptor wake_;
  std::string record_;
  bool over_ = false;
  mutable absl::Mutex mutex_;
  Impact impact_ ABSL_GUARDED_BY(mutex_);
  std::optional<SteadyTime> left_active_ ABSL_GUARDED_BY(mutex_);
  bool is_stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool put_right_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

absl::Status ServiceStop::Begin(SteadyTime deadline) {
  ASSIGN_OR_RETURN(record_, journal_.Record(kServiceRecord, stopped_.Values()));
  absl::Status status = stopped_.Mark();
  if (status.ok()) status = stopped_.Stop(deadline - host_.clock().Steady());
  if (status.ok()) status = WaitUntilStopped(deadline);
  if (!status.ok()) {
    status.Update(StartAgain(kToTakeBack));
    return status;
  }
  {
    absl::MutexLock lock(&mutex_);
    impact_.counters["units_stopped"] = static_cast<double>(stopped_.invocations().size());
  }
  thread_ = std::thread([this] { Watch(); });
  return absl::OkStatus();
}

absl::Status ServiceStop::WaitUntilStopped(SteadyTime deadline) {
  for (;;) {
    const Nanoseconds left = deadline - host_.clock().Steady();
    if (left <= Nanoseconds(0)) {
      return absl::DeadlineExceededError(
          fmt::format("{} is still active after it was told to stop", before_.id));
    }
    ASSIGN_OR_RETURN(const std::vector<UnitState> now, ShowUnits({before_.id}, left));
    Saw(now[0]);
    if (!now[0].is_active()) return absl::OkStatus();
    const timespec pause{0, kAskAgain.count()};
    ppoll(nullptr, 0, &pause, nullptr);
  }
}

void ServiceStop::Saw(const UnitState& now) {
  absl::MutexLock lock(&mutex_);
  const bool running = now.is_active() || now.active == "activating";
  if (!left_active_ && !running) {
    left_active_ = now.active_until_us != 0 ? At(now.active_until_us) : host_.clock().Steady();
    const WallInstant wall = OnWallClock(host_.clock(), *left_active_);
    impact_.first = wall.at;
    impact_.uncertainty = kOfSystemd + wall.uncertainty;
  }
  if (left_active_ && !is_stopped_ && (now.active == "inactive" || now.active == "failed")) {
    is_stopped_ = true;
    const SteadyTime at =
        now.inactive_since_us != 0 ? At(now.inactive_since_us) : host_.clock().Steady();
    impact_.counters["stopped_after_seconds"] =
        std::max(0.0, std::chrono::duration<double>(at - *left_active_).count());
  }
  // What only begins to start, or fails to, puts nothing right.
  const bool known = left_active_ && At(now.active_since_us) > *left_active_;
  if (put_right_ || !left_active_ || !(known || now.is_active())) return;
  put_right_ = true;
  const SteadyTime at = known ? At(now.active_since_us) : host_.clock().Steady();
  const WallInstant wall = OnWallClock(host_.clock(), at);
  impact_.counters["put_right_after_seconds"] =
      std::chrono::duration<double>(at - *left_active_).count();
  impact_.events.push_back(
      {"put_right", wall.at, /*from_kernel=*/false,
       (known ? kOfSystemd : kAskEvery) + wall.uncertainty,
       fmt::format("{} was started again by somebody else ({}, {})", now.id, now.active, now.sub)});
}

bool ServiceStop::HasCgroup() const {
  for (const char* mount : {"/fs/cgroup", "/fs/cgroup/systemd", "/fs/cgroup/unified"}) {
    if (access((host_.sys() + mount + before_.cgroup).c_str(), F_OK) == 0) return true;
  }
  return false;
}

void ServiceStop::Watch() {
  SteadyTime asked_at = host_.clock().Steady();
  for (;;) {
    pollfd wake{wake_.get(), POLLIN, 0};
    const auto wait = std::chrono::duration_cast<milliseconds>(kLookEvery);
    if (poll(&wake, 1, static_cast<int>(wait.count())) == 1) return;
    bool stopping = false;
    {
      absl::MutexLock lock(&mutex_);
      if (put_right_) return;  // it is not stopped a second time
      stopping = !is_stopped_;
    }
    const SteadyTime now = host_.clock().Steady();
    const bool with_cgroup = !before_.cgroup.empty() && !stopping;
    const bool shows = with_cgroup && HasCgroup();
    if (!shows && now - asked_at < (with_cgroup ? kAskWithCgroupEvery : kAskEvery)) continue;
    asked_at = now;
    const auto state = ShowUnits({before_.id}, kToAsk);
    if (state.ok()) Saw((*state)[0]);
  }
}

absl::Status ServiceStop::StartAgain(Nanoseconds within) {
  RETURN_IF_ERROR(stopped_.StartAgain(within));
  RETURN_IF_ERROR(journal_.Forget(record_));
  over_ = true;
  return absl::OkStatus();
}

absl::Status ServiceStop::Revert() {
  eventfd_write(wake_.get(), 1);
  if (thread_.joinable()) thread_.join();
  if (over_) return absl::OkStatus();
  const SteadyTime began = host_.clock().Steady();
  RETURN_IF_ERROR(StartAgain(kToRevert));
  absl::MutexLock lock(&mutex_);
  if (!put_right_) {
    impact_.counters["started_after_seconds"] =
        std::chrono::duration<double>(host_.clock().Steady() - began).count();
  }
  return absl::OkStatus();
}

// Whether stopping `units` would end one of the agent's family.
absl::Status CheckSpared(const Host& host, const std::vector<UnitState>& units,
                         const Protected& protect) {
  std::set<int> family(protect.family_pids.begin(), protect.family_pids.end());
  family.insert({getpid(), getppid()});
  for (const int pid : family) {
    const auto cgroups = ReadCgroups(host, pid);
    if (!cgroups.ok()) continue;
    for (const UnitState& unit : units) {
      if (!InSystemdUnit(*cgroups, unit.id)) continue;
      return absl::FailedPreconditionError(
          fmt::format("{} holds the agent (pid {}), which would end with it: it is never touched",
                      unit.id, pid));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckStoppable(const UnitState& unit) {
  if (unit.load == "not-found") {
    return absl::NotFoundError(fmt::format("there is no systemd unit {} here", unit.id));
  }
  if (unit.load != "loaded") {
    return absl::FailedPreconditionError(
        fmt::format("systemd unit {} is {}: there is nothing to stop", unit.id, unit.load));
  }
  if (!unit.is_active()) {
    return absl::FailedPreconditionError(fmt::format(
        "systemd unit {} is {} ({}): there is nothing to stop", unit.id, unit.active, unit.sub));
  }
  if (!unit.can_stop) {
    return absl::FailedPreconditionError(
        fmt::format("systemd unit {} refuses to be stopped by hand (RefuseManualStop=)", unit.id));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ServiceStopSupported(const Host&) { return TrySystemd(); }

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyServiceStop(const InjectionRequest& request,
                                                              WorkerContext& context) {
  const SteadyTime deadline = context.host.clock().Steady() + kToApply;
  std::string name = request.fault.service_stop().unit();
  if (name.find('.') == std::string::npos) name += ".service";
  ASSIGN_OR_RETURN(const std::vector<UnitState> shown, ShowUnits({name}, kToApply));
  const UnitState& unit = shown[0];
  RETURN_IF_ERROR(CheckStoppable(unit));
  ASSIGN_OR_RETURN(const std::vector<UnitState> together, StopsTogether(unit, deadline));
  RETURN_IF_ERROR(CheckSpared(context.host, together, request.protect));
  StoppedUnits::Invocations invocations;
  for (const UnitState& state : together) invocations[state.id] = state.invocation;
  Descriptor wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return absl::ErrnoToStatus(errno, "make an eventfd");
  auto fault = std::make_unique<ServiceStop>(
      context, StoppedUnits(unit.id, std::move(invocations), request.id), unit, std::move(wake));
  RETURN_IF_ERROR(fault->Begin(deadline));
  return fault;
}

absl::Status VerifyServiceStopGone(const InjectionRequest& request, const Host&) {
  const std::string unit = StoppedUnits::MarkedUnit(request.id);
  if (unit.empty()) return absl::OkStatus();  // nothing was stopped
  ASSIGN_OR_RETURN(const std::vector<UnitState> now, ShowUnits({unit}, kToAsk));
  if (!now[0].is_active()) {
    return absl::FailedPreconditionError(
        fmt::format("{} is {} ({}): systemctl status {}", unit, now[0].active, now[0].sub, unit));
  }
  return StoppedUnits(unit, {}, request.id).Unmark();
}

absl::Status UndoServiceStop(const UndoRecord& record, const Host&) {
  // What a boot starts is the host's own affair.
  if (!record.same_boot) return absl::OkStatus();
  ASSIGN_OR_RETURN(const StoppedUnits stopped, StoppedUnits::FromValues(record.values));
  return stopped.StartAgain(kToUndo);
}

}  // namespace firedrill::agent
