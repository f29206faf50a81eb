// SPDX-License-Identifier: Apache-2.0
#include "controller/run/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <utility>

#include "absl/strings/str_join.h"
#include "controller/experiment/defaults.h"
#include "controller/run/verdict.h"
#include "proto/support/time.h"

// clang-format off
//            begin              all conditions hold           every step ended
//  PLANNED ─────────► PREFLIGHT ─────────────────► INJECTING ─────────────────► RECOVERING
//                         │                         │   ▲ a step: PLANNED → APPLYING  │
//                         │ patience is out         │   └── → ACTIVE → ENDING → ENDED │
//                         │                         │          or FAILED              │
//                         ▼      abort, at any      ▼      moment: operator, stop     ▼
//                       ENDING ◄────────────────────┴─────────────────────────────────┤
//                         │      condition, lost agent, a fault that failed or ended  │
//                         │      early, a full disk                                   │
//                         │ every fault has ended, or patience is out                 │ settled, or
//                         ▼                                                           ▼ recover_within
//                     FINISHED ◄──────────────────────────────────────────────── FINISHED is over
// clang-format on
//
// What ends by way of ENDING was cut short: what its watch had not seen by then stays unknown.
// An abort writes its reason into run.verdict at once, so that a restarted controller knows it.
// What a Tick decides depends only on the run, the hosts' presence and the last answer of the
// probe.
namespace firedrill::controller {
namespace {

// Two clocks drift apart by less; what is beyond this was set.
constexpr int kMostDriftPpm = 500;
constexpr Nanoseconds kLeastJump = std::chrono::milliseconds(1);

// Of what the controller did itself, by its own clock.
v1::Mark OwnMark(v1::MarkKind kind, const google::protobuf::Timestamp& at) {
  v1::Mark mark;
  mark.set_kind(kind);
  *mark.mutable_at() = at;
  mark.mutable_uncertainty();  // none
  mark.set_source(v1::MARK_SOURCE_CONTROLLER);
  return mark;
}

}  // namespace

RunMachine::RunMachine(v1::Run run, RunOptions options, bool asks_probe, const Clock& clock)
    : run_(std::move(run)),
      options_(options),
      asks_probe_(asks_probe),
      clock_(clock),
      record_(run_),
      truth_seen_until_(record_.evidence().alerts.size()),
      stop_unknown_since_(static_cast<std::size_t>(run_.experiment().stop_when_size())) {
  // The rule book has passed the experiment, so its steps can be timed.
  if (absl::StatusOr<std::vector<StepTiming>> steps = TimeSteps(run_.experiment()); steps.ok()) {
    steps_ = *std::move(steps);
  }
  const SteadyTime now = clock_.Steady();
  begun_ = state_since_ = armed_ = last_renew_ = now;
  // Instants of an earlier process: its wall clock is all that is left of them.
  const auto then = [&](SystemTime at) {
    return now - std::max(Nanoseconds(0), clock_.System() - at);
  };
  watch_from_ = FromProto(run_.created_at());
  SystemTime last_end = watch_from_;
  for (const v1::Mark& mark : run_.marks()) {
    if (mark.kind() == v1::MARK_KIND_ARMED) armed_ = then(FromProto(mark.at()));
    if (mark.kind() == v1::MARK_KIND_ENDED) last_end = std::max(last_end, FromProto(mark.at()));
  }
  if (run_.state() == v1::RUN_STATE_RECOVERING) state_since_ = then(last_end);
  for (const v1::Injection& injection : run_.injections()) {
    hosts_[injection.host()].since = now;
    Track& track = tracks_[injection.id()];
    track.since = track.applied = now;
    if (injection.has_applied_at()) track.applied = then(FromProto(injection.applied_at()));
    if (injection.has_ended_at()) track.since = then(FromProto(injection.ended_at()));
  }
  if (run_.marks().empty()) {
    AddMark(OwnMark(v1::MARK_KIND_PLANNED, run_.created_at()));
  }
  if (run_.state() == v1::RUN_STATE_INJECTING || run_.state() == v1::RUN_STATE_RECOVERING) {
    NoteRestart();
  }
}

void RunMachine::AgentHere(const v1::Agent& agent) {
  const auto found = hosts_.find(agent.hello().agent_id());
  if (found == hosts_.end()) return;
  Host& host = found->second;
  if (!host.here) host.since = clock_.Steady();
  host.here = true;
  host.draining = agent.state() == v1::AGENT_STATE_DRAINING;
  Advance();
}

void RunMachine::AgentGone(const std::string& name) {
  const auto found = hosts_.find(name);
  if (found == hosts_.end() || !found->second.here) return;
  found->second.here = false;
  found->second.since = clock_.Steady();
  Advance();
}

void RunMachine::AgentClock(const std::string& name, const ClockReading& reading) {
  const auto found = hosts_.find(name);
  if (found == hosts_.end()) return;
  Host& host = found->second;
  const SteadyTime now = clock_.Steady();
  const std::optional<ClockReading> before = std::exchange(host.clock, reading);
  const Nanoseconds since = now - std::exchange(host.clock_at, now);
  const bool watches =
      run_.state() == v1::RUN_STATE_INJECTING || run_.state() == v1::RUN_STATE_RECOVERING;
  if (!before || !watches) return;
  // The offset is the controller's clock minus the host's.
  const Nanoseconds moved = before->offset - reading.offset;
  const Nanoseconds explained =
      before->uncertainty + reading.uncertainty + kLeastJump + since * kMostDriftPpm / 1'000'000;
  if (std::chrono::abs(moved) <= explained) return;
  AddCaveat(fmt::format(
      "the clock of {} was set {} by {} during the run, so instants from there "
      "before and after that may be off by so much",
      name, moved.count() > 0 ? "forward" : "back", FormatDuration(std::chrono::abs(moved))));
}

void RunMachine::Tick() { Advance(); }

void RunMachine::Abort(const std::string& reason) {
  if (finished() || run_.state() == v1::RUN_STATE_ENDING) return;
  run_.mutable_verdict()->set_verdict(v1::VERDICT_ABORTED);
  run_.mutable_verdict()->add_reasons(reason);
  SetState(v1::RUN_STATE_ENDING, "aborted: " + reason);
  Advance();
}

void RunMachine::Advance() {
  // Each round moves at least one state on; there are six.
  for (int round = 0; round < 6; ++round) {
    const v1::RunState before = run_.state();
    switch (before) {
      case v1::RUN_STATE_PLANNED:
        SetState(v1::RUN_STATE_PREFLIGHT, "begins");
        break;
      case v1::RUN_STATE_PREFLIGHT:
        AdvancePreflight();
        break;
      case v1::RUN_STATE_INJECTING:
        AdvanceInjecting();
        break;
      case v1::RUN_STATE_RECOVERING:
        AdvanceRecovering();
        break;
      case v1::RUN_STATE_ENDING:
        AdvanceEnding();
        break;
      default:
        return;  // finished
    }
    if (run_.state() == before) break;
  }
  if (!finished()) AskWhenDue();
}

void RunMachine::AdvancePreflight() {
  const std::vector<std::string> problems = PreflightProblems();
  if (problems.empty()) {
    Arm();
    return;
  }
  const bool hopeless = PreflightIsHopeless();
  if (!hopeless && clock_.Steady() - state_since_ < options_.preflight_patience + LongestHold()) {
    SetDetail("waits until " + absl::StrJoin(problems, "; "));
    return;
  }
  run_.mutable_verdict()->set_verdict(v1::VERDICT_ABORTED);
  for (const std::string& problem : problems) {
    run_.mutable_verdict()->add_reasons(
        (hopeless ? "preflight: needed that " : "preflight: waited in vain until ") + problem);
  }
  SetState(v1::RUN_STATE_ENDING, "preflight failed; nothing was injected");
}

// Waiting would not help: Prometheus refuses a query, or has no rule that could raise an alert.
bool RunMachine::PreflightIsHopeless() const {
  if (!last_answer_) return false;
  const auto refused = [](const auto& part) { return absl::IsInvalidArgument(part.status); };
  const auto any = [](const auto& parts, const auto& is) {
    return std::any_of(parts.begin(), parts.end(), is);
  };
  return any(last_answer_->recent.indicators, refused) ||
         any(last_answer_->recent.stop_conditions, refused) ||
         any(last_answer_->alerts.alerts,
             [&](const ProbeAnswer::Alert& alert) { return refused(alert) || alert.rule_missing; });
}

void RunMachine::Arm() {
  armed_ = last_renew_ = clock_.Steady();
  AddMark(OwnMark(v1::MARK_KIND_ARMED, ToProto(clock_.System())));
  *run_.mutable_random_wait() = ToProto(RandomWait());
  SetState(v1::RUN_STATE_INJECTING, "begins the method");
}

// Anywhere within the longest interval of what is watched; the same for the same run.
Nanoseconds RunMachine::RandomWait() const {
  if (!asks_probe_ || evidence().alerts.empty()) return Nanoseconds(0);
  Nanoseconds longest = Interval();
  for (const AlertEvidence& alert : evidence().alerts) {
    if (!alert.rule) continue;
    longest = std::max({longest, alert.rule->evaluation_interval,
                        alert.rule->scrape_interval.value_or(Nanoseconds(0))});
  }
  longest = std::min(longest, options_.random_wait_most);
  if (longest.count() <= 0) return Nanoseconds(0);
  std::vector<std::uint32_t> seeds(run_.id().begin(), run_.id().end());
  seeds.push_back(static_cast<std::uint32_t>(run_.created_at().seconds()));
  seeds.push_back(static_cast<std::uint32_t>(run_.created_at().nanos()));
  std::seed_seq sequence(seeds.begin(), seeds.end());
  std::mt19937_64 random(sequence);
  return Nanoseconds(std::uniform_int_distribution<std::int64_t>(0, longest.count())(random));
}

SteadyTime RunMachine::MethodStart() const { return armed_ + FromProto(run_.random_wait()); }

void RunMachine::AdvanceInjecting() {
  StartDueSteps();
  CheckInjections();
  CheckHosts();
  if (run_.state() != v1::RUN_STATE_INJECTING) return;  // one of them aborted
  Renew();
  if (clock_.Steady() < MethodStart()) {
    SetDetail(fmt::format(
        "waits {} at random, so that runs begin anywhere between two scrapes and evaluations",
        FormatDuration(FromProto(run_.random_wait()))));
    return;
  }
  for (int step = 0; step < run_.experiment().method_size(); ++step) {
    if (!StepEnded(step)) {
      SetDetail(StepsInWords());
      return;
    }
  }
  BeginRecovering();
}

void RunMachine::BeginRecovering() {
  SetState(v1::RUN_STATE_RECOVERING, asks_probe_ && (run_.experiment().steady_state_size() > 0 ||
                                                     run_.experiment().detection_size() > 0)
                                         ? "watches recovery and alerts"
                                         : "has nothing to watch");
  Measure(false);
}

void RunMachine::AdvanceRecovering() {
  const SteadyTime now = clock_.Steady();
  const Nanoseconds waited = now - state_since_;
  const bool nothing_to_watch = !asks_probe_ || (run_.experiment().steady_state_size() == 0 &&
                                                 run_.experiment().detection_size() == 0);
  if (nothing_to_watch) {
    Finish(/*cut_short=*/false);
    return;
  }
  // Two scrapes after the end at least, so that an impact of the last moment is seen; and an answer
  // that was asked for after that.
  const bool seen_enough =
      waited >= 2 * Interval() && last_answer_ &&
      last_answer_->recent.asked_at >= clock_.System() - waited + 2 * Interval();
  if (measures_ && measures_->settled && seen_enough) {
    Finish(/*cut_short=*/false);
    return;
  }
  Nanoseconds limit = RecoverWithin(run_.experiment()) + 2 * Interval();
  if (measures_ && measures_->holding_until) {
    // No longer than the hold, whatever a wall clock that was stepped back makes of it.
    const Nanoseconds longest = limit + LongestHold();
    limit = std::clamp(*measures_->holding_until - (clock_.System() - waited) + 2 * Interval(),
                       limit, longest);
  }
  if (waited < limit) return;
  if (!HasAnswer()) {
    // Started anew meanwhile: what it has not asked for it does not know.
    if (now - begun_ < options_.answer_patience) return;
    NoteNoAnswer();
  }
  Finish(/*cut_short=*/false);
}

void RunMachine::AdvanceEnding() {
  bool waits = false;
  for (v1::Injection& injection : *run_.mutable_injections()) {
    if (injection.state() == v1::INJECTION_STATE_PLANNED) {
      injection.set_error("not begun: the run was aborted before");
      MoveTo(injection, v1::INJECTION_STATE_FAILED);
    }
    if (!Lives(injection)) continue;
    Track& track = TrackOf(injection);
    track.renewed = false;
    const Host& host = hosts_[injection.host()];
    // A host that is away has the lease to end the fault and the patience to come back on top.
    const bool leaves = !host.here || Restarts(injection.host());
    const Nanoseconds patience =
        options_.end_patience + (leaves ? AbsenceAllowed(injection.host()) : Nanoseconds(0));
    const SteadyTime from = std::max(state_since_, host.since);
    if (clock_.Steady() - from >= patience) {
      GiveUp(injection, host.here ? fmt::format("agent {} did not answer within {}",
                                                injection.host(), FormatDuration(patience))
                                  : fmt::format("agent {} did not come back within {}",
                                                injection.host(), FormatDuration(patience)));
      continue;
    }
    waits = true;
    if (host.here) SendEnd(injection, track);
  }
  if (!waits) Finish(/*cut_short=*/true);
}

void RunMachine::Finish(bool cut_short) {
  Measure(true, cut_short);
  *run_.mutable_verdict() = Judge(run_);
  *run_.mutable_finished_at() = ToProto(clock_.System());
  SetState(v1::RUN_STATE_FINISHED, "");
}

void RunMachine::SetState(v1::RunState state, const std::string& detail) {
  run_.set_state(state);
  run_.set_state_detail(detail);
  state_since_ = clock_.Steady();
  actions_.changed = true;
}

void RunMachine::SetDetail(const std::string& detail) {
  if (run_.state_detail() == detail) return;
  run_.set_state_detail(detail);
  actions_.changed = true;
}

void RunMachine::AddMark(v1::Mark mark) {
  *run_.add_marks() = std::move(mark);
  // In the order of their instants; at the same instant as they came.
  std::stable_sort(
      run_.mutable_marks()->begin(), run_.mutable_marks()->end(),
      [](const v1::Mark& a, const v1::Mark& b) { return FromProto(a.at()) < FromProto(b.at()); });
  actions_.changed = true;
}

RunActions RunMachine::TakeActions() { return std::exchange(actions_, RunActions{}); }

bool Lives(const v1::Injection& injection) {
  return injection.state() != v1::INJECTION_STATE_ENDED &&
         injection.state() != v1::INJECTION_STATE_FAILED;
}

}  // namespace firedrill::controller
