// SPDX-License-Identifier: Apache-2.0
#include "controller/replay/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "controller/measure/episodes.h"
#include "controller/measure/instants.h"
#include "controller/measure/measure.h"
#include "controller/measure/without_fault.h"
#include "proto/support/problem.h"
#include "proto/support/status_macros.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

constexpr Nanoseconds kLookBack = hours(7 * 24);
constexpr Nanoseconds kLongestLookBack = hours(31 * 24);
constexpr int kMostCandidates = 16;

absl::StatusOr<int> FindAlert(const v1::Run& run, const std::string& name) {
  const auto& detection = run.experiment().detection();
  std::vector<std::string> names;
  for (int i = 0; i < detection.size(); ++i) {
    const bool expected = ExpectsFiring(run.experiment(), detection[i]);
    if (name.empty() ? expected : detection[i].alert() == name) return i;
    names.push_back(detection[i].alert());
  }
  if (names.empty()) {
    return absl::FailedPreconditionError(
        fmt::format("run {} has no alert under detection", run.id()));
  }
  if (!name.empty()) {
    return absl::NotFoundError(fmt::format("run {} has no alert {}; {}", run.id(), Quoted(name),
                                           SuggestFrom(name, names)));
  }
  return absl::FailedPreconditionError(
      fmt::format("run {} expected no alert to fire; name one: {}", run.id(), OneOf(names)));
}

absl::StatusOr<std::vector<Nanoseconds>> CandidatesOf(const v1::ReplayRuleRequest& request,
                                                      const v1::AlertRule& rule) {
  const Nanoseconds present = FromProto(rule.pending_for());
  const Nanoseconds interval = FromProto(rule.evaluation_interval());
  std::vector<Nanoseconds> candidates;
  if (request.pending_for_size() > kMostCandidates) {
    return absl::InvalidArgumentError(fmt::format("pending_for: found {}; allowed: at most {}",
                                                  request.pending_for_size(), kMostCandidates));
  }
  for (const google::protobuf::Duration& given : request.pending_for()) {
    const Nanoseconds wait = FromProto(given);
    if (wait < Nanoseconds(0) || wait > kLongestLookBack) {
      return absl::InvalidArgumentError(fmt::format("pending_for: found {}; allowed: 0s to {}",
                                                    FormatDuration(wait),
                                                    FormatDuration(kLongestLookBack)));
    }
    const bool known = std::find(candidates.begin(), candidates.end(), wait) != candidates.end();
    if (wait != present && !known) candidates.push_back(wait);
  }
  if (request.pending_for_size() > 0) return candidates;
  // Two that end at the same evaluation are the same.
  std::set<Nanoseconds> waits = {RoundedUp(present, interval)};
  for (const Nanoseconds wait : {Nanoseconds(0), present / 4, present / 2}) {
    if (waits.insert(RoundedUp(wait, interval)).second) candidates.push_back(wait);
  }
  return candidates;
}

// The series of one alert of the run, by its labels: each evaluation that left a sample or, where
// the alert had gone inactive, a marker; on the controller's clock.
enum class State { kInactive, kPending, kFiring };
using Evaluations = std::map<SystemTime, State>;

std::vector<Evaluations> EvaluationsOf(const v1::Run& run, const v1::AlertEvidence& evidence) {
  // Samples are stamped with the instant whose data the rule read.
  const Nanoseconds query_offset = FromProto(evidence.rule().query_offset());
  std::map<std::string, Evaluations> by_labels;
  for (const v1::AlertSeries& told : evidence.series()) {
    const std::map<std::string, std::string> labels(told.labels().begin(), told.labels().end());
    std::string key;
    for (const auto& [name, value] : labels) key += name + '\0' + value + '\0';
    for (const v1::Series& series : run.series()) {
      if (series.name() != told.series()) continue;
      for (const v1::Sample& sample : series.samples()) {
        const State state = sample.value() == 0 ? State::kInactive
                            : told.firing()     ? State::kFiring
                                                : State::kPending;
        State& known = by_labels[key][FromProto(sample.at()) + query_offset];
        known = std::max(known, state);
      }
    }
  }
  std::vector<Evaluations> all;
  for (auto& [labels, evaluations] : by_labels) all.push_back(std::move(evaluations));
  return all;
}

bool Blind(const v1::Run& run, SystemTime from, SystemTime to) {
  const auto& blind = run.evidence().blind();
  return std::any_of(blind.begin(), blind.end(), [&](const v1::TimeSpan& span) {
    return FromProto(span.from()) < to && FromProto(span.to()) > from;
  });
}

