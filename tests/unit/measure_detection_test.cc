// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/measure_evidence.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

constexpr double kNever = -2000;

struct DetectionCase {
  const char* name;
  std::vector<AlertEpisode> episodes = {};
  std::vector<AlertNotice> notices = {};
  v1::Expectation expect = v1::EXPECTATION_FIRES;
  double within = -1;
  std::string indicator = "++++++++++++++++++++++++++++++++++++";  // from -3 s; for if_breached
  bool answered = true;                                            // the latest question was
  bool final = true;
  v1::DetectionOutcome outcome;
  double detect = -1;
  bool censored = false;
  double notify = -1;
  const char* explanation = "";
  std::vector<TimeSpan> blind = {};
  double cut = -1;  // cut short then; negative: not
};

void PrintTo(const DetectionCase& one, std::ostream* out) { *out << one.name; }

class DetectionTest : public testing::TestWithParam<DetectionCase> {};

TEST_P(DetectionTest, Decides) {
  const DetectionCase& one = GetParam();
  v1::Experiment experiment = OneIndicator();
  v1::Detection& detection = *experiment.add_detection();
  detection.set_alert("ShopSlow");
  (*detection.mutable_labels())["severity"] = "page";
  detection.set_expect(one.expect);
  if (one.within >= 0) {
    *detection.mutable_within() = ToProto(Nanoseconds(std::llround(one.within * 1e9)));
  }
  Evidence evidence;
  evidence.instants.first_impact = Instant{kImpact, milliseconds(5)};
  evidence.instants.ended = Instant{At(20)};
  evidence.now = At(30);
  evidence.final = one.final;
  if (one.cut >= 0) {
    evidence.now = At(one.cut);
    evidence.cut_short = true;
  }
  IndicatorEvidence indicator;
  indicator.samples = Samples(-3, one.indicator);
  indicator.interval = seconds(1);
  evidence.indicators = {indicator};
  AlertEvidence alert;
  if (!one.answered) alert.status = absl::UnavailableError("no connection");
  alert.series = AlertsOf(one.episodes);
  alert.rule = EverySecond();
  alert.notices = one.notices;
  alert.uncertainty = milliseconds(2);
  alert.blind = one.blind;
  evidence.alerts = {alert};
  const Measures measures = MeasureRun(experiment, evidence);
  const v1::AlertResult& result = measures.alerts[0];
  EXPECT_EQ(result.outcome(), one.outcome) << result.DebugString();
  EXPECT_THAT(result.explanation(), HasSubstr(one.explanation));
  ASSERT_EQ(result.has_time_to_detect(), one.detect >= 0) << result.DebugString();
  if (one.detect >= 0) {
    EXPECT_DOUBLE_EQ(Length(result.time_to_detect()), one.detect);
    EXPECT_EQ(result.time_to_detect().censored(), one.censored);
    if (!one.censored) {
      EXPECT_DOUBLE_EQ(Uncertainty(result.time_to_detect()), 0.007);
    }
  }
  ASSERT_EQ(result.has_time_to_notify(), one.notify >= 0) << result.DebugString();
  if (one.notify >= 0) {
    EXPECT_DOUBLE_EQ(Length(result.time_to_notify()), one.notify);
  }
}

const std::string kBreached = "+++++-----++++++++++++++++++++++++++";
const std::string kVanished = "+++++.......++++++++++++++++++++++++";

