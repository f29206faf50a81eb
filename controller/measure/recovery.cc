// SPDX-License-Identifier: Apache-2.0
// Did the system recover, when, and what did it need?
//
//  - slo_breached is the first sample after the impact that is not as `expect` says.
//  - recovered is the first good sample after it after which all stay good for `hold`, with no gap
//    longer than two scrapes (and a tenth, for scrapes that are late). Data must reach so far.
//    Good is here what `recovered` says, where it is given: stricter, so that a value that hovers
//    about one threshold does not flap, or more lenient. Once recovered, bad again is what neither
//    `expect` nor `recovered` accepts.
//  - absorbed: no breach from the impact until `hold` (and two scrapes) after the last fault's end.
//  - self-recovered: recovered while a fault was still on; where all faults are events: without
//    anyone acting. After a responder acted: somebody did before. After the end: the rest. Not
//    recovered: censored at the end of the watch. Relapsed: bad again after having recovered; its
//    time is that of the last recovery.
//  - A scrape is stamped with its start, so a sample may show the fault though it is stamped before
//    the impact: a bad one at most a second (or one interval) before is taken for a breach, and ±
//    grows by so much. A bad one before that: the indicator was broken already, and says nothing.
//  - A query that looks back over a window sees a breach and a recovery late, by up to the window:
//    the explanation says so. Depth: see depth.h.
//  - A watch that was cut short decides nothing that it has not seen: what had not recovered is
//    unknown, with its censored time, and so is what had not breached.
//  - Where nobody told of a fault's end it is unknown on which side of it a recovery was; its time
//    stays.
//  - A gap says nothing. Without a breach seen it makes the outcome unknown; so does one that hides
//    on which side of the end a recovery was, and one that lasts until now.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "controller/measure/depth.h"
#include "controller/measure/parts.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

constexpr Nanoseconds kDefaultHold = std::chrono::seconds(10);      // experiment.proto says so
constexpr Nanoseconds kUnknownInterval = std::chrono::seconds(15);  // with less than two samples
constexpr Nanoseconds kLongestScrape = std::chrono::seconds(1);

Nanoseconds IntervalOf(const IndicatorEvidence& evidence) {
  if (evidence.interval && evidence.interval->count() > 0) return *evidence.interval;
  std::vector<Nanoseconds> apart;
  for (std::size_t i = 1; i < evidence.samples.size(); ++i) {
    apart.push_back(evidence.samples[i].at - evidence.samples[i - 1].at);
  }
  if (apart.empty()) return kUnknownInterval;
  const auto middle = apart.begin() + static_cast<std::ptrdiff_t>(apart.size() / 2);
  std::nth_element(apart.begin(), middle, apart.end());
  return std::max(Nanoseconds(1), *middle);
}

// How far `value` is on the bad side; the larger the worse. Comparable within one comparison.
double Badness(const v1::Comparison& expect, double value) {
  switch (expect.operator_()) {
    case v1::OPERATOR_LESS:
    case v1::OPERATOR_LESS_OR_EQUAL:
      return value;
    case v1::OPERATOR_EQUAL:
      return std::abs(value - expect.value());
    case v1::OPERATOR_NOT_EQUAL:
      return -std::abs(value - expect.value());
    case v1::OPERATOR_GREATER:
    case v1::OPERATOR_GREATER_OR_EQUAL:
    case v1::OPERATOR_UNSPECIFIED:
    case v1::Operator_INT_MIN_SENTINEL_DO_NOT_USE_:
    case v1::Operator_INT_MAX_SENTINEL_DO_NOT_USE_:
      return -value;
  }
  return -value;
}

class IndicatorMeasurer {
 public:
  IndicatorMeasurer(const v1::Indicator& indicator, const IndicatorEvidence& evidence,
                    const Evidence& run)
      : indicator_(indicator),
        evidence_(evidence),
        run_(run),
        recovered_means_(indicator.has_recovered() ? indicator.recovered() : indicator.expect()),
        hold_(indicator.has_hold() ? FromProto(indicator.hold()) : kDefaultHold),
        interval_(IntervalOf(evidence)),
        longest_step_(2 * interval_ + interval_ / 10) {
    *measured_.result.mutable_indicator() = indicator;
  }

