// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "controller/experiment/defaults.h"
#include "controller/probe/alertmanager.h"
#include "controller/probe/episodes.h"
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
constexpr std::size_t kMostNotices = 1000;                 // of one alert; the first ones tell
constexpr Nanoseconds kSlack = std::chrono::seconds(1);    // scrape to query

// The clocks are aligned anew for each answer, so the same instant comes back moved by a little.
// What was told once stays: an instant this near to a known one is that one.
constexpr Nanoseconds kSame = std::chrono::milliseconds(20);

bool Same(SystemTime a, SystemTime b) { return a - b <= kSame && b - a <= kSame; }

void Steady(const std::vector<RawSample>& known, std::vector<RawSample>& fresh) {
  auto before = known.begin();
  for (RawSample& sample : fresh) {
    while (before != known.end() && before->at < sample.at - kSame) ++before;
    if (before != known.end() && Same(before->at, sample.at)) sample.at = before->at;
  }
}

constexpr const char* kClockJumped =
    "Prometheus' clock was set while it was watched, so instants before and after that may be off";

// Joins with what is said already; says nothing twice.
void AddTo(std::string& explanation, const std::string& words) {
  if (explanation.find(words) != std::string::npos) return;
  explanation += (explanation.empty() ? "" : "; ") + words;
}

std::string NameOf(const v1::StopCondition& condition) {
  return condition.name().empty() ? condition.query() : condition.name();
}

std::string Words(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

}  // namespace

void RunMachine::RestoreEvidence() {
  const v1::Experiment& experiment = run_.experiment();
  const absl::Status not_asked = absl::UnavailableError("the probe has not answered yet");
  evidence_.alerts.resize(static_cast<std::size_t>(experiment.detection_size()));
  evidence_.indicators.resize(static_cast<std::size_t>(experiment.steady_state_size()));
  stored_samples_.resize(evidence_.indicators.size());
  stop_unknown_since_.resize(static_cast<std::size_t>(experiment.stop_when_size()));
  for (IndicatorEvidence& indicator : evidence_.indicators) indicator.status = not_asked;
  for (AlertEvidence& alert : evidence_.alerts) alert.status = not_asked;
  if (run_.series().empty()) {
    for (const v1::Indicator& indicator : experiment.steady_state()) {
      run_.add_series()->set_name(indicator.name());
    }
    // The store keeps no series without samples and sorts them: below they are found by name.
  }
  v1::Run ordered;
  for (std::size_t i = 0; i < evidence_.indicators.size(); ++i) {
    const std::string& name = experiment.steady_state(static_cast<int>(i)).name();
    v1::Series* kept = ordered.add_series();
    kept->set_name(name);
    for (const v1::Series& series : run_.series()) {
      if (series.name() == name) *kept = series;
    }
    for (const v1::Sample& sample : kept->samples()) {
      evidence_.indicators[i].samples.push_back({FromProto(sample.at()), sample.value()});
    }
    stored_samples_[i] = evidence_.indicators[i].samples.size();
  }
  *run_.mutable_series() = std::move(*ordered.mutable_series());

  const auto says_jumped = [](const auto& result) {
    return result.explanation().find(kClockJumped) != std::string::npos;
  };
  clock_jumped_ = std::any_of(run_.alerts().begin(), run_.alerts().end(), says_jumped) ||
                  std::any_of(run_.indicators().begin(), run_.indicators().end(), says_jumped);

  // What an earlier process learnt of alerts stands in the marks, and only there.
  for (std::size_t i = 0; i < evidence_.alerts.size(); ++i) {
    const v1::Detection& detection = experiment.detection(static_cast<int>(i));
    AlertEpisode episode;
    episode.labels.insert(detection.labels().begin(), detection.labels().end());
    const AlertEpisode fresh = episode;
    const auto close = [&, this] {
      if (episode.pending_at || episode.firing_at) evidence_.alerts[i].episodes.push_back(episode);
      episode = fresh;
    };
    for (const v1::Mark& mark : run_.marks()) {
      if (mark.subject() != detection.alert()) continue;
      const SystemTime at = FromProto(mark.at());
      if (mark.kind() == v1::MARK_KIND_ALERT_PENDING) {
        close();
        episode.pending_at = at;
      }
      if (mark.kind() == v1::MARK_KIND_ALERT_FIRING) {
        if (episode.firing_at) close();
        episode.firing_at = at;
      }
      if (mark.kind() == v1::MARK_KIND_ALERT_RESOLVED) {
        episode.resolved_at = at;
        close();
      }
      if (mark.kind() == v1::MARK_KIND_NOTIFIED) {
        AlertNotice notice;
        notice.alert = detection.alert();
        notice.labels = episode.labels;
        notice.firing = true;
        notice.starts_at = episode.firing_at.value_or(at);
        notice.received_at = at;
        evidence_.alerts[i].notices.push_back(std::move(notice));
      }
    }
    close();
  }
}

