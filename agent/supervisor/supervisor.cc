// SPDX-License-Identifier: Apache-2.0
#include "agent/supervisor/supervisor.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "agent/host/host.h"
#include "agent/host/processes.h"
#include "agent/journal/journal.h"
#include "agent/worker/channel.h"
#include "agent/worker/leash.h"
#include "agent/worker/worker.pb.h"
#include "proto/support/fault_rules.h"
#include "proto/support/time.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr Nanoseconds kToRevert = kHostLease;  // then the worker is killed
constexpr Nanoseconds kToVerify = seconds(5);  // then the end is not proven
constexpr Nanoseconds kVerifyEvery = milliseconds(20);
constexpr Nanoseconds kToRestart = minutes(10);  // of the host, then the end is not proven
constexpr Nanoseconds kLookForRestart = seconds(1);
constexpr Nanoseconds kRemember = minutes(10);
constexpr std::size_t kMostRemembered = 256;
constexpr std::size_t kLongestId = 128;

std::string Text(absl::string_view text) { return std::string(text); }

}  // namespace

Supervisor::Supervisor(const Host& host, Journal& journal, std::span<const FaultKind> kinds,
                       std::span<const UndoKind> undo_kinds, Spawner& spawner,
                       SupervisorOptions options, OnUpdate on_update)
    : host_(host),
      clock_(host.clock()),
      journal_(journal),
      kinds_(kinds),
      on_update_(std::move(on_update)),
      leases_(options.lease, options.lease_cap),
      limits_(options.max_live_faults, std::move(options.allowed), std::move(options.abilities),
              std::move(options.allowed_files)),
      verification_(host, journal, kinds, undo_kinds),
      workers_(spawner, host.clock()) {
  // Asked once, before there are workers to be kept waiting: an answer may take its time.
  for (const FaultKind& kind : kinds_) supported_[kind.kind] = kind.supported(host_);
}

void Supervisor::Apply(const v1::Apply& apply) {
  const std::string& id = apply.injection_id();
  if (const auto known = injections_.find(id); known != injections_.end()) {
    return Tell(known->second);
  }
  Injection injection;
  injection.request.id = id;
  injection.request.fault = apply.fault();
  if (apply.has_duration()) injection.request.duration = FromProto(apply.duration());
  injection.run_id = apply.run_id();
  injection.preview = apply.preview();
  std::optional<Nanoseconds> lease = standard_lease_;
  if (apply.has_lease()) lease = FromProto(apply.lease());
  if (id.empty() || id.size() > kLongestId) {
    injection.state = v1::INJECTION_STATE_FAILED;
    injection.request.id = id.substr(0, kLongestId);
    injection.error = fmt::format("an injection's id has 1 to {} characters", kLongestId);
    return Tell(injection);
  }
  Begin(std::move(injection), lease);
}

void Supervisor::Begin(Injection begun, std::optional<Nanoseconds> lease) {
  Injection& injection = injections_[begun.request.id] = std::move(begun);
  const InjectionRequest& request = injection.request;
  spdlog::info("run={} injection={} fault=\"{}\": {}", injection.run_id, request.id,
               FaultText(request.fault), injection.preview ? "previewing" : "applying");
  if (draining_) return Fail(injection, absl::UnavailableError("the agent is stopping"));
  const int others = Live(injection.preview) - 1;
  absl::Status status = injection.preview
                            ? limits_.AdmitPreview(request.fault, request.duration, others)
                            : limits_.Admit(request.fault, request.duration, others);
  const FaultKind* kind = KindOf(injection);
  if (status.ok() && kind == nullptr) {
    status = absl::UnimplementedError("this agent does not know the fault");
  }
  if (status.ok()) status = supported_.at(kind->kind);
  if (status.ok() && injection.preview && kind->preview == nullptr) {
    status = absl::UnimplementedError(fmt::format(
        "what a {} would touch cannot be counted: it has no choice of packets or processes",
        FaultName(kind->kind)));
  }
  if (!status.ok()) return Fail(injection, status);
  injection.traffic = kind->traffic;
  const auto worker = workers_.Acquire(kind->traffic);
  if (!worker.ok()) return Fail(injection, worker.status());
  injection.worker = *worker;
  const auto process = ReadProcess(host_, *worker);
  const auto record = journal_.Record(
      kInjectionRecord,
      ToRecord(injection, process.ok() ? std::to_string(process->start_time) : "0"));
  if (!record.ok()) {
    const int unused = *worker;  // unless it holds others, which shows once this one has failed
    Fail(injection, record.status());
    return DismissIfUnused(unused);
  }
  injection.record = *record;
  injection.request.protect = workers_.protect();
  wire::ToWorker message;
  auto* begin = message.mutable_begin();
  begin->set_id(request.id);
  begin->set_preview(injection.preview);
  *begin->mutable_fault() = request.fault;
  if (request.duration) begin->set_duration_ns(request.duration->count());
  *begin->mutable_protect() = ToWire(request.protect);
  leases_.Grant(request.id, lease, clock_.Steady());
  // A worker that cannot be told is found gone or silent by the next Tick.
  if (status = workers_.Send(*worker, message); !status.ok())
    injection.AddError(Text(status.message()));
  Tell(injection);
}

