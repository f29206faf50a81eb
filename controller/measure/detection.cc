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

#include "controller/measure/firings.h"
#include "controller/measure/instants.h"
#include "controller/measure/stages.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

constexpr const char* kNoSample = "but Prometheus, as it is asked, has no sample of it";
constexpr const char* kDropped = ": it had more series than are kept";

class AlertMeasurer : private FiringReader {
 public:
  AlertMeasurer(const v1::Detection& detection, const AlertEvidence& evidence, const Evidence& run,
                Breach breach)
      : FiringReader(detection, evidence, run), breach_(breach) {
    *measured_.result.mutable_expected() = detection;
  }

  Measured<v1::AlertResult> Run() {
    if (!run_.instants.first_impact) {
      if (run_.final) {
        Decide(v1::DETECTION_OUTCOME_UNKNOWN, "no impact was seen, so there was nothing to detect");
      }
      return measured_;
    }
    Read();
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
    if (!Settle("it fired")) return;
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

  // Whether its time is over and Prometheus has answered, so that more samples change nothing. If
  // it does not answer until the run's end, `what` is not known.
  bool Settle(const char* what) {
    if (!run_.final && !WithinIsOver()) return false;
    if (!evidence_.status.ok()) {
      if (run_.final) {
        Decide(v1::DETECTION_OUTCOME_UNKNOWN, fmt::format("whether {} is not known: {}", what,
                                                          std::string(evidence_.status.message())));
      }
      return false;
    }
    return measured_.settled = true;
  }

  void AddStages() {
    DetectionInstants instants{impact_, {}, *firing_, notified_};
    // Without its samples the rule alone says when it began to hold.
    Nanoseconds held{0};
    if (const std::optional<AlertRule>& rule = evidence_.rule; !active_ && rule) {
      held = RoundedUp(rule->pending_for, interval_);
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
    if (!Settle("it stayed silent")) return;
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

  const Breach breach_;
};

}  // namespace

Measured<v1::AlertResult> MeasureAlert(const v1::Detection& detection,
                                       const AlertEvidence& evidence, const Evidence& run,
                                       Breach breach) {
  return AlertMeasurer(detection, evidence, run, breach).Run();
}

}  // namespace firedrill::controller