  Measured<v1::IndicatorResult> Run() {
    if (!run_.instants.first_impact) {
      if (run_.final) Decide(v1::RECOVERY_OUTCOME_UNKNOWN, "no impact was seen");
      return measured_;
    }
    impact_ = *run_.instants.first_impact;
    Walk();
    if (broken_before_) {
      measured_.settled = true;
      Decide(v1::RECOVERY_OUTCOME_UNKNOWN,
             fmt::format("was already outside its steady state {} before the impact",
                         FormatDuration(impact_.at - *broken_before_)));
      return measured_;
    }
    if (worst_) measured_.result.set_lowest(*worst_);
    if (breach_) {
      measured_.marks.push_back(MakeMark(
          v1::MARK_KIND_SLO_BREACHED, *breach_, v1::MARK_SOURCE_PROMETHEUS_SAMPLE,
          indicator_.name(), fmt::format("not {}", FormatComparison(indicator_.expect()))));
      *measured_.result.mutable_time_to_breach() =
          MakeMeasure(v1::MARK_KIND_FIRST_IMPACT, impact_, v1::MARK_KIND_SLO_BREACHED, *breach_,
                      indicator_.name());
      if (recovered_) {
        ConcludeRecovered();
      } else {
        ConcludeNotRecovered();
      }
    } else {
      ConcludeNotBreached();
    }
    JudgeFloor();
    JudgeDepth();
    SayHowLate();
    return measured_;
  }

 private:
  void Decide(v1::RecoveryOutcome outcome, std::string explanation) {
    measured_.result.set_outcome(outcome);
    measured_.result.set_explanation(std::move(explanation));
  }

  // Samples from here on may show the fault: a scrape is stamped with its start.
  SystemTime Shows() const {
    return impact_.at - std::min(interval_, kLongestScrape) - evidence_.uncertainty -
           impact_.uncertainty;
  }

  // From the impact to recovery; without a breach to the fault's end, without recovery as far as
  // was seen.
  void JudgeDepth() {
    SystemTime until = last_;
    if (recovered_) {
      until = recovered_->at;
    } else if (!breach_ && run_.instants.ended) {
      until = std::min(last_, run_.instants.ended->at);
    }
    if (until < impact_.at) return;
    if (ends_in_gap_ && !recovered_ && !SeenBeyondEnd()) until = run_.now;  // which hides it
    MeasureDepth({indicator_, evidence_.samples, Shows(), impact_.at, until, worst_, longest_step_},
                 measured_.result);
  }

  void SayHowLate() {
    if (evidence_.window.count() <= 0 || measured_.result.explanation().empty()) return;
    const std::string window = FormatDuration(evidence_.window);
    measured_.result.set_explanation(fmt::format(
        "{} (its query looks back over {}: {})", measured_.result.explanation(), window,
        breach_ ? fmt::format("breach and recovery show up to {} late, and shallower", window)
                : "what lasted for less may not show"));
  }

  // Reads the samples once, in order of time.
  void Walk() {
    const SystemTime begin = Shows();
    std::optional<RawSample> before;
    std::optional<SystemTime> last;
    for (const RawSample& sample : evidence_.samples) {
      if (std::isnan(sample.value) || sample.at > run_.now + longest_step_) continue;
      if (sample.at < begin) {
        before = sample;
        continue;
      }
      if (!last) {
        const bool recent = before && begin - before->at <= longest_step_;
        if (recent && !Holds(indicator_.expect(), before->value)) broken_before_ = before->at;
        last = recent ? before->at : begin;
      }
      Step(sample, *last);
      last = sample.at;
    }
    last_ = last.value_or(before ? before->at : impact_.at);
    // The newest sample is a little late, and a slow scrape later still.
    ends_in_gap_ = run_.now - std::max(last_, begin) > longest_step_ + interval_;
  }

  void Step(const RawSample& sample, SystemTime previous) {
    const bool gap = sample.at - previous > longest_step_;
    if (gap) longest_gap_ = std::max(longest_gap_, sample.at - previous);
    if (!worst_ ||
        Badness(indicator_.expect(), sample.value) > Badness(indicator_.expect(), *worst_)) {
      worst_ = sample.value;
    }
    if (indicator_.has_degraded() && !Holds(indicator_.degraded(), sample.value)) {
      floor_broken_ = true;
    }
    const bool expected = Holds(indicator_.expect(), sample.value);
    const bool well = Holds(recovered_means_, sample.value);
    if (!breach_ ? !expected : recovered_ ? !expected && !well : !well) {
      last_bad_ = true;
      if (!breach_) {
        const Nanoseconds early = std::max(Nanoseconds(0), impact_.at - sample.at);
        breach_ = Instant{std::max(sample.at, impact_.at), evidence_.uncertainty + early};
      }
      relapsed_ = relapsed_ || recovered_;
      recovered_.reset();
      good_since_.reset();
      return;
    }
    last_bad_ = false;
    if (!breach_ || recovered_) return;
    if (gap || !good_since_) {
      good_since_ = Instant{sample.at, evidence_.uncertainty};
      before_good_ = previous;
      if (gap) good_since_->uncertainty = std::max(evidence_.uncertainty, sample.at - previous);
    }
    if (sample.at - good_since_->at >= hold_) recovered_ = good_since_;
  }