void Supervisor::Fail(Injection& injection, const absl::Status& status) {
  injection.state = v1::INJECTION_STATE_FAILED;
  injection.error = Text(status.message());
  injection.ended_at = clock_.System();
  injection.end_proven = true;  // nothing was begun
  injection.deadline = clock_.Steady() + kRemember;
  spdlog::warn("run={} injection={}: refused: {}", injection.run_id, injection.request.id,
               injection.error);
  Tell(injection);
  ForgetOld();
}

void Supervisor::End(const std::string& id, v1::EndReason reason) {
  for (auto& [known, injection] : injections_) {
    if (id.empty() || id == known) BeginEnd(injection, reason);
  }
}

void Supervisor::Renew(const v1::Renew& renew) {
  std::optional<Nanoseconds> lease = standard_lease_;
  if (renew.has_lease()) lease = FromProto(renew.lease());
  for (const std::string& id : renew.injection_ids()) leases_.Renew(id, lease, clock_.Steady());
}

void Supervisor::Drain() {
  draining_ = true;
  End("", v1::END_REASON_AGENT_STOPPING);
}

void Supervisor::Hasten() {
  Drain();
  workers_.KillAll();
}

bool Supervisor::idle() const {
  return workers_.empty() &&
         std::all_of(injections_.begin(), injections_.end(),
                     [&](const auto& i) { return i.second.over() || AwaitsBoot(i.second); });
}

const FaultKind* Supervisor::KindOf(const Injection& injection) const {
  const auto kind = std::find_if(kinds_.begin(), kinds_.end(), [&](const FaultKind& k) {
    return k.kind == injection.request.fault.kind_case();
  });
  return kind == kinds_.end() ? nullptr : &*kind;
}

bool Supervisor::AwaitsBoot(const Injection& injection) const {
  const FaultKind* kind = KindOf(injection);
  return kind != nullptr && kind->after_boot != nullptr && injection.impact.first.has_value() &&
         injection.ending == Injection::Ending::kVerifying;
}

void Supervisor::BeginEnd(Injection& injection, v1::EndReason reason) {
  if (injection.over() || injection.ending != Injection::Ending::kNot) return;
  spdlog::info("run={} injection={}: ending ({})", injection.run_id, injection.request.id,
               v1::EndReason_Name(reason));
  leases_.Remove(injection.request.id);
  injection.reason = reason;
  injection.state = v1::INJECTION_STATE_ENDING;
  injection.ending = Injection::Ending::kReverting;
  injection.deadline = clock_.Steady() + kToRevert;
  wire::ToWorker message;
  message.mutable_finish()->set_id(injection.request.id);
  if (!workers_.Send(injection.worker, message).ok()) workers_.Kill(injection.worker);
  Tell(injection);
}

void Supervisor::Tick() {
  const auto gone =
      workers_.Poll([this](int pid, const wire::FromWorker& m) { OnMessage(pid, m); });
  // Undoing what one has left may take its time, and others wait for their leases meanwhile.
  for (const auto& worker : gone) {
    OnWorkerGone(worker);
    workers_.RenewLeashes();
  }
  for (const auto& due : leases_.TakeDue(clock_.Steady())) End(due.id, due.reason);
  Injection* to_verify = nullptr;
  for (auto& [id, injection] : injections_) {
    Advance(injection);
    if (injection.ending != Injection::Ending::kVerifying || injection.over()) continue;
    if (clock_.Steady() - injection.verified_at < VerifyEvery(injection)) continue;
    if (!to_verify || injection.verified_at < to_verify->verified_at) to_verify = &injection;
  }
  // One at a time: a check may take its time, and workers wait for their leases meanwhile.
  if (to_verify) {
    workers_.RenewLeashes();
    Verify(*to_verify);
  }
  ForgetOld();
}