void RunMachine::AskWhenDue() {
  const v1::Experiment& experiment = run_.experiment();
  const bool has_questions = experiment.steady_state_size() > 0 ||
                             experiment.detection_size() > 0 || experiment.stop_when_size() > 0;
  if (!asks_probe_ || !has_questions || asking_) return;
  const Nanoseconds every = std::clamp(Interval(), kSoonest, kLatest);
  if (last_asked_ && clock_.Steady() - *last_asked_ < every) return;
  asking_ = true;
  last_asked_ = clock_.Steady();
  actions_.ask = Questions();
}

ProbeQuestions RunMachine::Questions() const {
  const SystemTime start = watch_from_ - LongestHold() - kBefore;
  ProbeQuestions questions;
  questions.recent.since = clock_.System();
  for (std::size_t i = 0; i < evidence_.indicators.size(); ++i) {
    const v1::Indicator& indicator = run_.experiment().steady_state(static_cast<int>(i));
    questions.recent.indicators.push_back(indicator.query());
    const std::vector<RawSample>& samples = evidence_.indicators[i].samples;
    // Some overlap: late samples, and grids that move by the scrape's phase.
    const SystemTime since =
        samples.empty() ? start : std::max(start, samples.back().at - 5 * Interval() - kSlack);
    questions.recent.since = std::min(questions.recent.since, since);
  }
  for (const v1::StopCondition& condition : run_.experiment().stop_when()) {
    questions.recent.stop_conditions.push_back(condition.query());
  }
  questions.alerts.since = start;
  for (const v1::Detection& detection : run_.experiment().detection()) {
    questions.alerts.alerts.push_back(
        {detection.alert(), {detection.labels().begin(), detection.labels().end()}});
  }
  return questions;
}

void RunMachine::Answer(const ProbeAnswers& answers) {
  asking_ = false;
  if (finished()) return;
  if (answers.scrape_interval) scrape_interval_ = answers.scrape_interval;
  last_answer_ = answers;
  TakeSamples(answers.recent);
  for (std::size_t i = 0; i < evidence_.alerts.size() && i < answers.alerts.alerts.size(); ++i) {
    const ProbeAnswer::Alert& answer = answers.alerts.alerts[i];
    AlertEvidence& alert = evidence_.alerts[i];
    alert.status = answer.status;
    if (!answer.status.ok()) continue;
    alert.uncertainty = std::max(alert.uncertainty, answers.alerts.clock_uncertainty);
    alert.clock_offset = answers.alerts.clock_offset;
    alert.blind = answers.alerts.blind;
    MergeEpisodes(answer.episodes, alert.episodes);
  }
  if (run_.state() == v1::RUN_STATE_INJECTING || run_.state() == v1::RUN_STATE_RECOVERING) {
    clock_jumped_ |= answers.recent.clock_jumped || answers.alerts.clock_jumped;
  }
  if (run_.state() == v1::RUN_STATE_INJECTING) CheckStopConditions(answers.recent);
  if (run_.state() == v1::RUN_STATE_INJECTING || run_.state() == v1::RUN_STATE_RECOVERING) {
    Measure(false);
  }
  Advance();
}

