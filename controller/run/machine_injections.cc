// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "controller/experiment/defaults.h"
#include "controller/run/machine.h"
#include "proto/support/fault_rules.h"
#include "proto/support/time.h"

// The injections of a run: what is sent, leases that are kept up, ends that are proven or not.
namespace firedrill::controller {
namespace {

constexpr Nanoseconds kResendEnd = std::chrono::seconds(2);
constexpr Nanoseconds kOverdueAfter = std::chrono::seconds(2);
constexpr int kMostEvents = 100;                                // of one injection
constexpr Nanoseconds kEventLength = std::chrono::seconds(10);  // on top of a kill's grace, watch
constexpr Nanoseconds kToRestart = std::chrono::minutes(10);    // a host, as its agent sees it

// By when an injection should have ended by itself, from its application.
Nanoseconds OwnLength(const v1::Injection& injection) {
  if (injection.has_duration()) return FromProto(injection.duration()) + kOverdueAfter;
  if (injection.fault().has_reboot()) return kToRestart;
  const v1::ProcessKill& kill = injection.fault().process_kill();
  const Nanoseconds watched = kill.has_restart() ? RestartWithin(kill.restart()) : Nanoseconds(0);
  // The agent watches on from the exit, which without grace may come as late as the watch's end.
  return FromProto(kill.grace()) + (kill.has_grace() ? watched : 2 * watched) + kEventLength;
}

std::string InWords(const v1::Injection& injection) {
  return fmt::format("{} ({}) on {}", injection.step(), FaultName(injection.fault().kind_case()),
                     injection.host());
}

const char* InWords(v1::EndReason reason) {
  switch (reason) {
    case v1::END_REASON_LEASE:
      return "its lease ran out";
    case v1::END_REASON_WORKER_DIED:
      return "its worker died";
    case v1::END_REASON_AGENT_STOPPING:
      return "the agent was stopped";
    case v1::END_REASON_HOST_CHANGED:
      return "what it lived on is gone";
    case v1::END_REASON_REQUESTED:
      return "somebody else ended it";
    default:
      return "the agent gave no reason";
  }
}

bool Expected(v1::EndReason reason) {
  return reason == v1::END_REASON_DURATION || reason == v1::END_REASON_COMPLETED;
}

// Of what an agent told of `injection`.
v1::Mark MarkOf(const v1::Injection& injection, v1::MarkKind kind,
                const google::protobuf::Timestamp& at, Nanoseconds uncertainty) {
  v1::Mark mark;
  mark.set_kind(kind);
  *mark.mutable_at() = at;
  *mark.mutable_uncertainty() = ToProto(uncertainty);
  mark.set_source(v1::MARK_SOURCE_AGENT);
  mark.set_subject(injection.id());
  mark.set_host(injection.host());
  mark.set_detail(injection.step());
  return mark;
}

}  // namespace

void RunMachine::SendApply(v1::Injection& injection) {
  RunActions::Message message{injection.host(), {}};
  v1::Apply* apply = message.message.mutable_apply();
  apply->set_injection_id(injection.id());
  apply->set_run_id(run_.id());
  *apply->mutable_fault() = injection.fault();
  if (injection.has_duration()) *apply->mutable_duration() = injection.duration();
  *apply->mutable_lease() = ToProto(options_.lease);
  ++TrackOf(injection).applies;
  actions_.messages.push_back(std::move(message));
}

void RunMachine::NotSent(const std::string& injection_id) {
  for (v1::Injection& injection : *run_.mutable_injections()) {
    if (injection.id() != injection_id || injection.state() != v1::INJECTION_STATE_APPLYING) {
      continue;
    }
    // One of an earlier process, or before a cut stream, may have arrived.
    if (TrackOf(injection).applies != 1) continue;
    injection.set_error("not begun: it could not be written down before");
    MoveTo(injection, v1::INJECTION_STATE_FAILED);
  }
}

void RunMachine::SendEnd(v1::Injection& injection, Track& track) {
  if (track.end_sent && clock_.Steady() - *track.end_sent < kResendEnd) return;
  track.end_sent = clock_.Steady();
  RunActions::Message message{injection.host(), {}};
  message.message.mutable_end()->set_injection_id(injection.id());
  actions_.messages.push_back(std::move(message));
}

void RunMachine::Renew() {
  if (clock_.Steady() - last_renew_ < options_.renew_every) return;
  last_renew_ = clock_.Steady();
  std::map<std::string, v1::ConnectResponse> renewals;
  for (const v1::Injection& injection : run_.injections()) {
    const bool begun = injection.state() != v1::INJECTION_STATE_PLANNED;
    if (!begun || !Lives(injection) || !TrackOf(injection).renewed) continue;
    if (!hosts_[injection.host()].here) continue;
    v1::Renew* renew = renewals[injection.host()].mutable_renew();
    renew->add_injection_ids(injection.id());
    *renew->mutable_lease() = ToProto(options_.lease);
  }
  for (auto& [host, message] : renewals) actions_.messages.push_back({host, std::move(message)});
}

void RunMachine::CheckInjections() {
  for (v1::Injection& injection : *run_.mutable_injections()) {
    if (!Lives(injection) || injection.state() == v1::INJECTION_STATE_PLANNED) continue;
    const Host& host = hosts_[injection.host()];
    if (!host.here) continue;  // CheckHosts decides
    Track& track = TrackOf(injection);
    const SteadyTime now = clock_.Steady();
    if (injection.state() == v1::INJECTION_STATE_APPLYING) {
      if (now - std::max(track.since, host.since) >= options_.apply_patience) {
        Abort(fmt::format("agent {} did not say within {} whether {} was applied", injection.host(),
                          FormatDuration(options_.apply_patience), injection.step()));
        return;
      }
      continue;
    }
    const SteadyTime due = std::max(track.applied + OwnLength(injection), host.since);
    if (now < due) continue;
    track.overdue = true;
    track.renewed = false;
    SendEnd(injection, track);
    if (now - due >= options_.end_patience) {
      const std::string why = fmt::format("agent {} did not report its end", injection.host());
      GiveUp(injection, why);
      Abort(InWords(injection) + " did not end in time: " + why);
      return;
    }
  }
}

bool RunMachine::Restarts(const std::string& host) const {
  return std::any_of(run_.injections().begin(), run_.injections().end(),
                     [&](const v1::Injection& injection) {
                       return injection.host() == host && injection.fault().has_reboot() &&
                              Lives(injection) && injection.state() != v1::INJECTION_STATE_PLANNED;
                     });
}

Nanoseconds RunMachine::AbsenceAllowed(const std::string& host) const {
  return Restarts(host) ? std::max(kToRestart, options_.lease) : options_.lease;
}

void RunMachine::CheckHosts() {
  for (const v1::Injection& injection : run_.injections()) {
    if (!Lives(injection)) continue;
    const Host& host = hosts_[injection.host()];
    if (host.here) continue;
    const bool begun = injection.state() != v1::INJECTION_STATE_PLANNED;
    if (!begun) {
      const int step = [&] {
        int i = 0;
        while (run_.experiment().method(i).name() != injection.step()) ++i;
        return i;
      }();
      const std::optional<SteadyTime> start = StepStart(step);
      if (!start || clock_.Steady() < *start) continue;
    }
    if (clock_.Steady() - host.since < AbsenceAllowed(injection.host())) continue;
    if (Restarts(injection.host())) {
      return Abort(fmt::format("agent {} did not come back within {} of its host's restart",
                               injection.host(), FormatDuration(kToRestart)));
    }
    Abort(begun ? fmt::format("agent {} was lost for {}: its lease for {} has run out",
                              injection.host(), FormatDuration(options_.lease), injection.step())
                : fmt::format("agent {} is gone, so {} cannot begin", injection.host(),
                              injection.step()));
    return;
  }
}

void RunMachine::AgentHolds(const std::string& name, const std::string& instance,
                            const std::vector<ClockedUpdate>& live) {
  const auto found = hosts_.find(name);
  if (found == hosts_.end()) return;
  const std::string before = std::exchange(found->second.instance, instance);
  const bool same_agent = before.empty() || before == instance;
  std::set<std::string> told;
  for (const ClockedUpdate& update : live) {
    told.insert(update.update.injection_id());
    Update(name, update);
  }
  for (v1::Injection& injection : *run_.mutable_injections()) {
    if (injection.host() != name || told.count(injection.id()) > 0 || !Lives(injection)) continue;
    switch (injection.state()) {
      case v1::INJECTION_STATE_APPLYING:
        // The Apply may have been lost with the stream. Sending it again is harmless.
        if (same_agent && run_.state() == v1::RUN_STATE_INJECTING) {
          SendApply(injection);
          break;
        }
        [[fallthrough]];
      case v1::INJECTION_STATE_ACTIVE:
      case v1::INJECTION_STATE_ENDING: {
        const std::string why = fmt::format("agent {} was started anew and does not know it", name);
        GiveUp(injection, why);
        Abort(fmt::format("{}: {}", InWords(injection), why));
        break;
      }
      default:
        break;
    }
  }
  Advance();
}

void RunMachine::Update(const std::string& host, const ClockedUpdate& update) {
  v1::Injection* injection = Find(host, update.update.injection_id());
  if (injection == nullptr || finished()) return;
  ApplyUpdate(*injection, update);
  Advance();
}

void RunMachine::ApplyUpdate(v1::Injection& injection, const ClockedUpdate& clocked) {
  const v1::InjectionUpdate& update = clocked.update;
  if (!Lives(injection)) {
    // A late proof counts: until the verdict is spoken.
    if (injection.state() == v1::INJECTION_STATE_ENDED && !injection.end_proven() &&
        update.end_proven()) {
      injection.set_end_proven(true);
      injection.clear_error();
      if (!injection.has_ended_at() && update.has_ended_at()) {
        *injection.mutable_ended_at() = update.ended_at();
        injection.set_end_reason(update.end_reason());
        AddMark(MarkOf(injection, v1::MARK_KIND_ENDED, update.ended_at(), clocked.uncertainty));
      }
      actions_.changed = true;
    }
    return;
  }
  if (update.counters_size() > 0) {
    *injection.mutable_counters() = update.counters();
    actions_.changed = true;
  }
  NoteEvents(injection, clocked);
  NoteApplied(injection, clocked);
  NoteImpact(injection, clocked);
  switch (update.state()) {
    case v1::INJECTION_STATE_ACTIVE:
      if (injection.state() == v1::INJECTION_STATE_APPLYING) {
        MoveTo(injection, v1::INJECTION_STATE_ACTIVE);
      }
      break;
    case v1::INJECTION_STATE_ENDING:
      if (injection.state() != v1::INJECTION_STATE_ENDING) {
        MoveTo(injection, v1::INJECTION_STATE_ENDING);
      }
      break;
    case v1::INJECTION_STATE_ENDED:
      NoteEnded(injection, clocked);
      break;
    case v1::INJECTION_STATE_FAILED:
      injection.set_error(update.error());
      MoveTo(injection, v1::INJECTION_STATE_FAILED);
      if (run_.state() == v1::RUN_STATE_INJECTING) {
        // Not a guard's abort: the verdict's table finds what was not applied by itself.
        SetState(v1::RUN_STATE_ENDING,
                 fmt::format("{} was not applied: {}", InWords(injection), update.error()));
      }
      break;
    default:  // planned, applying, and states of a newer agent: nothing to note
      break;
  }
}

// All of them so far, each with the ± of the move onto our clock added to its own.
void RunMachine::NoteEvents(v1::Injection& injection, const ClockedUpdate& clocked) {
  const auto& told = clocked.update.events();
  if (told.size() < injection.events_size() || told.empty()) return;
  // What is known already stays where it is: a better clock exchange would move it about.
  for (int i = injection.events_size(); i < std::min(told.size(), kMostEvents); ++i) {
    v1::InjectionEvent& event = *injection.add_events();
    event = told[i];
    *event.mutable_uncertainty() = ToProto(FromProto(event.uncertainty()) + clocked.uncertainty);
    actions_.changed = true;
  }
}

void RunMachine::NoteApplied(v1::Injection& injection, const ClockedUpdate& clocked) {
  if (!clocked.update.has_applied_at() || injection.has_applied_at()) return;
  *injection.mutable_applied_at() = clocked.update.applied_at();
  TrackOf(injection).applied = clock_.Steady();
  AddMark(MarkOf(injection, v1::MARK_KIND_APPLIED, injection.applied_at(), clocked.uncertainty));
}

void RunMachine::NoteImpact(v1::Injection& injection, const ClockedUpdate& clocked) {
  const v1::InjectionUpdate& update = clocked.update;
  if (!update.has_first_impact_at() || injection.has_first_impact_at()) return;
  *injection.mutable_first_impact_at() = update.first_impact_at();
  if (injection.has_applied_at() &&
      FromProto(update.first_impact_at()) < FromProto(injection.applied_at())) {
    // The read-back comes after the first packet: the fault was in force by then.
    *injection.mutable_applied_at() = update.first_impact_at();
    for (v1::Mark& mark : *run_.mutable_marks()) {
      if (mark.kind() == v1::MARK_KIND_APPLIED && mark.subject() == injection.id()) {
        *mark.mutable_at() = update.first_impact_at();
      }
    }
  }
  v1::Mark impact = MarkOf(injection, v1::MARK_KIND_FIRST_IMPACT, update.first_impact_at(),
                           FromProto(update.impact_uncertainty()) + clocked.uncertainty);
  if (update.impact_from_kernel()) impact.set_source(v1::MARK_SOURCE_KERNEL);
  AddMark(std::move(impact));
}

void RunMachine::NoteEnded(v1::Injection& injection, const ClockedUpdate& clocked) {
  const v1::InjectionUpdate& update = clocked.update;
  *injection.mutable_ended_at() =
      update.has_ended_at() ? update.ended_at() : ToProto(clock_.System());
  injection.set_end_reason(update.end_reason());
  injection.set_end_proven(update.end_proven());
  injection.set_error(update.error());
  const bool asked = TrackOf(injection).end_sent.has_value();
  MoveTo(injection, v1::INJECTION_STATE_ENDED);
  v1::Mark ended =
      MarkOf(injection, v1::MARK_KIND_ENDED, injection.ended_at(), clocked.uncertainty);
  if (!update.end_proven()) ended.set_detail(injection.step() + ", not proven");
  AddMark(std::move(ended));
  if (run_.state() != v1::RUN_STATE_INJECTING) return;
  if (!update.end_proven()) {
    Abort(fmt::format("the end of {} is not proven: {}", InWords(injection), update.error()));
  } else if (!Expected(update.end_reason()) && !asked) {
    Abort(fmt::format("{} ended early: {}", InWords(injection), InWords(update.end_reason())));
  }
}

void RunMachine::GiveUp(v1::Injection& injection, const std::string& why) {
  injection.set_error(why);
  injection.set_end_proven(false);
  MoveTo(injection, v1::INJECTION_STATE_ENDED);
}

void RunMachine::MoveTo(v1::Injection& injection, v1::InjectionState state) {
  injection.set_state(state);
  TrackOf(injection).since = clock_.Steady();
  actions_.changed = true;
}

v1::Injection* RunMachine::Find(const std::string& host, const std::string& id) {
  for (v1::Injection& injection : *run_.mutable_injections()) {
    if (injection.id() == id && injection.host() == host) return &injection;
  }
  return nullptr;
}

}  // namespace firedrill::controller
