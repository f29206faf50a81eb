// SPDX-License-Identifier: Apache-2.0
// Was it noticed, and when?
//
//  - time to detect = alert_firing - first_impact. alert_firing is the first raw firing sample of
//    the first episode that begins at or after the impact (episodes.h); a webhook's startsAt only
//    where it belongs to no episode: the samples are not there yet, or gone. Where both are there
//    and disagree the sample counts, and it is said. Where Prometheus, as it is asked, ought to
//    have a sample by then and has none, whether it fired is unknown: a webhook alone is no proof.
//    One that says it began after it came is not counted.
//  - A webhook that tells of a resolution decides nothing: a Prometheus that dies makes
//    Alertmanager send one minutes later. Nor does one that is repeated.
//  - An alert that fired before the impact and had not resolved by then, or was pending then and
//    fired later, says nothing about this fault: already firing. An episode of the same alert with
//    other labels that began after the impact is taken instead of one that was pending.
//  - Before and after are told apart up to the uncertainty of both instants. Within it the alert
//    counts as after the impact, with a time to detect of zero.
//  - missed: the watch, or `within`, is over and no episode began; the time is censored: not zero,
//    not left out. One that fired after `within` is missed too, and its time is given.
//  - silent, false alarm: the same where silence is expected. `if_breached` expects the alert if an
//    indicator left its steady state, silence if none did; unknown if that is unknown.
//  - Where the run was cut short before `within`, or before the watch's own end, whether it would
//    have fired is unknown; the censored time stays. So it is where not all series were kept.
//  - Where the data are missing and nothing else decides: unknown. So is silence, where Prometheus
//    was blind for a part of the time: a rule without data does not fire.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "controller/measure/episodes.h"
#include "controller/measure/instants.h"
#include "controller/measure/parts.h"
#include "controller/measure/stages.h"
#include "controller/probe/matching.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

constexpr std::size_t kMostEpisodes = 8;  // that are marked
constexpr const char* kNoSample = "but Prometheus, as it is asked, has no sample of it";
constexpr const char* kDropped = ": it had more series than are kept";
// A sample is there a few ms after its instant; a busy Prometheus needs longer.
constexpr Nanoseconds kCommitLag = std::chrono::seconds(2);

std::string LabelsText(const std::map<std::string, std::string>& labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    if (name == "alertname") continue;
    if (text.size() > 200) return text + ", …";
    text += (text.empty() ? "" : ", ") + name + "=" + value;
  }
  return text;
}

class AlertMeasurer {
 public:
  AlertMeasurer(const v1::Detection& detection, const AlertEvidence& evidence, const Evidence& run,
                Breach breach)
      : detection_(detection), evidence_(evidence), run_(run), breach_(breach) {
    *measured_.result.mutable_expected() = detection;
  }

  Measured<v1::AlertResult> Run() {
    if (!run_.instants.first_impact) {
      if (run_.final) {
        Decide(v1::DETECTION_OUTCOME_UNKNOWN, "no impact was seen, so there was nothing to detect");
      }
      return measured_;
    }
    impact_ = *run_.instants.first_impact;
    earliest_ = impact_.at - impact_.uncertainty - evidence_.uncertainty;
    ReadEpisodes();
    ReadNotices();
    Conclude();
    return measured_;
  }

 private:
  void Decide(v1::DetectionOutcome outcome, std::string explanation) {
    measured_.result.set_outcome(outcome);
    measured_.result.set_explanation(std::move(explanation));
  }

  // When there was a firing, in words.
  std::string Fired() const { return "fired " + AfterImpact(*firing_, impact_); }

