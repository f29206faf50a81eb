// SPDX-License-Identifier: Apache-2.0
#include "controller/statistics/trend.h"

#include <gtest/gtest.h>

#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

using std::chrono::seconds;

v1::Run MakeRun(const std::string& id, v1::DetectionOutcome outcome,
                v1::Expectation expect = v1::EXPECTATION_FIRES) {
  v1::Run run;
  run.set_id(id);
  run.set_state(v1::RUN_STATE_FINISHED);
  run.mutable_experiment()->set_name("cache-loss");
  run.mutable_experiment()->add_method()->mutable_fault()->mutable_packet_loss()->set_percent(33);
  run.mutable_verdict()->set_verdict(v1::VERDICT_PASSED);
  v1::AlertResult& alert = *run.add_alerts();
  alert.mutable_expected()->set_expect(expect);
  alert.set_outcome(outcome);
  run.set_detection(outcome);
  return run;
}

void SetTime(v1::Measure* measure, int value, bool censored = false) {
  *measure->mutable_value() = ToProto(seconds(value));
  measure->set_censored(censored);
}

v1::Run Detected(const std::string& id, int after) {
  v1::Run run = MakeRun(id, v1::DETECTION_OUTCOME_DETECTED);
  SetTime(run.mutable_time_to_detect(), after);
  return run;
}

v1::Run Missed(const std::string& id, int watched) {
  v1::Run run = MakeRun(id, v1::DETECTION_OUTCOME_MISSED);
  SetTime(run.mutable_time_to_detect(), watched, true);
  return run;
}

TEST(TrendTest, UndetectedRunsAreCensoredAtTheTimeWatched) {
  const v1::GetTrendResponse trend =
      TrendOf({Detected("a", 20), Missed("b", 60), Detected("c", 30), Detected("d", 10)});
  ASSERT_EQ(trend.points_size(), 4);
  EXPECT_EQ(trend.points(0).run_id(), "a");
  EXPECT_EQ(trend.points(0).experiment(), "cache-loss");
  EXPECT_EQ(trend.points(0).fault(), "packet_loss");
  EXPECT_TRUE(trend.points(1).time_to_detect().censored());
  EXPECT_EQ(trend.detection().runs(), 4U);
  EXPECT_EQ(trend.detection().events(), 3U);
  EXPECT_EQ(FromProto(trend.detection().quantiles(0).value()), seconds(25));
  EXPECT_FALSE(trend.detection().quantiles(1).has_value());  // the longest was not seen
  EXPECT_EQ(trend.recovery().runs(), 0U);
}

TEST(TrendTest, AbortedRunsAreMarkedAndLeftOut) {
  v1::Run quick = Detected("a", 1);
  quick.mutable_verdict()->set_verdict(v1::VERDICT_ABORTED);
  v1::Run cut = MakeRun("b", v1::DETECTION_OUTCOME_UNSPECIFIED);
  cut.mutable_verdict()->set_verdict(v1::VERDICT_ABORTED);
  const v1::GetTrendResponse trend = TrendOf({quick, cut, Detected("c", 30)});
  EXPECT_TRUE(trend.points(0).aborted());
  EXPECT_TRUE(trend.points(0).has_time_to_detect());  // shown
  EXPECT_TRUE(trend.points(1).aborted());
  EXPECT_EQ(trend.detection().runs(), 1U);
  EXPECT_EQ(trend.detection().aborted(), 2U);
  EXPECT_EQ(trend.recovery().aborted(), 0U);  // no indicator: nothing to recover was watched
  EXPECT_EQ(FromProto(trend.detection().quantiles(0).value()), seconds(30));
}

// An end that is not proven makes an aborted run unclean, a step that was not applied makes one
// inconclusive: their watch was as short.
TEST(TrendTest, RunsThatWereCutShortAreLeftOutWhateverTheirVerdict) {
  std::vector<v1::Run> runs = {Detected("a", 1), Detected("b", 2), Detected("c", 30)};
  runs[0].mutable_verdict()->set_verdict(v1::VERDICT_UNCLEAN);
  runs[0].mutable_evidence()->set_cut_short(true);
  runs[1].mutable_verdict()->set_verdict(v1::VERDICT_INCONCLUSIVE);
  runs[1].mutable_evidence()->set_cut_short(true);
  const v1::GetTrendResponse trend = TrendOf(runs);
  EXPECT_TRUE(trend.points(0).aborted());
  EXPECT_TRUE(trend.points(1).aborted());
  EXPECT_FALSE(trend.points(2).aborted());
  EXPECT_EQ(trend.detection().runs(), 1U);
  EXPECT_EQ(trend.detection().aborted(), 2U);
  EXPECT_EQ(FromProto(trend.detection().quantiles(0).value()), seconds(30));
}

