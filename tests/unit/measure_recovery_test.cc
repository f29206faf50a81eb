// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/measure_evidence.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

struct RecoveryCase {
  const char* name;
  const char* pattern;    // from `from` on
  double from = -3;       // well before the impact
  double ended = 10;      // negative: not ended
  double responder = -1;  // negative: nobody
  bool final = true;
  bool event = false;
  v1::RecoveryOutcome outcome;
  double recover = -1;  // time to recover; negative: absent
  bool censored = false;
  double recover_from_end = -1;  // negative: absent
  int floor = -1;                // 1 held, 0 broken, -1 not said
  const char* explanation = "";
  bool cut_short = false;
  bool end_unknown = false;
};

void PrintTo(const RecoveryCase& one, std::ostream* out) { *out << one.name; }

class RecoveryTest : public testing::TestWithParam<RecoveryCase> {};

TEST_P(RecoveryTest, Decides) {
  const RecoveryCase& one = GetParam();
  Evidence evidence;
  evidence.instants.first_impact = Instant{kImpact, milliseconds(5)};
  if (one.ended >= 0) evidence.instants.ended = Instant{At(one.ended), milliseconds(5)};
  if (one.responder >= 0) evidence.instants.responder = Instant{At(one.responder)};
  evidence.instants.event = one.event;
  evidence.final = one.final;
  evidence.cut_short = one.cut_short;
  evidence.instants.end_unknown = one.end_unknown;
  IndicatorEvidence indicator;
  indicator.samples = Samples(one.from, one.pattern);
  indicator.interval = seconds(1);
  indicator.uncertainty = milliseconds(2);
  evidence.now = At(one.from + static_cast<double>(std::string(one.pattern).size()));
  evidence.indicators = {indicator};
  const Measures measures = MeasureRun(OneIndicator(), evidence);
  const v1::IndicatorResult& result = measures.indicators[0];
  EXPECT_EQ(result.outcome(), one.outcome) << result.DebugString();
  EXPECT_EQ(measures.recovery, one.outcome);
  EXPECT_THAT(result.explanation(), HasSubstr(one.explanation));
  ASSERT_EQ(result.has_time_to_recover(), one.recover >= 0) << result.DebugString();
  if (one.recover >= 0) {
    EXPECT_DOUBLE_EQ(Length(result.time_to_recover()), one.recover);
    EXPECT_EQ(result.time_to_recover().censored(), one.censored);
    EXPECT_EQ(result.time_to_recover().from(), v1::MARK_KIND_FIRST_IMPACT);
    EXPECT_EQ(result.time_to_recover().to(), v1::MARK_KIND_RECOVERED);
  }
  ASSERT_EQ(result.has_time_to_recover_from_end(), one.recover_from_end >= 0)
      << result.DebugString();
  if (one.recover_from_end >= 0) {
    EXPECT_DOUBLE_EQ(Length(result.time_to_recover_from_end()), one.recover_from_end);
  }
  EXPECT_EQ(result.has_floor_held(), one.floor >= 0) << result.DebugString();
  if (one.floor >= 0) {
    EXPECT_EQ(result.floor_held(), one.floor == 1);
  }
  for (const v1::Mark& mark : measures.marks) {
    EXPECT_GE(After(mark.at()), 0) << mark.DebugString();
    EXPECT_EQ(mark.source(), v1::MARK_SOURCE_PROMETHEUS_SAMPLE);
    EXPECT_EQ(mark.subject(), "success");
  }
}