  bool DataMissing() const { return ends_in_gap_ || (run_.final && !evidence_.status.ok()); }

  std::string WhyMissing() const {
    if (!evidence_.status.ok()) return std::string(evidence_.status.message());
    if (!worst_) return "it has no sample since the impact";
    return fmt::format("its last sample is {} old", FormatDuration(run_.now - last_));
  }

  // Whether what was seen reaches beyond the last fault's end by the hold and two scrapes.
  bool SeenBeyondEnd() const {
    const std::optional<Instant>& ended = run_.instants.ended;
    return ended && last_ >= ended->at + std::max(hold_, 2 * interval_);
  }

  void ConcludeNotBreached() {
    if (longest_gap_.count() > 0) {
      measured_.settled = SeenBeyondEnd();
      if (!run_.final && !measured_.settled) return;
      Decide(v1::RECOVERY_OUTCOME_UNKNOWN,
             fmt::format("had no data for {}, in which it may have been broken",
                         FormatDuration(longest_gap_)));
      return;
    }
    const bool seen = run_.final && !DataMissing() && worst_;
    if (seen && run_.cut_short && !SeenBeyondEnd()) {
      Decide(v1::RECOVERY_OUTCOME_UNKNOWN,
             fmt::format("stayed within its steady state for {}, when the run was cut short",
                         FormatDuration(std::max(Nanoseconds(0), last_ - impact_.at))));
      return;
    }
    if (SeenBeyondEnd() || seen) {
      measured_.settled = true;
      Decide(v1::RECOVERY_OUTCOME_ABSORBED, "stayed within its steady state");
      return;
    }
    if (run_.final) {
      Decide(v1::RECOVERY_OUTCOME_UNKNOWN, "its end is not known: " + WhyMissing());
    }
  }

  void ConcludeRecovered() {
    const Instant recovered = *recovered_;
    const std::string& name = indicator_.name();
    measured_.marks.push_back(MakeMark(v1::MARK_KIND_RECOVERED, recovered,
                                       v1::MARK_SOURCE_PROMETHEUS_SAMPLE, name,
                                       FormatComparison(recovered_means_)));
    *measured_.result.mutable_time_to_recover() =
        MakeMeasure(v1::MARK_KIND_FIRST_IMPACT, impact_, v1::MARK_KIND_RECOVERED, recovered, name);
    const std::optional<Instant>& ended = run_.instants.ended;
    if (ended && recovered.at >= ended->at) {
      *measured_.result.mutable_time_to_recover_from_end() =
          MakeMeasure(v1::MARK_KIND_ENDED, *ended, v1::MARK_KIND_RECOVERED, recovered, name);
    }
    measured_.settled = SeenBeyondEnd();
    if (!run_.final && !ended) return;  // it may still relapse
    const std::string when = "well again " + AfterImpact(recovered, impact_);
    const bool beyond = measured_.settled || (ended && recovered.at >= ended->at);
    if (run_.final && DataMissing() && !beyond && !relapsed_) {
      Decide(v1::RECOVERY_OUTCOME_UNKNOWN,
             when + ", but whether it stayed so is not known: " + WhyMissing());
      return;
    }
    if (relapsed_) {
      Decide(v1::RECOVERY_OUTCOME_RELAPSED, when + " at last, after a relapse");
      return;
    }
    const std::optional<Instant>& responder = run_.instants.responder;
    if (responder && responder->at >= impact_.at && responder->at <= recovered.at) {
      Decide(v1::RECOVERY_OUTCOME_AFTER_RESPONDER,
             fmt::format("{}, {} after a responder acted", when,
                         FormatDuration(recovered.at - responder->at)));
      return;
    }
    if (run_.instants.event) {
      Decide(v1::RECOVERY_OUTCOME_SELF_RECOVERED, when + ", without anyone acting");
      return;
    }
    if (!ended && run_.instants.end_unknown) {
      Decide(v1::RECOVERY_OUTCOME_UNKNOWN,
             when + ", but whether the fault was still on is not known: nobody saw it end");
      return;
    }
    if (!ended) {
      Decide(v1::RECOVERY_OUTCOME_SELF_RECOVERED, when + ", while the fault was still on");
      return;
    }
    const bool after_end = recovered.at >= ended->at - ended->uncertainty - evidence_.uncertainty;
    if (after_end && before_good_ < ended->at && recovered.at - before_good_ > longest_step_) {
      Decide(v1::RECOVERY_OUTCOME_UNKNOWN,
             when + ", but whether before or after the fault's end is hidden by a gap");
    } else if (after_end) {
      Decide(v1::RECOVERY_OUTCOME_AFTER_END,
             fmt::format("{}, {} after the fault's end", when,
                         FormatDuration(std::max(Nanoseconds(0), recovered.at - ended->at))));
    } else {
      Decide(v1::RECOVERY_OUTCOME_SELF_RECOVERED,
             fmt::format("{}, {} before the fault's end", when,
                         FormatDuration(ended->at - recovered.at)));
    }
  }

