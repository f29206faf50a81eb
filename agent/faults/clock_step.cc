// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/clock_step.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/numbers.h"
#include "absl/synchronization/mutex.h"
#include "agent/host/abilities.h"
#include "agent/host/agent_clock.h"
#include "agent/host/descriptor.h"
#include "agent/host/host.h"
#include "agent/host/processes.h"
#include "agent/journal/journal.h"
#include "proto/support/status_macros.h"
#include "proto/support/time.h"

namespace firedrill::agent {
namespace {

// How exactly a step is read back: well under the smallest one, well over what a look costs.
constexpr Nanoseconds kExact = std::chrono::microseconds(200);
constexpr std::size_t kMostEvents = 100;

// The short names (15 characters) of the programs that keep a clock right; ntp-daemon is ntpd-rs'.
constexpr const char* kSynchronisers[] = {"chronyd",  "systemd-timesyn", "ntpd",    "ntp-daemon",
                                          "openntpd", "ptp4l",           "phc2sys", "timemaster"};

std::string InWords(Nanoseconds by) {
  return fmt::format("{}{}", by < Nanoseconds(0) ? "-" : "+", FormatDuration(std::chrono::abs(by)));
}

// Moves the wall clock by exactly so much, whatever time it is.
absl::Status Step(Nanoseconds by) {
  timex step{};
  step.modes = ADJ_SETOFFSET | ADJ_NANO;
  const auto seconds = std::chrono::floor<std::chrono::seconds>(by);
  step.time.tv_sec = seconds.count();
  step.time.tv_usec = (by - seconds).count();  // of 0 to 999,999,999 nanoseconds
  const WallSinceBoot before = ReadWallSinceBoot();
  if (clock_adjtime(CLOCK_REALTIME, &step) < 0) {
    return absl::ErrnoToStatus(errno, fmt::format("step the wall clock by {}", InWords(by)));
  }
  const Nanoseconds stepped = ReadWallSinceBoot().distance - before.distance;
  if (std::chrono::abs(stepped - by) <= kExact + before.uncertainty) return absl::OkStatus();
  return absl::AbortedError(fmt::format(
      "the wall clock was stepped by {}, yet it moved by {}: somebody else sets it as well",
      InWords(by), InWords(stepped)));
}

absl::Status CheckNotSynchronised(const Host& host) {
  ASSIGN_OR_RETURN(const std::vector<Process> processes, ListProcesses(host));
  for (const Process& process : processes) {
    const bool keeps = std::any_of(std::begin(kSynchronisers), std::end(kSynchronisers),
                                   [&](const char* name) { return process.name == name; });
    if (!keeps || process.kernel_thread || process.state == 'Z') continue;
    return absl::FailedPreconditionError(
        fmt::format("{} (pid {}) synchronises the clock, and would fight the step: stop it for "
                    "the time of the fault",
                    process.name, process.pid));
  }
  timex state{};
  if (clock_adjtime(CLOCK_REALTIME, &state) < 0) {
    return absl::ErrnoToStatus(errno, "ask the kernel whether the clock is synchronised");
  }
  if ((state.status & STA_UNSYNC) != 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "the kernel says that the clock is synchronised, though no program that does it is seen from "
      "here: stop it; if it is stopped already, `date --set now` lets the kernel forget it");
}

struct ClockRecord {
  Nanoseconds by{0};     // the step
  Nanoseconds after{0};  // the distance that it leads to
};

std::map<std::string, std::string> ToValues(const std::string& injection, const ClockRecord& r) {
  return {{kInjectionOfRecord, injection},
          {"by_ns", std::to_string(r.by.count())},
          {"after_ns", std::to_string(r.after.count())}};
}

absl::StatusOr<ClockRecord> FromValues(const std::map<std::string, std::string>& values) {
  std::int64_t by = 0, after = 0;
  const auto read = [&](const char* name, std::int64_t* into) {
    const auto found = values.find(name);
    return found != values.end() && absl::SimpleAtoi(found->second, into);
  };
  if (read("by_ns", &by) && read("after_ns", &after)) {
    return ClockRecord{Nanoseconds(by), Nanoseconds(after)};
  }
  return absl::DataLossError("the record of a stepped clock lacks by_ns or after_ns");
}

absl::Status TakeBack(const ClockRecord& record) {
  const Nanoseconds moved = ReadWallSinceBoot().distance - record.after;
  if (WhatIsLeft(moved, record.by) != StepLeft::kWhole) return absl::OkStatus();
  return Step(-record.by);
}

class ClockStepFault : public ActiveFault {
 public:
  ClockStepFault(const Host& host, ClockRecord record, Impact impact, Descriptor timer,
                 Descriptor wake)
      : host_(host),
        record_(record),
        timer_(std::move(timer)),
        wake_(std::move(wake)),
        impact_(std::move(impact)),
        distance_(record.after) {}
  ~ClockStepFault() override { ClockStepFault::Revert().IgnoreError(); }

  // Becomes readable when somebody sets the clock.
  absl::Status Arm() {
    itimerspec never{};
    never.it_value.tv_sec = std::numeric_limits<std::int32_t>::max();
    never.it_value.tv_sec *= 4;  // beyond any step
    if (timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never,
                        nullptr) == 0 ||
        errno == ECANCELED) {
      return absl::OkStatus();
    }
    return absl::ErrnoToStatus(errno, "watch the clock for steps");
  }
  void Watch() {
    thread_ = std::thread([this] { Run(); });
  }

  absl::StatusOr<Impact> Observe() const override {
    absl::MutexLock lock(&mutex_);
    return impact_;
  }