void Supervisor::Advance(Injection& injection) {
  if (injection.over()) return;
  const SteadyTime now = clock_.Steady();
  switch (injection.ending) {
    case Injection::Ending::kNot:
    case Injection::Ending::kVerifying:
      return;
    case Injection::Ending::kReverting:
    case Injection::Ending::kWorkerLeaving:
      if (now < injection.deadline) return;
      injection.AddError("its worker did not end it in time and was killed");
      injection.deadline = now + kToRevert;
      workers_.Kill(injection.worker);
      return;
  }
}

Nanoseconds Supervisor::VerifyEvery(const Injection& injection) const {
  return AwaitsBoot(injection) ? kLookForRestart : kVerifyEvery;
}

void Supervisor::BeginVerifying(Injection& injection) {
  injection.ending = Injection::Ending::kVerifying;
  injection.deadline = clock_.Steady() + (AwaitsBoot(injection) ? kToRestart : kToVerify);
  injection.verified_at = clock_.Steady() - kVerifyEvery;
}

void Supervisor::Verify(Injection& injection) {
  const SteadyTime now = clock_.Steady();
  injection.verified_at = now;
  absl::Status status = CheckGone(injection);
  if (!status.ok() && now < injection.deadline) return;
  injection.end_proven = status.ok();
  if (status.ok()) status = journal_.Forget(injection.record);
  if (!status.ok()) injection.AddError(Text(status.message()));
  injection.state = injection.refused ? v1::INJECTION_STATE_FAILED : v1::INJECTION_STATE_ENDED;
  if (!injection.ended_at) injection.ended_at = clock_.System();
  injection.deadline = now + kRemember;
  spdlog::info("run={} injection={}: {}, {}{}{}", injection.run_id, injection.request.id,
               injection.refused ? "not applied" : "ended",
               injection.end_proven ? "nothing is left" : "END NOT PROVEN",
               injection.error.empty() ? "" : ": ", injection.error);
  Tell(injection);
}

// A preview outside the traffic engine did nothing, and its worker is gone.
absl::Status Supervisor::CheckGone(const Injection& injection) const {
  if (injection.preview && !injection.traffic) return absl::OkStatus();
  return verification_.CheckGone(injection.request);
}

std::vector<v1::InjectionUpdate> Supervisor::Known() const {
  std::vector<v1::InjectionUpdate> updates;
  for (const auto& [id, injection] : injections_) updates.push_back(injection.ToUpdate());
  return updates;
}

Supervisor::Counts Supervisor::counts() const {
  return {Live(/*preview=*/false), limits_.over_cap(), leases_.run_out()};
}

int Supervisor::Live() const {
  return static_cast<int>(std::count_if(injections_.begin(), injections_.end(),
                                        [](const auto& i) { return !i.second.over(); }));
}

int Supervisor::Live(bool preview) const {
  return static_cast<int>(std::count_if(injections_.begin(), injections_.end(), [&](const auto& i) {
    return !i.second.over() && i.second.preview == preview;
  }));
}

SteadyTime Supervisor::NextWake() const {
  SteadyTime wake = workers_.NextWake();
  if (const auto next = leases_.Next()) wake = std::min(wake, *next);
  for (const auto& [id, injection] : injections_) {
    if (injection.over()) continue;
    if (injection.ending == Injection::Ending::kVerifying) {
      wake = std::min(wake, injection.verified_at + VerifyEvery(injection));
    } else if (injection.ending != Injection::Ending::kNot) {
      wake = std::min(wake, injection.deadline);
    }
  }
  return wake;
}

void Supervisor::ForgetOld() {
  const SteadyTime now = clock_.Steady();
  std::erase_if(injections_,
                [&](const auto& i) { return i.second.over() && i.second.deadline <= now; });
  while (injections_.size() > kMostRemembered + static_cast<std::size_t>(Live())) {
    const auto oldest =
        std::min_element(injections_.begin(), injections_.end(), [](const auto& a, const auto& b) {
          const auto key = [](const Injection& i) { return std::pair(!i.over(), i.deadline); };
          return key(a.second) < key(b.second);
        });
    injections_.erase(oldest);
  }
}

}  // namespace firedrill::agent