// When one series fires that became true at or after the impact; within `same` two instants are
// one.
std::optional<SystemTime> FiringWith(const v1::Run& run, const Evaluations& evaluations,
                                     const v1::AlertRule& rule, const Instant& impact,
                                     Nanoseconds wait, Nanoseconds same) {
  const Nanoseconds interval = FromProto(rule.evaluation_interval());
  const Nanoseconds kept = RoundedUp(FromProto(rule.keep_firing_for()), interval);
  for (auto first = evaluations.begin(); first != evaluations.end();) {
    auto last = first;
    auto next = std::next(first);
    if (first->second == State::kInactive) {
      first = next;
      continue;
    }
    // It ends as an episode does (see EpisodesOf): at a marker, or where several are missing. An
    // evaluation that did not take place ends nothing.
    while (next != evaluations.end() && next->second != State::kInactive &&
           (next->first - last->first <= LongestPause(interval) ||
            Blind(run, last->first, next->first))) {
      last = next++;
    }
    const bool fired = last->second == State::kFiring;
    const SystemTime held = last->first - (fired ? kept : Nanoseconds(0));
    if (first->first >= impact.at - impact.uncertainty) {
      const auto fires = evaluations.lower_bound(first->first + wait - same);
      if (fires != evaluations.end() && fires->first <= held + same) return fires->first;
    }
    first = next;
  }
  return std::nullopt;
}

// Without samples: the evaluation at which the alert became active, from the marks.
std::optional<SystemTime> ActiveAt(const v1::Run& run, const ReplayPlan& plan,
                                   const Instant& impact) {
  const std::string& alert = run.experiment().detection(plan.alert).alert();
  const bool at_once = FromProto(plan.rule.pending_for()) == Nanoseconds(0);
  for (const v1::Mark& mark : run.marks()) {
    if (mark.subject() != alert) continue;
    if (mark.kind() != (at_once ? v1::MARK_KIND_ALERT_FIRING : v1::MARK_KIND_ALERT_PENDING)) {
      continue;
    }
    if (FromProto(mark.at()) >= impact.at - impact.uncertainty) return FromProto(mark.at());
  }
  return std::nullopt;
}

std::optional<Nanoseconds> TimeToDetect(const v1::Run& run, const ReplayPlan& plan) {
  if (plan.alert >= run.alerts_size()) return std::nullopt;
  const v1::Measure& measure = run.alerts(plan.alert).time_to_detect();
  if (!measure.has_value() || measure.censored()) return std::nullopt;
  return FromProto(measure.value());
}

std::string HolesText(const RulePast& past) {
  std::int64_t all_ms = 0;
  for (const Hole& hole : past.holes) all_ms += hole.to_ms - hole.from_ms;
  return fmt::format(
      "Prometheus scraped nothing for {} in all ({} {}): what would have fired then is not counted",
      FormatDuration(milliseconds(all_ms)), past.holes.size(),
      past.holes.size() == 1 ? "hole" : "holes");
}

void AddCaveats(const v1::Run& run, const ReplayPlan& plan, const RulePast& past,
                v1::ReplayRuleResponse& response) {
  const Nanoseconds interval = FromProto(plan.rule.evaluation_interval());
  if (past.clipped) {
    response.add_caveats(fmt::format("Prometheus stores {} only; {} were asked for",
                                     FormatDuration(milliseconds(past.to_ms - past.from_ms)),
                                     FormatDuration(plan.question.look_back)));
  }
  if (milliseconds(past.step_ms) > interval) {
    response.add_caveats(fmt::format(
        "so long a past was replayed every {}, not at every evaluation ({}): shorter truths may be "
        "missing; ask for less of the past",
        FormatDuration(milliseconds(past.step_ms)), FormatDuration(interval)));
  }
  if (!plan.question.evaluated_at_ms) {
    response.add_caveats("at which instants the rule is evaluated is not known: replayed every " +
                         FormatDuration(interval) + " beside them");
  }
  if (!past.holes.empty()) response.add_caveats(HolesText(past));
  if (!past.holes_unknown.empty()) {
    response.add_caveats("whether the past has holes cannot be told: " + past.holes_unknown);
  }
  const auto before = std::count_if(past.series.begin(), past.series.end(), [&](const auto& entry) {
    return entry.second.front().first_ms <= past.from_ms;
  });
  if (before > 0) {
    response.add_caveats(
        fmt::format("{} series held already when the past begins: not counted", before));
  }
  if (plan.candidates.empty()) {
    response.add_caveats("no shorter `for` would end at another evaluation");
  }
  if (!InstantsOf(run).first_impact) {
    response.add_caveats(
        "the run had no impact: what another `for` would have gained in it is "
        "not known");
  }
}

}  // namespace