// The impact is at 0, the samples begin at -3 s: the fourth character is the impact's own second.
const RecoveryCase kRecoveries[] = {
    {.name = "CutShortBeforeABreach",
     .pattern = "++++++",
     .ended = 2,
     .outcome = v1::RECOVERY_OUTCOME_UNKNOWN,
     .explanation = "stayed within its steady state for 2s, when the run was cut short",
     .cut_short = true},
    {.name = "CutShortLongAfterTheEnd",
     .pattern = "+++++++++++++++++",
     .ended = 2,
     .outcome = v1::RECOVERY_OUTCOME_ABSORBED,
     .floor = 1,
     .cut_short = true},
    {.name = "CutShortBeforeItRecovered",
     .pattern = "++++----",
     .ended = 3,
     .outcome = v1::RECOVERY_OUTCOME_UNKNOWN,
     .recover = 5,
     .censored = true,
     .recover_from_end = 2,
     .explanation = "watched for 5s; the run was cut short",
     .cut_short = true},
    {.name = "CutShortWhileItBroke",
     .pattern = "++++--ff",
     .ended = 3,
     .outcome = v1::RECOVERY_OUTCOME_UNKNOWN,
     .recover = 5,
     .censored = true,
     .recover_from_end = 2,
     .floor = 0,
     .explanation = "cut short",
     .cut_short = true},
    {.name = "CutShortAfterItRecovered",
     .pattern = "++++--++++",
     .ended = 6,
     .outcome = v1::RECOVERY_OUTCOME_SELF_RECOVERED,
     .recover = 3,
     .cut_short = true},
    {.name = "NobodySawTheEnd",
     .pattern = "++++--++++++++",
     .ended = -1,
     .outcome = v1::RECOVERY_OUTCOME_UNKNOWN,
     .recover = 3,
     .floor = 1,
     .explanation = "well again 3s after the first impact, but whether the fault was still on is "
                    "not known",
     .end_unknown = true},
    {.name = "NobodySawTheEndOfWhatIsAnEvent",
     .pattern = "++++--++++++++",
     .ended = -1,
     .event = true,
     .outcome = v1::RECOVERY_OUTCOME_SELF_RECOVERED,
     .recover = 3,
     .floor = 1,
     .end_unknown = true},
    {.name = "Absorbed",
     .pattern = "+++++++++++++++++",
     .outcome = v1::RECOVERY_OUTCOME_ABSORBED,
     .floor = 1,
     .explanation = "stayed within"},
    {.name = "AbsorbedIsNotDecidedBeforeTheEnd",
     .pattern = "+++++++++++",
     .ended = -1,
     .final = false,
     .outcome = v1::RECOVERY_OUTCOME_UNSPECIFIED},
    {.name = "AfterTheEnd",
     .pattern = "+++++--------+++++",
     .ended = 9.5,
     .outcome = v1::RECOVERY_OUTCOME_AFTER_END,
     .recover = 10,
     .recover_from_end = 0.5,
     .floor = 1,
     .explanation = "500ms after the fault's end"},
    {.name = "SelfRecovered",
     .pattern = "+++++---++++++++++",
     .ended = 9.5,
     .outcome = v1::RECOVERY_OUTCOME_SELF_RECOVERED,
     .recover = 5,
     .floor = 1,
     .explanation = "4.5s before the fault's end"},
    {.name = "SelfRecoveredWhileOn",
     .pattern = "+++++---++++++",
     .ended = -1,
     .outcome = v1::RECOVERY_OUTCOME_SELF_RECOVERED,
     .recover = 5,
     .floor = 1,
     .explanation = "still on"},
    {.name = "OpenWhileOnAndWatched",
     .pattern = "+++++---++++++",
     .ended = -1,
     .final = false,
     .outcome = v1::RECOVERY_OUTCOME_UNSPECIFIED,
     .recover = 5},
    {.name = "EventRecoversByItself",
     .pattern = "+++++---++++++",
     .ended = 0,
     .event = true,
     .outcome = v1::RECOVERY_OUTCOME_SELF_RECOVERED,
     .recover = 5,
     .recover_from_end = 5,
     .floor = 1,
     .explanation = "without anyone acting"},
    {.name = "AfterAResponderActed",
     .pattern = "+++++---++++++++++",
     .ended = 9.5,
     .responder = 3.5,
     .outcome = v1::RECOVERY_OUTCOME_AFTER_RESPONDER,
     .recover = 5,
     .floor = 1,
     .explanation = "1.5s after a responder"},
    {.name = "AResponderTooLateChangedNothing",
     .pattern = "+++++---++++++++++",
     .ended = 9.5,
     .responder = 5.5,
     .outcome = v1::RECOVERY_OUTCOME_SELF_RECOVERED,
     .recover = 5,
     .floor = 1},
    {.name = "NotRecovered",
     .pattern = "+++++-----------",
     .ended = 9.5,
     .outcome = v1::RECOVERY_OUTCOME_NOT_RECOVERED,
     .recover = 13,
     .censored = true,
     .recover_from_end = 3.5,
     .floor = 1,
     .explanation = "watched for 13s"},
    {.name = "WellAgainButNotLongEnough",
     .pattern = "+++++---------++",
     .ended = 9.5,
     .outcome = v1::RECOVERY_OUTCOME_NOT_RECOVERED,
     .recover = 13,
     .censored = true,
     .recover_from_end = 3.5,
     .floor = 1,
     .explanation = "only 1s of the 3s"},
    {.name = "HoldReachedByTheLastSample",
     .pattern = "+++++-------++++",
     .ended = 8.5,
     .outcome = v1::RECOVERY_OUTCOME_AFTER_END,
     .recover = 9,
     .recover_from_end = 0.5,
     .floor = 1},
    {.name = "HoldBrokenBeginsAnew",
     .pattern = "+++++---++-+++++++",
     .ended = 3.5,
     .outcome = v1::RECOVERY_OUTCOME_AFTER_END,
     .recover = 8,
     .recover_from_end = 4.5,
     .floor = 1},
    {.name = "Relapsed",
     .pattern = "+++++---++++++--+++++",
     .ended = 9.5,
     .outcome = v1::RECOVERY_OUTCOME_RELAPSED,
     .recover = 13,
     .recover_from_end = 3.5,
     .floor = 1,
     .explanation = "after a relapse"},
    {.name = "RelapsedForGood",
     .pattern = "+++++---++++++-------",
     .ended = 9.5,
     .outcome = v1::RECOVERY_OUTCOME_RELAPSED,
     .recover = 18,
     .censored = true,
     .recover_from_end = 8.5,
     .floor = 1,
     .explanation = "relapsed"},
    {.name = "FloorBroken",
     .pattern = "+++++--f-----+++++",
     .ended = 9.5,
     .outcome = v1::RECOVERY_OUTCOME_AFTER_END,
     .recover = 10,
     .recover_from_end = 0.5,
     .floor = 0},
    {.name = "GapOfTwoScrapesIsNoGap",
     .pattern = "+++++-------+.++.+++",
     .ended = 8.5,
     .outcome = v1::RECOVERY_OUTCOME_AFTER_END,
     .recover = 9,
     .recover_from_end = 0.5,
     .floor = 1},
    {.name = "LongerGapBeginsTheHoldAnew",
     .pattern = "+++++-----++..++++++",
     .ended = 3.5,
     .outcome = v1::RECOVERY_OUTCOME_AFTER_END,
     .recover = 11,
     .recover_from_end = 7.5},
    {.name = "NanIsAGap",
     .pattern = "+++++-----++nn++++++",
     .ended = 3.5,
     .outcome = v1::RECOVERY_OUTCOME_AFTER_END,
     .recover = 11,
     .recover_from_end = 7.5},
    {.name = "GapOverTheEndHidesOnWhichSide",
     .pattern = "+++++---....++++++",
     .ended = 6.5,
     .outcome = v1::RECOVERY_OUTCOME_UNKNOWN,
     .recover = 9,
     .recover_from_end = 2.5,
     .explanation = "hidden by a gap"},
    {.name = "WellAgainAndThenVanished",
     .pattern = "+++++---+++++..........",
     .ended = 15.5,
     .outcome = v1::RECOVERY_OUTCOME_UNKNOWN,
     .recover = 5,
     .explanation = "whether it stayed so is not known"},
    {.name = "OverBeforeTheFirstSampleSinceTheImpact",
     .pattern = "+++++",
     .from = -6.5,
     .ended = 0.2,
     .outcome = v1::RECOVERY_OUTCOME_UNKNOWN,
     .explanation = "no sample since the impact"},
    {.name = "VanishedIndicatorIsNotWell",
     .pattern = "+++++............",
     .ended = 9.5,
     .outcome = v1::RECOVERY_OUTCOME_UNKNOWN,
     .explanation = "is 13s old"},
    {.name = "VanishedAndBack",
     .pattern = "+++++......+++++++++",
     .ended = 9.5,
     .outcome = v1::RECOVERY_OUTCOME_UNKNOWN,
     .explanation = "may have been broken"},
    {.name = "VanishedWhileBroken",
     .pattern = "+++++--..........",
     .ended = 9.5,
     .outcome = v1::RECOVERY_OUTCOME_UNKNOWN,
     .explanation = "not known"},
    {.name = "NoSamplesAtAll",
     .pattern = "................",
     .ended = 9.5,
     .outcome = v1::RECOVERY_OUTCOME_UNKNOWN},
    {.name = "NoSamplesSinceTheImpact",
     .pattern = "++.................",
     .ended = 9.5,
     .outcome = v1::RECOVERY_OUTCOME_UNKNOWN},
    {.name = "AlreadyBroken",
     .pattern = "+----+++++++++++++",
     .ended = 9.5,
     .outcome = v1::RECOVERY_OUTCOME_UNKNOWN,
     .explanation = "already outside"},
    {.name = "StampedBeforeTheImpactByASlowScrape",
     .pattern = "+++---++++++++++++",
     .from = -3.5,
     .ended = 9.5,
     .outcome = v1::RECOVERY_OUTCOME_SELF_RECOVERED,
     .recover = 2.5,
     .floor = 1},
    {.name = "BreachInTheImpactsOwnInstant",
     .pattern = "+++---++++++++++++",
     .ended = 9.5,
     .outcome = v1::RECOVERY_OUTCOME_SELF_RECOVERED,
     .recover = 3,
     .floor = 1},
};

INSTANTIATE_TEST_SUITE_P(All, RecoveryTest, testing::ValuesIn(kRecoveries),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace firedrill::controller