  void ReadEpisodes() {
    EpisodeContext context;
    context.interval = interval_ = EvaluationInterval(evidence_.rule, evidence_.series);
    if (evidence_.rule) context.query_offset = evidence_.rule->query_offset;
    if (evidence_.status.ok()) context.now = run_.now;
    context.blind = evidence_.blind;
    std::size_t marked = 0;
    std::optional<SystemTime> pending_before;
    for (const AlertEpisode& episode : EpisodesOf(evidence_.series, context)) {
      const bool over =
          episode.resolved_at && *episode.resolved_at + episode.resolved_uncertainty <= impact_.at;
      if (over) continue;
      if (episode.firing_at && *episode.firing_at < earliest_) {
        if (!already_since_) already_since_ = *episode.firing_at;
        continue;
      }
      if (BeginOf(episode) < earliest_) {
        if (episode.firing_at && !pending_before) pending_before = BeginOf(episode);
        continue;
      }
      episodes_.push_back(episode);
      if (marked++ < kMostEpisodes) MarkEpisode(episode);
      if (episode.firing_at) CountFiring(*episode.firing_at, BeginOf(episode));
    }
    if (!firing_ && pending_before) pending_since_ = pending_before;
  }

  void CountFiring(SystemTime at, std::optional<SystemTime> active) {
    measured_.result.set_episodes(measured_.result.episodes() + 1);
    if (firing_ && firing_->at <= at) return;
    firing_ = Instant{at, evidence_.uncertainty};
    active_ = active;
  }

  void MarkEpisode(const AlertEpisode& episode) {
    const auto add = [&](v1::MarkKind kind, const std::optional<SystemTime>& at,
                         Nanoseconds uncertainty = Nanoseconds(0)) {
      if (!at) return;
      measured_.marks.push_back(MakeMark(kind, {*at, evidence_.uncertainty + uncertainty},
                                         v1::MARK_SOURCE_PROMETHEUS_SAMPLE, detection_.alert(),
                                         LabelsText(episode.labels)));
    };
    add(v1::MARK_KIND_ALERT_PENDING, episode.pending_at);
    add(v1::MARK_KIND_ALERT_FIRING, episode.firing_at);
    if (!episode.firing_at) return;
    add(v1::MARK_KIND_ALERT_RESOLVED, episode.resolved_at, episode.resolved_uncertainty);
  }

  bool IsAboutThis(const AlertNotice& notice) const {
    return notice.firing && notice.alert == detection_.alert() &&
           Carries(notice.labels, {detection_.labels().begin(), detection_.labels().end()});
  }

  // The episode that the notice, which began to fire at `starts_at`, is about: the nearest.
  const AlertEpisode* EpisodeOf(const AlertNotice& notice, SystemTime starts_at) const {
    const AlertEpisode* nearest = nullptr;
    const auto apart = [starts_at](const AlertEpisode& episode) {
      return std::chrono::abs(starts_at - episode.firing_at.value_or(BeginOf(episode)));
    };
    for (const AlertEpisode& episode : episodes_) {
      if (!Carries(notice.labels, episode.labels)) continue;
      const SystemTime end =
          episode.resolved_at ? *episode.resolved_at + episode.resolved_uncertainty : run_.now;
      if (starts_at < BeginOf(episode) - Margin() || starts_at > end + Margin()) continue;
      if (nearest == nullptr || apart(episode) < apart(*nearest)) nearest = &episode;
    }
    return nearest;
  }

  // Evaluations that are further apart are not of one beginning.
  Nanoseconds Margin() const { return interval_ * 5 / 2; }