  void ConcludeNotRecovered() {
    if (good_since_ && !DataMissing()) measured_.holding_until = good_since_->at + hold_;
    if (!run_.final) return;
    if (DataMissing()) {
      Decide(v1::RECOVERY_OUTCOME_UNKNOWN,
             (last_bad_ && ends_in_gap_ ? "vanished while it was broken, so " : "") +
                 ("whether it recovered is not known: " + WhyMissing()));
      return;
    }
    *measured_.result.mutable_time_to_recover() = MakeCensored(
        v1::MARK_KIND_FIRST_IMPACT, impact_, v1::MARK_KIND_RECOVERED, run_.now, indicator_.name());
    if (run_.instants.ended) {
      *measured_.result.mutable_time_to_recover_from_end() =
          MakeCensored(v1::MARK_KIND_ENDED, *run_.instants.ended, v1::MARK_KIND_RECOVERED, run_.now,
                       indicator_.name());
    }
    std::string explanation =
        fmt::format("not well again; watched for {}", FormatDuration(run_.now - impact_.at));
    if (good_since_) {
      explanation =
          fmt::format("well again for only {} of the {} it must hold when the watch ended",
                      FormatDuration(last_ - good_since_->at), FormatDuration(hold_));
    }
    if (run_.cut_short && !relapsed_) {
      Decide(v1::RECOVERY_OUTCOME_UNKNOWN, explanation + "; the run was cut short");
      return;
    }
    Decide(relapsed_ ? v1::RECOVERY_OUTCOME_RELAPSED : v1::RECOVERY_OUTCOME_NOT_RECOVERED,
           relapsed_ ? "relapsed, " + explanation : explanation);
  }

  void JudgeFloor() {
    if (!indicator_.has_degraded()) return;
    const bool decided = (run_.final && !run_.cut_short) || measured_.settled;
    if (floor_broken_) {
      measured_.result.set_floor_held(false);
    } else if (decided && longest_gap_.count() == 0 && !DataMissing() && worst_) {
      measured_.result.set_floor_held(true);
    }
  }

  const v1::Indicator& indicator_;
  const IndicatorEvidence& evidence_;
  const Evidence& run_;
  const v1::Comparison& recovered_means_;
  const Nanoseconds hold_;
  const Nanoseconds interval_;
  const Nanoseconds longest_step_;  // between samples; more is a gap
  Measured<v1::IndicatorResult> measured_;

  Instant impact_;
  SystemTime last_;  // the newest sample
  bool ends_in_gap_ = false;
  Nanoseconds longest_gap_{0};
  std::optional<SystemTime> broken_before_;
  std::optional<Instant> breach_;
  std::optional<Instant> good_since_;  // good from here on, not held long enough yet
  SystemTime before_good_;             // the sample before good_since_
  std::optional<Instant> recovered_;   // good from here on for at least the hold
  bool relapsed_ = false;
  bool floor_broken_ = false;
  bool last_bad_ = false;  // the newest sample
  std::optional<double> worst_;
};

}  // namespace

Measured<v1::IndicatorResult> MeasureIndicator(const v1::Indicator& indicator,
                                               const IndicatorEvidence& evidence,
                                               const Evidence& run) {
  return IndicatorMeasurer(indicator, evidence, run).Run();
}

}  // namespace firedrill::controller