// It was to stay silent whatever its alert is expected to do otherwise.
TEST(TrendTest, AnAbortedRunWithoutAFaultWaitedForNoDetection) {
  v1::Run run = MakeRun("a", v1::DETECTION_OUTCOME_UNSPECIFIED);
  run.mutable_verdict()->set_verdict(v1::VERDICT_ABORTED);
  EXPECT_EQ(TrendOf({run}).detection().aborted(), 1U);
  run.mutable_experiment()->mutable_method(0)->mutable_fault()->mutable_none();
  EXPECT_EQ(TrendOf({run}).detection().aborted(), 0U);
}

TEST(TrendTest, WhatSaysNothingIsShownAndNotCounted) {
  v1::Run silent = MakeRun("c", v1::DETECTION_OUTCOME_SILENT, v1::EXPECTATION_SILENT);
  v1::Run false_alarm = MakeRun("d", v1::DETECTION_OUTCOME_FALSE_ALARM, v1::EXPECTATION_SILENT);
  const v1::GetTrendResponse trend =
      TrendOf({MakeRun("a", v1::DETECTION_OUTCOME_ALREADY_FIRING),
               MakeRun("b", v1::DETECTION_OUTCOME_UNKNOWN), silent, false_alarm});
  ASSERT_EQ(trend.points_size(), 4);
  EXPECT_EQ(trend.points(0).detection(), v1::DETECTION_OUTCOME_ALREADY_FIRING);
  EXPECT_EQ(trend.detection().runs(), 0U);
  for (const v1::TrendPoint& point : trend.points()) EXPECT_FALSE(point.has_time_to_detect());
}

// One alert stayed silent, of the other it is not known: nobody can say that nothing fired.
TEST(TrendTest, ACensoredTimeBesideAnUnknownAlertSaysNothing) {
  v1::Run run = Missed("a", 60);
  run.add_alerts()->set_outcome(v1::DETECTION_OUTCOME_UNKNOWN);
  EXPECT_EQ(TrendOf({run}).detection().runs(), 0U);
  v1::Run fired = Detected("b", 10);
  fired.add_alerts()->set_outcome(v1::DETECTION_OUTCOME_ALREADY_FIRING);
  EXPECT_EQ(TrendOf({fired}).detection().events(), 1U);
  // An alert that was to stay silent had no part in it.
  v1::Run control = Missed("c", 60);
  v1::AlertResult& other = *control.add_alerts();
  other.mutable_expected()->set_expect(v1::EXPECTATION_SILENT);
  other.set_outcome(v1::DETECTION_OUTCOME_UNKNOWN);
  EXPECT_EQ(TrendOf({control}).detection().censored(), 1U);
}

TEST(TrendTest, RecoveryIsCountedWhereSomethingWasLost) {
  v1::Run recovered = Detected("a", 5);
  SetTime(recovered.mutable_time_to_recover(), 40);
  recovered.set_recovery(v1::RECOVERY_OUTCOME_AFTER_END);
  v1::Run lasting = Detected("b", 5);
  SetTime(lasting.mutable_time_to_recover(), 180, true);
  lasting.set_recovery(v1::RECOVERY_OUTCOME_NOT_RECOVERED);
  v1::Run absorbed = Detected("c", 5);
  absorbed.set_recovery(v1::RECOVERY_OUTCOME_ABSORBED);
  const v1::GetTrendResponse trend = TrendOf({recovered, lasting, absorbed});
  EXPECT_EQ(trend.recovery().runs(), 2U);
  EXPECT_EQ(trend.recovery().events(), 1U);
  EXPECT_EQ(trend.detection().events(), 3U);
}

}  // namespace
}  // namespace firedrill::controller
