// SPDX-License-Identifier: Apache-2.0
#include "controller/schedule/scheduler.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "absl/time/time.h"
#include "controller/schedule/cron.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

constexpr Nanoseconds kMissedAfter = std::chrono::minutes(1);

}  // namespace

std::optional<SystemTime> NextRunAt(const StoredExperiment& stored) {
  const v1::Experiment& experiment = stored.applied.experiment();
  if (!experiment.has_schedule()) return std::nullopt;
  const absl::StatusOr<Cron> cron = ParseCron(experiment.schedule().cron());
  const absl::StatusOr<absl::TimeZone> zone = ParseTimeZone(experiment.schedule().time_zone());
  // Both were checked when the experiment was applied; a zone may have left the machine since.
  if (!cron.ok() || !zone.ok()) return std::nullopt;
  return cron->Next(stored.schedule_seen, *zone);
}

Due Decide(const StoredExperiment& stored, SystemTime now) {
  const std::optional<SystemTime> next = NextRunAt(stored);
  if (!next || *next > now) return Due::kNothing;
  if (now - *next <= kMissedAfter) return Due::kRun;
  if (stored.applied.experiment().schedule().missed() == v1::MISSED_RUN_ONCE) return Due::kRun;
  // Of several that have passed the last one may still be fresh.
  StoredExperiment later = stored;
  later.schedule_seen = now - kMissedAfter;
  const std::optional<SystemTime> fresh = NextRunAt(later);
  return fresh && *fresh <= now ? Due::kRun : Due::kMissed;
}

Scheduler::Scheduler(Store& store, const Clock& clock, Hooks hooks)
    : store_(store), clock_(clock), hooks_(std::move(hooks)) {}

Scheduler::~Scheduler() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void Scheduler::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void Scheduler::Loop() {
  while (true) {
    Look();
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&stopping_), absl::Seconds(1));
    if (stopping_) return;
  }
}

void Scheduler::Look() {
  const absl::StatusOr<std::vector<StoredExperiment>> all = store_.ListExperiments();
  if (!all.ok()) {
    spdlog::error("read schedules: {}", std::string(all.status().message()));
    return;
  }
  for (const StoredExperiment& stored : *all) Handle(stored, clock_.System());
}

void Scheduler::Handle(const StoredExperiment& stored, SystemTime now) {
  const Due due = Decide(stored, now);
  if (due == Due::kNothing) return;
  const v1::Experiment& experiment = stored.applied.experiment();
  const std::string time = FormatTime(*NextRunAt(stored));
  if (absl::Status seen = store_.SetScheduleSeen(experiment.name(), now); !seen.ok()) {
    spdlog::error("experiment={} not run as scheduled for {}: {}", experiment.name(), time,
                  std::string(seen.message()));
    return;
  }
  if (due == Due::kMissed) {
    Note(stored, "schedule.missed", "no controller ran at " + time);
  } else if (hooks_.busy(experiment.name())) {
    Note(stored, "schedule.skipped", "a run of it was still under way at " + time);
  } else {
    Note(stored, "schedule.start", "for " + time);
    hooks_.start(experiment);
  }
}

void Scheduler::Note(const StoredExperiment& stored, const std::string& action,
                     const std::string& detail) {
  const std::string& name = stored.applied.experiment().name();
  spdlog::info("experiment={} {} {}", name, action, detail);
  if (absl::Status noted = store_.Audit({clock_.System(), "schedule", action, name, detail});
      !noted.ok()) {
    spdlog::error("audit line not stored: {}", std::string(noted.message()));
  }
}

}  // namespace firedrill::controller