  // The record stays: the agent, another process, looks for itself and forgets it then.
  absl::Status Revert() override {
    eventfd_write(wake_.get(), 1);
    if (thread_.joinable()) thread_.join();
    if (reverted_) return absl::OkStatus();
    RETURN_IF_ERROR(TakeBack(record_));
    reverted_ = true;
    return absl::OkStatus();
  }

 private:
  void Run() {
    for (;;) {
      // Also at first: it may have been set before the timer was armed.
      Look();
      pollfd fds[] = {{wake_.get(), POLLIN, 0}, {timer_.get(), POLLIN, 0}};
      poll(fds, 2, -1);
      if (fds[0].revents != 0) return;
      std::uint64_t expirations = 0;
      // ECANCELED says that the clock was set; the timer has to be armed anew.
      if (read(timer_.get(), &expirations, sizeof expirations) < 0 && errno == EAGAIN) continue;
      if (!Arm().ok()) return;
    }
  }

  void Look() {
    const SystemTime now = host_.clock().System();
    const WallSinceBoot wall = ReadWallSinceBoot();
    absl::MutexLock lock(&mutex_);
    const Nanoseconds step = wall.distance - distance_;
    if (std::chrono::abs(step) <= kExact + wall.uncertainty) return;
    distance_ = wall.distance;
    impact_.counters["steps_of_others"] += 1;
    if (impact_.events.size() >= kMostEvents) return;
    const Nanoseconds off = wall.distance - record_.after + record_.by;
    ImpactEvent event;
    event.name =
        WhatIsLeft(off - record_.by, record_.by) == StepLeft::kNone ? "put_right" : "changed";
    event.at = now;
    event.uncertainty = std::chrono::milliseconds(1);  // from the step until this thread ran
    event.detail = fmt::format("stepped by {}: the clock is now {} from where it was",
                               InWords(step), InWords(off));
    impact_.events.push_back(std::move(event));
  }

  const Host& host_;
  const ClockRecord record_;
  const Descriptor timer_;
  const Descriptor wake_;
  bool reverted_ = false;
  mutable absl::Mutex mutex_;
  Impact impact_ ABSL_GUARDED_BY(mutex_);
  Nanoseconds distance_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace

StepLeft WhatIsLeft(Nanoseconds moved, Nanoseconds by) {
  const Nanoseconds half = std::chrono::abs(by) / 2;
  if (std::chrono::abs(moved) < half) return StepLeft::kWhole;
  return std::chrono::abs(moved + by) <= half ? StepLeft::kNone : StepLeft::kReplaced;
}

absl::Status ClockStepSupported(const Host& host) {
  if (!HasCapability(host, CAP_SYS_TIME)) {
    return absl::UnimplementedError(
        "the agent lacks CAP_SYS_TIME: run it as root, or give its systemd unit "
        "AmbientCapabilities=CAP_SYS_TIME");
  }
  const absl::Status first = CheckFirstNamespace(host, "user");
  return first.ok() ? first : absl::UnimplementedError(first.message());
}

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyClockStep(const InjectionRequest& request,
                                                            WorkerContext& context) {
  const v1::ClockStep& step = request.fault.clock_step();
  RETURN_IF_ERROR(CheckNotSynchronised(context.host));
  Descriptor timer(timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK));
  Descriptor wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!timer.valid() || !wake.valid()) {
    return absl::ErrnoToStatus(errno, "make a timerfd and an eventfd");
  }
  ClockRecord record;
  record.by = FromProto(step.by());
  if (step.direction() == v1::CLOCK_DIRECTION_BACKWARD) record.by = -record.by;
  record.after = ReadWallSinceBoot().distance + record.by;
  ASSIGN_OR_RETURN(
      const std::string id,
      context.journal.RecordAlone(
          kClockRecord, ToValues(request.id, record),
          [](const UndoRecord& other) { return other.kind == kClockRecord && other.same_boot; },
          "another clock_step lives on this host: one at a time, since each undoes "
          "its own step"));
  // What is recorded says where the step leads to: it must be true still.
  const Nanoseconds since = ReadWallSinceBoot().distance + record.by - record.after;
  if (std::chrono::abs(since) > std::chrono::abs(record.by) / 4) {
    RETURN_IF_ERROR(context.journal.Forget(id));
    return absl::AbortedError(fmt::format(
        "somebody else stepped the clock by {} in this moment: nothing was done", InWords(since)));
  }
  Impact impact;
  const SystemTime before = context.host.clock().System();
  if (const absl::Status stepped = Step(record.by); !stepped.ok()) {
    const absl::Status undone = TakeBack(record);
    if (undone.ok()) RETURN_IF_ERROR(context.journal.Forget(id));
    return stepped;
  }
  const Nanoseconds half = (context.host.clock().System() - before) / 2;
  impact.first = before + half;
  impact.uncertainty = half + Nanoseconds(1);
  impact.counters = {{"stepped_seconds", Seconds(record.by)}, {"steps_of_others", 0}};
  auto fault = std::make_unique<ClockStepFault>(context.host, record, std::move(impact),
                                                std::move(timer), std::move(wake));
  RETURN_IF_ERROR(fault->Arm());
  fault->Watch();
  return fault;
}

absl::Status VerifyClockStepGone(const InjectionRequest&, const Host&) { return absl::OkStatus(); }

absl::Status UndoClockStep(const UndoRecord& record, const Host&) {
  if (!record.same_boot) return absl::OkStatus();
  ASSIGN_OR_RETURN(const ClockRecord step, FromValues(record.values));
  return TakeBack(step);
}

}  // namespace firedrill::agent