  void ReadNotices() {
    const AlertNotice* first = nullptr;
    for (const AlertNotice& notice : evidence_.notices) {
      if (!IsAboutThis(notice) || notice.received_at > run_.now) continue;
      const SystemTime starts_at = notice.starts_at + evidence_.clock_offset;
      // One that is only repeated has the instant of its own beginning.
      if (starts_at < earliest_ || notice.received_at < impact_.at) continue;
      if (starts_at > notice.received_at + evidence_.uncertainty + kSameInstant) {
        AddCaveat(starts_at, "after it had come: not counted");
        continue;
      }
      if (first == nullptr || notice.received_at < first->received_at) first = &notice;
      if (already_since_ || pending_since_) continue;
      const AlertEpisode* episode = EpisodeOf(notice, starts_at);
      if (episode != nullptr && episode->firing_at) {
        Compare(starts_at, *episode->firing_at);
      } else {
        TakeFiring(notice, starts_at, episode);
      }
    }
    if (first == nullptr) return;
    notified_ = Instant{first->received_at};
    if (firing_ && notified_->at < firing_->at) {
      // It cannot have come before its cause: the cause's instant is that much off.
      notified_ = Instant{firing_->at, firing_->at - notified_->at};
    }
    measured_.marks.push_back(MakeMark(v1::MARK_KIND_NOTIFIED, *notified_,
                                       v1::MARK_SOURCE_ALERTMANAGER, detection_.alert(),
                                       LabelsText(first->labels)));
    *measured_.result.mutable_time_to_notify() =
        MakeMeasure(v1::MARK_KIND_FIRST_IMPACT, impact_, v1::MARK_KIND_NOTIFIED, *notified_,
                    detection_.alert());
  }

  void Compare(SystemTime starts_at, SystemTime sample) {
    if (std::chrono::abs(starts_at - sample) <= kSameInstant + 2 * evidence_.uncertainty) return;
    // Later in the same episode a restarted Prometheus has told of it anew.
    if (starts_at > sample + Margin() || !measured_.caveats.empty()) return;
    measured_.caveats.push_back(Disagreement(detection_.alert(), starts_at, sample));
  }

  // A firing that no sample tells of; `episode`, if any, is only pending so far.
  void TakeFiring(const AlertNotice& notice, SystemTime starts_at, const AlertEpisode* episode) {
    if (told_.size() >= kMostEpisodes || !told_.insert(starts_at).second) return;
    std::optional<SystemTime> active;
    if (episode != nullptr) active = BeginOf(*episode);
    if (!firing_ || starts_at < firing_->at) told_only_ = starts_at;
    CountFiring(starts_at, active);
    measured_.marks.push_back(
        MakeMark(v1::MARK_KIND_ALERT_FIRING, {starts_at, evidence_.uncertainty},
                 v1::MARK_SOURCE_ALERTMANAGER, detection_.alert(), LabelsText(notice.labels)));
  }

  // IsMeasuredCaveat() knows it by its words.
  void AddCaveat(SystemTime starts_at, const char* what) {
    if (!measured_.caveats.empty()) return;
    measured_.caveats.push_back(fmt::format("alert {}: the webhook says it began to fire at {}, {}",
                                            detection_.alert(), FormatTime(starts_at), what));
  }

  // The firing that counts is known by a webhook only, and its samples could be asked for.
  bool AwaitsSample() const {
    return told_only_ && firing_->at == *told_only_ && evidence_.status.ok();
  }
  SystemTime SampleDue() const { return *told_only_ + Margin() + kCommitLag; }

  // There ought to be samples, and there are none.
  bool IsNotBorneOut() const {
    if (!AwaitsSample()) return false;
    const SystemTime due = SampleDue();
    const bool kept =
        !evidence_.series_left_out && BlindIn(*told_only_ - Margin(), due) == Nanoseconds(0);
    return kept && run_.now > due;
  }

  void ConcludeUnproven() {
    measured_.result.clear_time_to_detect();
    AddCaveat(firing_->at, kNoSample);
    // Those of a remote storage are late.
    if (!run_.final) return;
    Decide(v1::DETECTION_OUTCOME_UNKNOWN, "the webhook says it " + Fired() + ", " + kNoSample);
  }