absl::StatusOr<ReplayPlan> PlanReplay(const v1::Run& run, const v1::ReplayRuleRequest& request) {
  ReplayPlan plan;
  plan.question.look_back = request.has_look_back() ? FromProto(request.look_back()) : kLookBack;
  if (plan.question.look_back < std::chrono::minutes(1) ||
      plan.question.look_back > kLongestLookBack) {
    return absl::InvalidArgumentError(fmt::format("look_back: found {}; allowed: 1m to {}",
                                                  FormatDuration(plan.question.look_back),
                                                  FormatDuration(kLongestLookBack)));
  }
  ASSIGN_OR_RETURN(plan.alert, FindAlert(run, request.alert()));
  if (plan.alert >= run.evidence().alerts_size() ||
      run.evidence().alerts(plan.alert).rule().expression().empty()) {
    return absl::FailedPreconditionError(fmt::format(
        "run {} does not hold the rule of alert {}: Prometheus did not tell its rules then",
        run.id(), run.experiment().detection(plan.alert).alert()));
  }
  const v1::AlertEvidence& evidence = run.evidence().alerts(plan.alert);
  plan.rule = evidence.rule();
  plan.question.expression = plan.rule.expression();
  plan.question.evaluation_interval = FromProto(plan.rule.evaluation_interval());
  plan.question.query_offset = FromProto(plan.rule.query_offset());
  if (plan.question.evaluation_interval < milliseconds(1)) {
    return absl::FailedPreconditionError(
        fmt::format("run {} does not know how often its rule is evaluated", run.id()));
  }
  ASSIGN_OR_RETURN(plan.candidates, CandidatesOf(request, plan.rule));
  const std::vector<Evaluations> evaluations = EvaluationsOf(run, evidence);
  if (!evaluations.empty()) {
    const SystemTime at = evaluations.front().rbegin()->first - FromProto(evidence.clock_offset());
    plan.question.evaluated_at_ms = std::chrono::round<milliseconds>(at.time_since_epoch()).count();
  }
  return plan;
}

std::uint32_t PagesOf(const RulePast& past, const v1::AlertRule& rule, Nanoseconds pending_for) {
  const Nanoseconds interval = FromProto(rule.evaluation_interval());
  const std::int64_t wait_ms = ToMs(RoundedUp(pending_for, interval));
  const std::int64_t kept_ms = ToMs(RoundedUp(FromProto(rule.keep_firing_for()), interval));
  std::uint32_t pages = 0;
  for (const auto& [labels, stretches] : past.series) {
    std::optional<std::int64_t> firing_until;  // a truth that begins by then goes on firing
    for (const Stretch& stretch : stretches) {
      const bool goes_on = firing_until && stretch.first_ms <= *firing_until;
      const bool fires = goes_on || stretch.last_ms - stretch.first_ms >= wait_ms;
      if (!fires) continue;
      if (!goes_on && stretch.first_ms > past.from_ms) ++pages;
      if (kept_ms > 0) firing_until = stretch.last_ms + past.step_ms + kept_ms;
    }
  }
  return pages;
}

std::optional<Nanoseconds> TimeToDetectWith(const v1::Run& run, const ReplayPlan& plan,
                                            Nanoseconds pending_for) {
  const std::optional<Instant> impact = InstantsOf(run).first_impact;
  if (!impact) return std::nullopt;
  const Nanoseconds wait = RoundedUp(pending_for, FromProto(plan.rule.evaluation_interval()));
  const std::vector<Evaluations> series = EvaluationsOf(run, run.evidence().alerts(plan.alert));
  std::optional<SystemTime> fires;
  const Nanoseconds uncertainty = FromProto(run.evidence().alerts(plan.alert).uncertainty());
  const Nanoseconds same = 2 * uncertainty + kSameInstant;
  for (const Evaluations& evaluations : series) {
    const auto other = FiringWith(run, evaluations, plan.rule, *impact, wait, same);
    if (other && (!fires || *other < *fires)) fires = other;
  }
  if (series.empty() && pending_for <= FromProto(plan.rule.pending_for())) {
    if (const auto active = ActiveAt(run, plan, *impact)) fires = *active + wait;
  }
  if (!fires) return std::nullopt;
  return std::max(Nanoseconds(0), *fires - impact->at);
}

v1::ReplayRuleResponse Replay(const v1::Run& run, const ReplayPlan& plan, const RulePast& past) {
  v1::ReplayRuleResponse response;
  response.set_alert(run.experiment().detection(plan.alert).alert());
  *response.mutable_rule() = plan.rule;
  const auto aligned = [&](std::int64_t ms) {
    return ToProto(SystemTime(milliseconds(ms)) + past.clock_offset);
  };
  *response.mutable_from() = aligned(past.from_ms);
  *response.mutable_to() = aligned(past.to_ms);
  const std::optional<Nanoseconds> now = TimeToDetect(run, plan);
  const auto add = [&](Nanoseconds pending_for, std::optional<Nanoseconds> time) {
    v1::ReplayedFor& replayed = *response.add_replayed();
    *replayed.mutable_pending_for() = ToProto(pending_for);
    replayed.set_pages(PagesOf(past, plan.rule, pending_for));
    if (time) *replayed.mutable_time_to_detect() = ToProto(*time);
    if (time && now) *replayed.mutable_gain() = ToProto(*now - *time);
  };
  add(FromProto(plan.rule.pending_for()), now);
  for (const Nanoseconds candidate : plan.candidates) {
    add(candidate, TimeToDetectWith(run, plan, candidate));
  }
  AddCaveats(run, plan, past, response);
  return response;
}

}  // namespace firedrill::controller
