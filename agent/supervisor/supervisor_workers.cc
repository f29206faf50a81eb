// SPDX-License-Identifier: Apache-2.0
// What the supervisor does about its workers' words and deaths, and about its predecessor's.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "agent/host/host.h"
#include "agent/journal/journal.h"
#include "agent/supervisor/supervisor.h"
#include "agent/worker/channel.h"
#include "agent/worker/leash.h"
#include "agent/worker/worker.pb.h"
#include "proto/support/fault_rules.h"

namespace firedrill::agent {
namespace {

constexpr Nanoseconds kToLeave = kHostLease;
constexpr Nanoseconds kRemember = std::chrono::minutes(10);

std::string Text(absl::string_view text) { return std::string(text); }

SystemTime At(std::int64_t ns) { return SystemTime(Nanoseconds(ns)); }

// What a worker saw of late. A first impact that is known stays as it is: the worker computes it
// anew each time, and the host's clock may have been stepped since.
void TakeImpact(const wire::Observed& seen, Impact& impact) {
  Impact now = FromWire(seen);
  if (impact.first) {
    now.first = impact.first;
    now.from_kernel = impact.from_kernel;
    now.uncertainty = impact.uncertainty;
  }
  impact = std::move(now);
}

}  // namespace

absl::Status Supervisor::SetAsideDamagedRecords() { return journal_.SetAsideUnreadable(); }

absl::Status Supervisor::Recover() {
  // What the last boot's faults wrote down for this one, before it is undone and forgotten.
  std::map<std::string, UndoRecord> of_injections;
  if (auto journal = journal_.Read(); journal.ok()) {
    for (UndoRecord& record : journal->records) {
      const auto of = record.values.find(kInjectionOfRecord);
      if (of != record.values.end()) of_injections[of->second] = std::move(record);
    }
  }
  return journal_.Replay([&](const UndoRecord& record) -> absl::Status {
    if (record.kind != kInjectionRecord) return verification_.Undo(record);
    absl::StatusOr<Injection> held = FromRecord(record);
    if (!held.ok()) return held.status();
    Injection& injection = injections_[held->request.id] = *std::move(held);
    injection.reason = v1::END_REASON_WORKER_DIED;
    injection.error = "the agent was killed or restarted while it lived";
    injection.state = v1::INJECTION_STATE_ENDED;
    injection.ended_at = clock_.System();
    injection.deadline = clock_.Steady() + kRemember;
    absl::Status gone = absl::OkStatus();
    if (record.same_boot) {
      gone = verification_.CheckProcessGone(injection.worker, record.values.at(kWorkerStartTime));
      if (gone.ok() && !injection.preview) gone = verification_.CheckGone(injection.request);
    } else {
      gone = verification_.CheckRecords(injection.request.id);
    }
    injection.end_proven = gone.ok();
    injection.AddError(Text(gone.message()));
    const FaultKind* kind = KindOf(injection);
    const auto wrote = of_injections.find(injection.request.id);
    if (!record.same_boot && kind != nullptr && kind->after_boot != nullptr &&
        wrote != of_injections.end()) {
      injection.reason = v1::END_REASON_COMPLETED;
      injection.error.clear();
      injection.impact = kind->after_boot(wrote->second, host_);
      injection.applied_at = injection.impact.first;
    }
    spdlog::warn("run={} injection={}: left by this agent's predecessor; {}", injection.run_id,
                 injection.request.id, gone.ok() ? "nothing of it is left" : injection.error);
    return gone;
  });
}

void Supervisor::OnMessage(int pid, const wire::FromWorker& message) {
  const std::string* id = nullptr;
  switch (message.message_case()) {
    case wire::FromWorker::kApplied:
      id = &message.applied().id();
      break;
    case wire::FromWorker::kRefused:
      id = &message.refused().id();
      break;
    case wire::FromWorker::kObserved:
      id = &message.observed().id();
      break;
    case wire::FromWorker::kFinished:
      id = &message.finished().id();
      break;
    case wire::FromWorker::kAlive:
    case wire::FromWorker::MESSAGE_NOT_SET:
      return;
  }
  const auto found = injections_.find(*id);
  if (found == injections_.end() || found->second.worker != pid || found->second.over()) return;
  Injection& injection = found->second;
  if (message.has_applied()) {
    injection.applied_at = At(message.applied().at_ns());
    if (injection.state == v1::INJECTION_STATE_APPLYING) {
      injection.state = v1::INJECTION_STATE_ACTIVE;
      if (injection.request.duration) {
        leases_.EndAt(*id, clock_.Steady() + *injection.request.duration);
      }
    }
    Tell(injection);
  } else if (message.has_refused()) {
    leases_.Remove(*id);
    injection.refused = true;
    injection.reason = v1::END_REASON_UNSPECIFIED;
    injection.error = message.refused().error();
    if (injection.state == v1::INJECTION_STATE_APPLYING) {
      wire::Finished nothing;
      nothing.set_at_ns(clock_.System().time_since_epoch().count());
      OnFinished(injection, nothing);
    }
  } else if (message.has_observed()) {
    OnObserved(injection, message.observed());
  } else {
    OnFinished(injection, message.finished());
  }
}

void Supervisor::OnObserved(Injection& injection, const wire::Observed& seen) {
  if (!seen.lost().empty()) {
    injection.AddError(seen.lost());
    return BeginEnd(injection, v1::END_REASON_HOST_CHANGED);
  }
  const bool had_impact = injection.impact.first.has_value();
  TakeImpact(seen, injection.impact);
  if (injection.impact.first && !had_impact) {
    spdlog::info("run={} injection={}: first impact", injection.run_id, injection.request.id);
  }
  if (injection.impact.completed && injection.ending == Injection::Ending::kNot) {
    return BeginEnd(injection, v1::END_REASON_COMPLETED);
  }
  Tell(injection);
}

void Supervisor::OnFinished(Injection& injection, const wire::Finished& finished) {
  leases_.Remove(injection.request.id);
  injection.state = v1::INJECTION_STATE_ENDING;
  injection.ended_at = At(finished.at_ns());
  injection.AddError(finished.error());
  if (finished.has_last() && finished.last().lost().empty()) {
    TakeImpact(finished.last(), injection.impact);
  }
  if (injection.traffic) {
    BeginVerifying(injection);
    DismissIfUnused(injection.worker);
    return;
  }
  // Its life is the damage: the end is not looked at before the worker is gone.
  injection.ending = Injection::Ending::kWorkerLeaving;
  injection.deadline = clock_.Steady() + kToLeave;
  workers_.Dismiss(injection.worker);
}

void Supervisor::DismissIfUnused(int pid) {
  for (const auto& [id, injection] : injections_) {
    const bool held = injection.ending == Injection::Ending::kNot ||
                      injection.ending == Injection::Ending::kReverting;
    if (injection.worker == pid && !injection.over() && held) return;
  }
  workers_.Dismiss(pid);
}

void Supervisor::OnWorkerGone(const Workers::GoneWorker& worker) {
  const absl::Status status = verification_.CleanUpAfter(worker.pid);
  if (!status.ok())
    spdlog::error("clean up after worker pid={}: {}", worker.pid, Text(status.message()));
  for (auto& [id, injection] : injections_) {
    if (injection.worker != worker.pid || injection.over()) continue;
    injection.AddError(Text(status.message()));
    if (injection.ending == Injection::Ending::kVerifying) continue;
    if (injection.ending != Injection::Ending::kWorkerLeaving) {
      leases_.Remove(id);
      injection.refused |= !injection.applied_at;
      if (injection.ending == Injection::Ending::kNot) {
        injection.reason = v1::END_REASON_WORKER_DIED;
        injection.AddError(worker.hung ? "its worker hung or was stopped, and was killed"
                                       : "its worker died" +
                                             (worker.how.empty() ? "" : " (" + worker.how + ")"));
      }
      injection.state = v1::INJECTION_STATE_ENDING;
      injection.ended_at = clock_.System();
    }
    BeginVerifying(injection);
  }
}

}  // namespace firedrill::agent