  void Conclude() {
    if (already_since_ || pending_since_) {
      measured_.settled = true;
      measured_.result.clear_time_to_notify();
      measured_.result.clear_episodes();
      const bool fired = already_since_.has_value();
      Decide(v1::DETECTION_OUTCOME_ALREADY_FIRING,
             fmt::format("was already {} since {} at the impact, so it says nothing about this "
                         "fault",
                         fired ? "firing" : "pending",
                         FormatDuration(impact_.at - (fired ? *already_since_ : *pending_since_))));
      return;
    }
    if (firing_) {
      *measured_.result.mutable_time_to_detect() =
          MakeMeasure(v1::MARK_KIND_FIRST_IMPACT, impact_, v1::MARK_KIND_ALERT_FIRING, *firing_,
                      detection_.alert());
    }
    if (firing_ && IsNotBorneOut()) return ConcludeUnproven();
    switch (detection_.expect()) {
      case v1::EXPECTATION_SILENT:
        return ConcludeSilent();
      case v1::EXPECTATION_IF_BREACHED:
        return ConcludeIfBreached();
      case v1::EXPECTATION_FIRES:
      case v1::EXPECTATION_UNSPECIFIED:
      case v1::Expectation_INT_MIN_SENTINEL_DO_NOT_USE_:
      case v1::Expectation_INT_MAX_SENTINEL_DO_NOT_USE_:
        return ConcludeFires();
    }
  }

  bool InTime() const {
    return !detection_.has_within() || firing_->at - impact_.at <= FromProto(detection_.within());
  }
  bool WithinIsOver() const {
    return detection_.has_within() &&
           run_.now > impact_.at + FromProto(detection_.within()) + kCommitLag;
  }
  bool CutShort() const { return run_.cut_short && !WithinIsOver(); }
  std::string CutShortText(const char* what) const {
    return fmt::format("{} {}, when the run was cut short", what,
                       FormatDuration(std::max(Nanoseconds(0), run_.now - impact_.at)));
  }
  std::string WithinText() const { return FormatDuration(FromProto(detection_.within())); }

  // For how long Prometheus was blind while silence was expected.
  Nanoseconds Blind() const {
    SystemTime until = run_.now;
    if (detection_.has_within()) {
      until = std::min(until, impact_.at + FromProto(detection_.within()));
    }
    return BlindIn(impact_.at, until);
  }
  Nanoseconds BlindIn(SystemTime from, SystemTime to) const {
    Nanoseconds blind{0};
    for (const TimeSpan& span : evidence_.blind) {
      blind += std::max(Nanoseconds(0), std::min(span.to, to) - std::max(span.from, from));
    }
    return blind;
  }

  void ConcludeFires() {
    if (firing_) {
      measured_.settled = !AwaitsSample() || run_.now > SampleDue();
      if (!InTime()) {
        Decide(v1::DETECTION_OUTCOME_MISSED, Fired() + ", later than " + WithinText());
        return;
      }
      const bool late = run_.instants.ended && firing_->at > run_.instants.ended->at;
      Decide(v1::DETECTION_OUTCOME_DETECTED,
             Fired() + (late && !run_.instants.event ? ", after the fault had ended" : ""));
      AddStages();
      return;
    }
    if (!run_.final && !WithinIsOver()) return;
    if (!evidence_.status.ok()) {
      if (!run_.final) return;
      Decide(v1::DETECTION_OUTCOME_UNKNOWN, fmt::format("whether it fired is not known: {}",
                                                        std::string(evidence_.status.message())));
      return;
    }
    measured_.settled = true;
    if (evidence_.series_left_out) {
      Decide(v1::DETECTION_OUTCOME_UNKNOWN,
             std::string("whether it fired is not known") + kDropped);
      return;
    }
    *measured_.result.mutable_time_to_detect() =
        MakeCensored(v1::MARK_KIND_FIRST_IMPACT, impact_, v1::MARK_KIND_ALERT_FIRING, run_.now,
                     detection_.alert());
    if (CutShort()) {
      Decide(v1::DETECTION_OUTCOME_UNKNOWN, CutShortText("did not fire within"));
      return;
    }
    Decide(v1::DETECTION_OUTCOME_MISSED,
           fmt::format("did not fire; watched for {}", FormatDuration(run_.now - impact_.at)));
  }