void RunMachine::TakeSamples(const ProbeAnswer& answer) {
  for (std::size_t i = 0; i < evidence_.indicators.size() && i < answer.indicators.size(); ++i) {
    IndicatorEvidence& indicator = evidence_.indicators[i];
    indicator.status = answer.indicators[i].status;
    indicator.interval =
        answer.indicators[i].interval ? answer.indicators[i].interval : scrape_interval_;
    if (!answer.indicators[i].samples.empty()) {
      indicator.uncertainty = std::max(
          {indicator.uncertainty, answer.clock_uncertainty, answer.indicators[i].uncertainty});
      std::vector<RawSample> samples = answer.indicators[i].samples;
      Steady(indicator.samples, samples);
      MergeSamples(samples, indicator.samples);
    }
    v1::Series& series = *run_.mutable_series(static_cast<int>(i));
    const SystemTime last =
        series.samples().empty() ? SystemTime::min() : FromProto(series.samples().rbegin()->at());
    v1::Series fresh;
    fresh.set_name(series.name());
    for (const RawSample& sample : indicator.samples) {
      if (sample.at <= last) continue;
      v1::Sample* added = fresh.add_samples();
      *added->mutable_at() = ToProto(sample.at);
      added->set_value(sample.value);
    }
    if (fresh.samples().empty()) continue;
    series.MergeFrom(fresh);
    actions_.new_samples.push_back(std::move(fresh));
    actions_.changed = true;
  }
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

void RunMachine::Notice(const std::vector<AlertNotice>& notices) {
  // What comes before the faults says nothing of them.
  if (run_.state() != v1::RUN_STATE_INJECTING && run_.state() != v1::RUN_STATE_RECOVERING) return;
  bool any = false;
  for (std::size_t i = 0; i < evidence_.alerts.size(); ++i) {
    const v1::Detection& detection = run_.experiment().detection(static_cast<int>(i));
    const ProbeQuestion::Alert alert{detection.alert(),
                                     {detection.labels().begin(), detection.labels().end()}};
    std::vector<AlertNotice> matching;
    const std::size_t known = evidence_.alerts[i].notices.size();
    for (const AlertNotice& notice : notices) {
      if (known + matching.size() >= kMostNotices) break;
      if (Matches(alert, notice)) matching.push_back(notice);
    }
    any |= AddNotices(matching, evidence_.alerts[i].notices) > 0;
  }
  if (!any) return;
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
      (evidence_.indicators.empty() && evidence_.alerts.empty() && stop_unknown_since_.empty())) {
    return problems;
  }
  if (!last_answer_) {
    problems.push_back("Prometheus answers");
    return problems;
  }
  PreflightIndicators(problems);
  for (std::size_t i = 0; i < evidence_.alerts.size(); ++i) {
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
  for (std::size_t i = 0; i < evidence_.indicators.size(); ++i) {
    const v1::Indicator& indicator = run_.experiment().steady_state(static_cast<int>(i));
    const IndicatorEvidence& evidence = evidence_.indicators[i];
    const std::string wanted =
        fmt::format("{} is {}", indicator.name(), FormatComparison(indicator.expect()));
    if (!evidence.status.ok()) {
      problems.push_back(fmt::format("{} (unknown: {})", wanted, Words(evidence.status)));
      continue;
    }
    const SystemTime now = last_answer_->recent.asked_at;
    if (evidence.samples.empty() || evidence.samples.back().at < now - 2 * Interval() - kSlack) {
      problems.push_back(wanted + " (unknown: no recent sample)");
      continue;
    }
    // Back from the newest: good for how long?
    SystemTime good_since = evidence.samples.back().at;
    bool all_good = true;
    for (auto it = evidence.samples.rbegin(); it != evidence.samples.rend() && all_good; ++it) {
      all_good = Holds(indicator.expect(), it->value) && good_since - it->at <= 3 * Interval();
      if (all_good) good_since = it->at;
    }
    if (!Holds(indicator.expect(), evidence.samples.back().value)) {
      problems.push_back(fmt::format("{} (it is {:g})", wanted, evidence.samples.back().value));
    } else if (evidence.samples.back().at - good_since + Interval() < Hold(indicator)) {
      problems.push_back(fmt::format("{} for {}", wanted, FormatDuration(Hold(indicator))));
    }
  }
}

void RunMachine::Measure(bool final) {
  evidence_.instants = InstantsOf(run_);
  evidence_.now = last_answer_ ? last_answer_->recent.asked_at : clock_.System();
  evidence_.final = final;
  measures_ = MeasureRun(run_.experiment(), evidence_);
  google::protobuf::RepeatedPtrField<v1::Series> series;  // long, and not touched by measures
  series.Swap(run_.mutable_series());
  const v1::Run before = run_;
  WriteMeasures(*measures_, run_);
  if (clock_jumped_) {
    for (v1::AlertResult& alert : *run_.mutable_alerts()) {
      AddTo(*alert.mutable_explanation(), kClockJumped);
    }
    for (v1::IndicatorResult& indicator : *run_.mutable_indicators()) {
      AddTo(*indicator.mutable_explanation(), kClockJumped);
    }
  }
  for (v1::Mark& mark : *run_.mutable_marks()) {
    for (const v1::Mark& told : before.marks()) {
      const bool same = told.kind() == mark.kind() && told.subject() == mark.subject() &&
                        FromProto(told.at()) == FromProto(mark.at());
      if (same) mark = told;  // with its ± of then
    }
  }
  if (!google::protobuf::util::MessageDifferencer::Equals(before, run_)) actions_.changed = true;
  series.Swap(run_.mutable_series());
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