const DetectionCase kDetections[] = {
    {.name = "Detected",
     .episodes = {Episode(4, 6, 25)},
     .outcome = v1::DETECTION_OUTCOME_DETECTED,
     .detect = 6,
     .explanation = "fired 6s after"},
    {.name = "DetectedAndNotified",
     .episodes = {Episode(4, 6, 25)},
     .notices = {Notice(6, 6.4), Notice(6, 7)},
     .outcome = v1::DETECTION_OUTCOME_DETECTED,
     .detect = 6,
     .notify = 6.4},
    {.name = "DetectedAfterTheEnd",
     .episodes = {Episode(19, 21)},
     .outcome = v1::DETECTION_OUTCOME_DETECTED,
     .detect = 21,
     .explanation = "after the fault had ended"},
    {.name = "SilentWhileBlindIsNotKnown",
     .expect = v1::EXPECTATION_SILENT,
     .outcome = v1::DETECTION_OUTCOME_UNKNOWN,
     .explanation = "Prometheus saw nothing for 5s",
     .blind = {{At(-4), At(-1)}, {At(10), At(15)}}},
    {.name = "SilentThoughBlindBeforeAndAfter",
     .expect = v1::EXPECTATION_SILENT,
     .within = 20,
     .outcome = v1::DETECTION_OUTCOME_SILENT,
     .blind = {{At(-4), At(-1)}, {At(21), At(25)}}},
    {.name = "CutShortBeforeItFiredIsNotKnown",
     .outcome = v1::DETECTION_OUTCOME_UNKNOWN,
     .detect = 3,
     .censored = true,
     .explanation = "did not fire within 3s, when the run was cut short",
     .cut = 3},
    {.name = "CutShortBeforeWithinIsOver",
     .within = 20,
     .outcome = v1::DETECTION_OUTCOME_UNKNOWN,
     .detect = 19,
     .censored = true,
     .explanation = "cut short",
     .cut = 19},
    {.name = "CutShortAfterWithinWasDecided",
     .within = 20,
     .outcome = v1::DETECTION_OUTCOME_MISSED,
     .detect = 25,
     .censored = true,
     .cut = 25},
    {.name = "CutShortAfterItFiredWasDecided",
     .episodes = {Episode(4, 6)},
     .outcome = v1::DETECTION_OUTCOME_DETECTED,
     .detect = 6,
     .cut = 8},
    {.name = "CutShortWhileSilentIsNotKnown",
     .expect = v1::EXPECTATION_SILENT,
     .outcome = v1::DETECTION_OUTCOME_UNKNOWN,
     .explanation = "stayed silent for 3s, when the run was cut short",
     .cut = 3},
    {.name = "CutShortAfterAFalseAlarm",
     .episodes = {Episode(4, 6)},
     .expect = v1::EXPECTATION_SILENT,
     .outcome = v1::DETECTION_OUTCOME_FALSE_ALARM,
     .detect = 6,
     .cut = 8},
    {.name = "OpenUntilItFires",
     .episodes = {Episode(4, kNever)},
     .final = false,
     .outcome = v1::DETECTION_OUTCOME_UNSPECIFIED},
    {.name = "PendingOnlyIsMissed",
     .episodes = {Episode(4, kNever, 8)},
     .outcome = v1::DETECTION_OUTCOME_MISSED,
     .detect = 30,
     .censored = true,
     .explanation = "did not fire"},
    {.name = "Missed",
     .outcome = v1::DETECTION_OUTCOME_MISSED,
     .detect = 30,
     .censored = true,
     .explanation = "watched for 30s"},
    {.name = "MissedIsDecidedOnceWithinIsOver",
     .within = 20,
     .final = false,
     .outcome = v1::DETECTION_OUTCOME_MISSED,
     .detect = 30,
     .censored = true},
    {.name = "NotYetMissedWithoutWithin",
     .final = false,
     .outcome = v1::DETECTION_OUTCOME_UNSPECIFIED},
    {.name = "InTime",
     .episodes = {Episode(4, 6)},
     .within = 6,
     .outcome = v1::DETECTION_OUTCOME_DETECTED,
     .detect = 6},
    {.name = "TooLate",
     .episodes = {Episode(4, 6)},
     .within = 5,
     .outcome = v1::DETECTION_OUTCOME_MISSED,
     .detect = 6,
     .explanation = "later than 5s"},
    {.name = "UnknownWithoutData",
     .answered = false,
     .outcome = v1::DETECTION_OUTCOME_UNKNOWN,
     .explanation = "no connection"},
    {.name = "UnansweredAtLastButSeenToFire",
     .episodes = {Episode(4, 6)},
     .answered = false,
     .outcome = v1::DETECTION_OUTCOME_DETECTED,
     .detect = 6},
    {.name = "WebhookAloneDetects",
     .notices = {Notice(6, 6.4)},
     .answered = false,
     .outcome = v1::DETECTION_OUTCOME_DETECTED,
     .detect = 6,
     .notify = 6.4},
    {.name = "WebhookSoonerThanTheSample",
     .notices = {Notice(29, 29.4)},
     .final = false,
     .outcome = v1::DETECTION_OUTCOME_DETECTED,
     .detect = 29,
     .notify = 29.4},
    {.name = "WebhookWhoseSampleIsOverdueIsOpenUntilTheEnd",
     .notices = {Notice(6, 6.4)},
     .final = false,
     .outcome = v1::DETECTION_OUTCOME_UNSPECIFIED,
     .notify = 6.4},
    {.name = "WebhookThatNoSampleBearsOutIsUnknown",
     .notices = {Notice(6, 6.4)},
     .outcome = v1::DETECTION_OUTCOME_UNKNOWN,
     .notify = 6.4,
     .explanation = "has no sample of it"},
    {.name = "WebhookThatNoSampleBearsOutIsNoFalseAlarm",
     .notices = {Notice(6, 6.4)},
     .expect = v1::EXPECTATION_SILENT,
     .outcome = v1::DETECTION_OUTCOME_UNKNOWN,
     .notify = 6.4,
     .explanation = "has no sample of it"},
    {.name = "WebhookWhilePrometheusWasBlindDetects",
     .notices = {Notice(6, 6.4)},
     .outcome = v1::DETECTION_OUTCOME_DETECTED,
     .detect = 6,
     .notify = 6.4,
     .blind = {{At(5), At(9)}}},
    {.name = "WebhookJustBeforeTheEndDetects",
     .notices = {Notice(29, 29.4)},
     .outcome = v1::DETECTION_OUTCOME_DETECTED,
     .detect = 29,
     .notify = 29.4},
    {.name = "WebhookThatBeginsAfterItCameIsNotCounted",
     .notices = {Notice(12, 6.4)},
     .outcome = v1::DETECTION_OUTCOME_MISSED,
     .detect = 30,
     .censored = true},
    {.name = "RepeatedNoticeOfAnOldAlertIsNotThis",
     .notices = {Notice(-300, 6.4)},
     .outcome = v1::DETECTION_OUTCOME_MISSED,
     .detect = 30,
     .censored = true},
    {.name = "ResolvedNoticeIsNoDetection",
     .notices = {Notice(-300, 6.4, false)},
     .outcome = v1::DETECTION_OUTCOME_MISSED,
     .detect = 30,
     .censored = true},
    {.name = "AlreadyFiring",
     .episodes = {Episode(-9, -7)},
     .notices = {Notice(-7, 1)},
     .outcome = v1::DETECTION_OUTCOME_ALREADY_FIRING,
     .explanation = "firing since 7s"},
    {.name = "AlreadyFiringThoughItFiresAgain",
     .episodes = {Episode(-9, -7, 3), Episode(5, 7)},
     .outcome = v1::DETECTION_OUTCOME_ALREADY_FIRING},
    {.name = "AlreadyPending",
     .episodes = {Episode(-2, 1)},
     .outcome = v1::DETECTION_OUTCOME_ALREADY_FIRING,
     .explanation = "pending since 2s"},
    {.name = "AnotherInstanceWasPending",
     .episodes = {Episode(-2, 1), Episode(3, 5)},
     .outcome = v1::DETECTION_OUTCOME_DETECTED,
     .detect = 5},
    {.name = "ResolvedBeforeTheImpact",
     .episodes = {Episode(-20, -18, 0), Episode(4, 6)},
     .outcome = v1::DETECTION_OUTCOME_DETECTED,
     .detect = 6},
    {.name = "BeforeTheImpactWithinTheClocksUncertainty",
     .episodes = {Episode(-0.006, -0.006)},
     .outcome = v1::DETECTION_OUTCOME_DETECTED,
     .detect = 0},
    {.name = "BeforeTheImpactByMoreThanThat",
     .episodes = {Episode(-0.008, -0.008)},
     .outcome = v1::DETECTION_OUTCOME_ALREADY_FIRING},
    {.name = "FlappingCountsItsFirst",
     .episodes = {Episode(4, 6, 7), Episode(9, 11, 13)},
     .outcome = v1::DETECTION_OUTCOME_DETECTED,
     .detect = 6},
    {.name = "Silent", .expect = v1::EXPECTATION_SILENT, .outcome = v1::DETECTION_OUTCOME_SILENT},
    {.name = "SilentIsOpenUntilTheEnd",
     .expect = v1::EXPECTATION_SILENT,
     .final = false,
     .outcome = v1::DETECTION_OUTCOME_UNSPECIFIED},
    {.name = "SilentUnknown",
     .expect = v1::EXPECTATION_SILENT,
     .answered = false,
     .outcome = v1::DETECTION_OUTCOME_UNKNOWN},
    {.name = "FalseAlarm",
     .episodes = {Episode(4, 6)},
     .expect = v1::EXPECTATION_SILENT,
     .outcome = v1::DETECTION_OUTCOME_FALSE_ALARM,
     .detect = 6},
    {.name = "SilentForAsLongAsAsked",
     .episodes = {Episode(14, 16)},
     .expect = v1::EXPECTATION_SILENT,
     .within = 10,
     .outcome = v1::DETECTION_OUTCOME_SILENT},
    {.name = "IfBreachedAndFired",
     .episodes = {Episode(4, 6)},
     .expect = v1::EXPECTATION_IF_BREACHED,
     .indicator = kBreached,
     .outcome = v1::DETECTION_OUTCOME_DETECTED,
     .detect = 6},
    {.name = "IfBreachedAndMissed",
     .expect = v1::EXPECTATION_IF_BREACHED,
     .indicator = kBreached,
     .outcome = v1::DETECTION_OUTCOME_MISSED,
     .detect = 30,
     .censored = true},
    {.name = "NotBreachedAndSilent",
     .expect = v1::EXPECTATION_IF_BREACHED,
     .outcome = v1::DETECTION_OUTCOME_SILENT},
    {.name = "NotBreachedButFired",
     .episodes = {Episode(4, 6)},
     .expect = v1::EXPECTATION_IF_BREACHED,
     .outcome = v1::DETECTION_OUTCOME_FALSE_ALARM,
     .detect = 6},
    {.name = "WhetherBreachedIsUnknown",
     .expect = v1::EXPECTATION_IF_BREACHED,
     .indicator = kVanished,
     .outcome = v1::DETECTION_OUTCOME_UNKNOWN},
};

INSTANTIATE_TEST_SUITE_P(All, DetectionTest, testing::ValuesIn(kDetections),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace firedrill::controller