  void AddStages() {
    DetectionInstants instants{impact_, {}, *firing_, notified_};
    // Without its samples the rule alone says when it began to hold.
    Nanoseconds held{0};
    if (const std::optional<AlertRule>& rule = evidence_.rule; !active_ && rule) {
      held = (rule->pending_for + interval_ - Nanoseconds(1)) / interval_ * interval_;
    }
    instants.active = {std::max(impact_.at, active_.value_or(firing_->at - held)),
                       evidence_.uncertainty};
    // Within the clocks' uncertainty before the impact counts as at it, and so does a notification
    // that came sooner than the instant of its cause.
    instants.firing.at = std::max(firing_->at, impact_.at);
    const std::vector<v1::Stage> stages = StagesOf(instants, evidence_);
    *measured_.result.mutable_stages() = {stages.begin(), stages.end()};
  }

  void ConcludeSilent() {
    if (firing_ && InTime()) {
      measured_.settled = !AwaitsSample() || run_.now > SampleDue();
      Decide(v1::DETECTION_OUTCOME_FALSE_ALARM, Fired() + ", though it ought to stay silent");
      return;
    }
    measured_.result.clear_time_to_detect();
    if (!run_.final && !WithinIsOver()) return;
    if (!evidence_.status.ok()) {
      if (!run_.final) return;
      Decide(v1::DETECTION_OUTCOME_UNKNOWN, fmt::format("whether it stayed silent is not known: {}",
                                                        std::string(evidence_.status.message())));
      return;
    }
    measured_.settled = true;
    if (const Nanoseconds blind = Blind(); blind.count() > 0) {
      Decide(v1::DETECTION_OUTCOME_UNKNOWN,
             fmt::format("did not fire, but Prometheus saw nothing for {}, in which it might have",
                         FormatDuration(blind)));
      return;
    }
    if (!run_.blind_unknown.empty()) {
      measured_.settled = run_.final;  // the next answer may tell
      if (!run_.final) return;
      Decide(v1::DETECTION_OUTCOME_UNKNOWN,
             "did not fire, but whether Prometheus was blind is not known: " + run_.blind_unknown);
      return;
    }
    if (evidence_.series_left_out) {
      Decide(v1::DETECTION_OUTCOME_UNKNOWN,
             std::string("whether it stayed silent is not known") + kDropped);
      return;
    }
    if (CutShort()) {
      Decide(v1::DETECTION_OUTCOME_UNKNOWN, CutShortText("stayed silent for"));
      return;
    }
    Decide(v1::DETECTION_OUTCOME_SILENT, "stayed silent, as it ought to");
  }

  void ConcludeIfBreached() {
    if (breach_ == Breach::kBreached) return ConcludeFires();
    if (breach_ == Breach::kNone) return ConcludeSilent();
    if (!run_.final) return;
    Decide(v1::DETECTION_OUTCOME_UNKNOWN,
           (firing_ ? Fired() + ", but " : "did not fire, but ") +
               std::string("whether an indicator left its steady state is not known"));
  }

  const v1::Detection& detection_;
  const AlertEvidence& evidence_;
  const Evidence& run_;
  const Breach breach_;
  Measured<v1::AlertResult> measured_;
  Instant impact_;
  SystemTime earliest_;                  // what is before this was before the impact
  Nanoseconds interval_{0};              // of evaluation
  std::vector<AlertEpisode> episodes_;   // that began after the impact
  std::set<SystemTime> told_;            // firings that only webhooks tell of
  std::optional<SystemTime> told_only_;  // the earliest of them, if it was the earliest of all then
  std::optional<Instant> firing_;
  std::optional<SystemTime> active_;  // when the rule began to hold, of the same firing
  std::optional<Instant> notified_;
  std::optional<SystemTime> already_since_;
  std::optional<SystemTime> pending_since_;
};

}  // namespace

Measured<v1::AlertResult> MeasureAlert(const v1::Detection& detection,
                                       const AlertEvidence& evidence, const Evidence& run,
                                       Breach breach) {
  return AlertMeasurer(detection, evidence, run, breach).Run();
}

}  // namespace firedrill::controller
