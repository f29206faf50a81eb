// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "controller/experiment/defaults.h"
#include "controller/measure/episodes.h"
#include "controller/run/machine.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

// What a run learns from Prometheus and from webhooks.
namespace firedrill::controller {
namespace {

constexpr Nanoseconds kUnknownInterval = std::chrono::seconds(5);
constexpr Nanoseconds kSoonest = std::chrono::seconds(1);
constexpr Nanoseconds kLatest = std::chrono::seconds(5);
constexpr Nanoseconds kBefore = std::chrono::seconds(30);  // the base line that is kept
constexpr Nanoseconds kSlack = std::chrono::seconds(1);    // scrape to query

constexpr int kMostCaveats = 100;

constexpr const char* kClockJumped =
    "Prometheus' clock was set while it was watched, so instants before and after that may be off";

// A sample is there a few ms after its instant; a busy Prometheus needs longer.
constexpr Nanoseconds kCommitLag = std::chrono::seconds(2);
// Samples of alerts are asked for anew so far back: a remote storage is late.
constexpr Nanoseconds kAlertOverlap = std::chrono::seconds(30);

std::string NameOf(const v1::StopCondition& condition) {
  return condition.name().empty() ? condition.query() : condition.name();
}

std::string Words(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

}  // namespace

void RunMachine::AskWhenDue() {
  const v1::Experiment& experiment = run_.experiment();
  const bool has_questions = experiment.steady_state_size() > 0 ||
                             experiment.detection_size() > 0 || experiment.stop_when_size() > 0;
  if (!asks_probe_ || !has_questions) return;
  if (asking_) {
    CheckOverdueAnswer();
    return;
  }
  const Nanoseconds every = std::clamp(Interval(), kSoonest, kLatest);
  if (last_asked_ && clock_.Steady() - *last_asked_ < every) return;
  asking_ = true;
  recent_judged_ = false;
  last_asked_ = waiting_since_ = clock_.Steady();
  asked_ = Questions();
  actions_.ask = asked_;
}

ProbeQuestions RunMachine::Questions() const {
  const SystemTime start = watch_from_ - LongestHold() - kBefore;
  ProbeQuestions questions;
  questions.recent.since = clock_.System();
  for (std::size_t i = 0; i < evidence().indicators.size(); ++i) {
    const v1::Indicator& indicator = run_.experiment().steady_state(static_cast<int>(i));
    questions.recent.indicators.push_back(
        {indicator.query(), indicator.reading() == v1::INDICATOR_READING_PER_SCRAPE});
    const std::vector<RawSample>& samples = evidence().indicators[i].samples;
    // Some overlap: late samples, and grids that move by the scrape's phase.
    const SystemTime since =
        samples.empty() ? start : std::max(start, samples.back().at - 5 * Interval() - kSlack);
    questions.recent.since = std::min(questions.recent.since, since);
  }
  for (const v1::StopCondition& condition : run_.experiment().stop_when()) {
    questions.recent.stop_conditions.push_back(condition.query());
  }
  questions.alerts.since = start;
  if (alerts_seen_until_) {
    // One evaluation without a sample is seen only with the samples before and after it, and of a
    // rule that is evaluated more seldom than Prometheus looks back not at all (markers.h).
    Nanoseconds back = 5 * Interval();
    for (const AlertEvidence& alert : evidence().alerts) {
      const Nanoseconds evaluation = EvaluationInterval(alert.rule, alert.series);
      back = std::max(back, 4 * std::min(evaluation, kDefaultLookBack));
    }
    questions.alerts.since = std::max(start, *alerts_seen_until_ - kAlertOverlap - back);
  }
  for (std::size_t i = 0; i < evidence().alerts.size(); ++i) {
    const v1::Detection& detection = run_.experiment().detection(static_cast<int>(i));
    questions.alerts.alerts.push_back(
        {detection.alert(), {detection.labels().begin(), detection.labels().end()}, TruthSince(i)});
  }
  return questions;
}

// The rule's expression is looked at from before the impact until it held and the alert became
// active; of an alert that has not, once the faults are over, so that it can be said why.
std::optional<SystemTime> RunMachine::TruthSince(std::size_t alert) const {
  const std::optional<Instant> impact = InstantsOf(run_).first_impact;
  if (!impact) return std::nullopt;
  const AlertEvidence& known = evidence().alerts[alert];
  const Nanoseconds scrape =
      std::max(Interval(),
               known.rule ? known.rule->scrape_interval.value_or(Nanoseconds(0)) : Nanoseconds(0));
  SystemTime since = impact->at - impact->uncertainty - 3 * scrape - kLatest;
  if (!known.truth.empty()) since = std::max(since, known.truth.back().at - 2 * scrape);
  const std::string& name = run_.experiment().detection(static_cast<int>(alert)).alert();
  for (const v1::Mark& mark : run_.marks()) {
    if (mark.subject() != name ||
        (mark.kind() != v1::MARK_KIND_ALERT_PENDING && mark.kind() != v1::MARK_KIND_ALERT_FIRING)) {
      continue;
    }
    if (truth_seen_until_[alert] >= FromProto(mark.at()) + kCommitLag) return std::nullopt;
    return since;
  }
  if (run_.state() != v1::RUN_STATE_RECOVERING) return std::nullopt;
  return since;
}

void RunMachine::AnswerRecent(const ProbeAnswer& recent) {
  if (!asking_ || finished()) return;
  waiting_since_ = clock_.Steady();  // for the rest
  if (run_.state() != v1::RUN_STATE_INJECTING) return;
  recent_judged_ = true;
  CheckStopConditions(recent);
  Advance();
}

void RunMachine::Answer(const ProbeAnswers& answers) {
  asking_ = false;
  if (finished()) return;
  if (answers.scrape_interval) scrape_interval_ = answers.scrape_interval;
  last_answer_ = answers;
  TakeEvidence();
  const bool watches =
      run_.state() == v1::RUN_STATE_INJECTING || run_.state() == v1::RUN_STATE_RECOVERING;
  if (watches && (answers.recent.clock_jumped || answers.alerts.clock_jumped)) {
    AddCaveat(kClockJumped);
  }
  if (watches) {
    for (const ProbeAnswer* part : {&answers.recent, &answers.alerts}) {
      for (const std::string& caveat : part->caveats) {
        if (run_.caveats_size() < kMostCaveats) AddCaveat(caveat);
      }
    }
  }
  if (run_.state() == v1::RUN_STATE_INJECTING && !recent_judged_) {
    CheckStopConditions(answers.recent);
  }
  if (run_.state() == v1::RUN_STATE_INJECTING || run_.state() == v1::RUN_STATE_RECOVERING) {
    Measure(false);
  }
  Advance();
}

void RunMachine::TakeEvidence() {
  ProbeAnswers& answers = *last_answer_;
  for (ProbeAnswer::Indicator& indicator : answers.recent.indicators) {
    if (!indicator.interval) indicator.interval = scrape_interval_;
  }
  std::vector<v1::Series>& samples = actions_.new_samples;
  actions_.changed |= record_.Take(answers.recent, asked_.recent.since, samples);
  if (evidence().alerts.empty()) return;
  actions_.changed |= record_.Take(answers.alerts, asked_.alerts.since, samples);
  // Until it is known whether Prometheus was blind it is asked for the same time again.
  bool all = answers.alerts.status.ok() && answers.alerts.blind_unknown.empty();
  for (std::size_t i = 0; i < evidence().alerts.size() && i < answers.alerts.alerts.size(); ++i) {
    const bool known = answers.alerts.alerts[i].status.ok();
    all = all && known;
    const bool asked = i < asked_.alerts.alerts.size() && asked_.alerts.alerts[i].truth_since;
    if (known && asked) truth_seen_until_[i] = answers.alerts.asked_at;
    // Only once it fires can it be told which of several rules it was.
    const ProbeAnswer::Alert& alert = answers.alerts.alerts[i];
    if (known && alert.firing_now && !alert.rule_ambiguity.empty()) {
      AddCaveat(fmt::format("alert {}: {}, so its stages may be another's; labels choose one",
                            run_.experiment().detection(static_cast<int>(i)).alert(),
                            alert.rule_ambiguity));
    }
  }
  if (all) alerts_seen_until_ = answers.alerts.asked_at;
}

void RunMachine::CheckStopConditions(const ProbeAnswer& answer) {
  for (std::size_t i = 0; i < stop_unknown_since_.size(); ++i) {
    const v1::StopCondition& condition = run_.experiment().stop_when(static_cast<int>(i));
    const absl::Status status = i < answer.stop_conditions.size()
                                    ? answer.stop_conditions[i].status
                                    : absl::UnavailableError("no answer");
    if (status.ok()) {
      stop_unknown_since_[i].reset();
      if (answer.stop_conditions[i].holds) {
        Abort(fmt::format("stop condition \"{}\" holds", NameOf(condition)));
        return;
      }
      continue;
    }
    const SteadyTime now = clock_.Steady();
    if (!stop_unknown_since_[i]) stop_unknown_since_[i] = now;
    // The second unknown answer, a scrape later: two scrapes were missed.
    if (now - *stop_unknown_since_[i] >= std::clamp(Interval(), kSoonest, kLatest)) {
      Abort(fmt::format("stop condition \"{}\" is unknown for two scrapes: {}", NameOf(condition),
                        Words(status)));
      return;
    }
  }
}

// Whoever is to answer hangs: what it would say is unknown, and for too long.
void RunMachine::CheckOverdueAnswer() {
  if (run_.state() != v1::RUN_STATE_INJECTING || stop_unknown_since_.empty()) return;
  const Nanoseconds waited = clock_.Steady() - waiting_since_;
  if (waited <= options_.probe_deadline + std::clamp(Interval(), kSoonest, kLatest)) return;
  Abort(fmt::format("stop condition \"{}\" is unknown: no answer for {}",
                    NameOf(run_.experiment().stop_when(0)), FormatDuration(waited)));
}

void RunMachine::Notice(const std::vector<AlertNotice>& notices) {
  // What comes before the faults says nothing of them.
  if (run_.state() != v1::RUN_STATE_INJECTING && run_.state() != v1::RUN_STATE_RECOVERING) return;
  if (!record_.Take(notices)) return;
  actions_.changed = true;
  Measure(false);
  // A webhook leaves just before the samples are committed: ask for them again, soon.
  last_asked_.reset();
  Advance();
}

std::vector<std::string> RunMachine::PreflightProblems() const {
  std::vector<std::string> problems;
  for (const auto& [name, host] : hosts_) {
    if (!host.here) problems.push_back(fmt::format("agent {} is connected", name));
    if (host.here && host.draining)
      problems.push_back(fmt::format("agent {} is not stopping", name));
  }
  if (!asks_probe_ ||
      (evidence().indicators.empty() && evidence().alerts.empty() && stop_unknown_since_.empty())) {
    return problems;
  }
  if (!last_answer_) {
    problems.push_back("Prometheus answers");
    return problems;
  }
  PreflightIndicators(problems);
  for (std::size_t i = 0; i < evidence().alerts.size(); ++i) {
    const std::string& alert = run_.experiment().detection(static_cast<int>(i)).alert();
    const std::vector<ProbeAnswer::Alert>& answers = last_answer_->alerts.alerts;
    if (i >= answers.size() || !answers[i].status.ok()) {
      problems.push_back(fmt::format("it is known whether alert {} is firing ({})", alert,
                                     i < answers.size() ? Words(answers[i].status) : "no answer"));
    } else if (answers[i].rule_missing) {
      problems.push_back(fmt::format("Prometheus has a rule for alert {}{}", alert,
                                     answers[i].rule_hint.empty()
                                         ? " (it has none that could raise it)"
                                         : " (it has none; " + answers[i].rule_hint + ")"));
    } else if (answers[i].firing_now) {
      problems.push_back(fmt::format("alert {} is not firing already", alert));
    }
  }
  for (int i = 0; i < run_.experiment().stop_when_size(); ++i) {
    const std::string name = NameOf(run_.experiment().stop_when(i));
    const auto& answers = last_answer_->recent.stop_conditions;
    const auto index = static_cast<std::size_t>(i);
    if (index >= answers.size() || !answers[index].status.ok()) {
      problems.push_back(
          fmt::format("stop condition \"{}\" is known ({})", name,
                      index < answers.size() ? Words(answers[index].status) : "no answer"));
    } else if (answers[index].holds) {
      problems.push_back(fmt::format("stop condition \"{}\" does not hold", name));
    }
  }
  return problems;
}

void RunMachine::PreflightIndicators(std::vector<std::string>& problems) const {
  for (std::size_t i = 0; i < evidence().indicators.size(); ++i) {
    const v1::Indicator& indicator = run_.experiment().steady_state(static_cast<int>(i));
    const IndicatorEvidence& known = evidence().indicators[i];
    const std::string wanted =
        fmt::format("{} is {}", indicator.name(), FormatComparison(indicator.expect()));
    if (!known.status.ok()) {
      problems.push_back(fmt::format("{} (unknown: {})", wanted, Words(known.status)));
      continue;
    }
    const SystemTime now = last_answer_->recent.asked_at;
    if (known.samples.empty() || known.samples.back().at < now - 2 * Interval() - kSlack) {
      problems.push_back(wanted + " (unknown: no recent sample)");
      continue;
    }
    // Back from the newest: good for how long?
    SystemTime good_since = known.samples.back().at;
    bool all_good = true;
    for (auto it = known.samples.rbegin(); it != known.samples.rend() && all_good; ++it) {
      all_good = Holds(indicator.expect(), it->value) && good_since - it->at <= 3 * Interval();
      if (all_good) good_since = it->at;
    }
    if (!Holds(indicator.expect(), known.samples.back().value)) {
      problems.push_back(fmt::format("{} (it is {:g})", wanted, known.samples.back().value));
    } else if (known.samples.back().at - good_since + Interval() < Hold(indicator)) {
      problems.push_back(fmt::format("{} for {}", wanted, FormatDuration(Hold(indicator))));
    }
  }
}

// An earlier process left the run unfinished.
void RunMachine::NoteRestart() {
  const bool watches = !evidence().alerts.empty() || !evidence().indicators.empty();
  if (!asks_probe_ || !watches || run_.caveats_size() >= kMostCaveats) return;
  SystemTime since = FromProto(run_.evidence().watched_until());
  for (const v1::Mark& mark : run_.marks()) {
    if (mark.source() == v1::MARK_SOURCE_CONTROLLER) since = std::max(since, FromProto(mark.at()));
  }
  const SystemTime now = clock_.System();
  const Nanoseconds unwatched = now - since;
  if (unwatched < kSoonest) return;  // no more than between two questions
  AddCaveat(
      fmt::format("the controller was started anew at {}: nobody watched for up to {} before, so a "
                  "notification of that time came late or not at all",
                  FormatTime(now), FormatDuration(unwatched)));
}

bool RunMachine::HasAnswer() const {
  const auto answered = [](const ProbeAnswer& answer, bool asked) {
    return !asked || answer.status.ok();
  };
  return last_answer_ && answered(last_answer_->recent, !evidence().indicators.empty()) &&
         answered(last_answer_->alerts, !evidence().alerts.empty());
}

// What is stored says nothing of the time since: it is as if every question had failed.
void RunMachine::NoteNoAnswer() {
  if (last_answer_) return;  // which says why there is none
  ProbeAnswer none;
  none.status = absl::UnavailableError(
      fmt::format("Prometheus has not answered within {} since the controller was started anew",
                  FormatDuration(options_.answer_patience)));
  none.indicators.resize(evidence().indicators.size());
  none.alerts.resize(evidence().alerts.size());
  for (ProbeAnswer::Indicator& indicator : none.indicators) indicator.status = none.status;
  for (ProbeAnswer::Alert& alert : none.alerts) alert.status = none.status;
  record_.Take(none, clock_.System(), actions_.new_samples);
}

void RunMachine::Measure(bool final, bool cut_short) {
  google::protobuf::RepeatedPtrField<v1::Series> series;  // long, and not touched by measures
  series.Swap(run_.mutable_series());
  v1::Run before = run_;
  SystemTime until = last_answer_ ? last_answer_->recent.asked_at : clock_.System();
  // What an earlier process watched is all that there is.
  const bool never_asked =
      !last_answer_ && FromProto(run_.evidence().watched_until()) > watch_from_;
  if (cut_short && never_asked) until = FromProto(run_.evidence().watched_until());
  measures_ = record_.Measure(until, final, cut_short);
  // That time has passed is no news.
  *before.mutable_evidence()->mutable_watched_until() = run_.evidence().watched_until();
  if (!google::protobuf::util::MessageDifferencer::Equals(before, run_)) actions_.changed = true;
  series.Swap(run_.mutable_series());
}

void RunMachine::AddCaveat(const std::string& caveat) {
  const auto& known = run_.caveats();
  if (std::find(known.begin(), known.end(), caveat) != known.end()) return;
  run_.add_caveats(caveat);
  actions_.changed = true;
}

Nanoseconds RunMachine::Interval() const { return scrape_interval_.value_or(kUnknownInterval); }

Nanoseconds RunMachine::LongestHold() const {
  Nanoseconds longest{0};
  for (const v1::Indicator& indicator : run_.experiment().steady_state()) {
    longest = std::max(longest, Hold(indicator));
  }
  return longest;
}

}  // namespace firedrill::controller
