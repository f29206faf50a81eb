// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>

#include "proto/support/time.h"
#include "tests/unit/machine_fixture.h"

// A run from its plan to its verdict: what is waited for, in which order steps go.
namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;

TEST_F(MachineTest, GoesFromPlanToVerdict) {
  WatchRatio();
  ExpectAlert();
  Make();
  Pass(seconds(1));
  ASSERT_EQ(State(), v1::RUN_STATE_INJECTING) << machine_->run().state_detail();
  EXPECT_THAT(Applies(), ElementsAre("cache1 r1.1"));
  EXPECT_EQ(sent_[0].message.apply().run_id(), "r1");
  EXPECT_EQ(FromProto(sent_[0].message.apply().lease()), seconds(15));
  Applied("r1.1");
  const SystemTime impact = clock_.System();
  ratio_ = [impact](SystemTime at) { return at > impact && at < impact + seconds(62) ? 0.5 : 1.0; };
  Pass(seconds(4));
  firing_at_ = clock_.System();
  Pass(seconds(56));
  Ended("r1.1");
  EXPECT_EQ(State(), v1::RUN_STATE_RECOVERING);
  Pass(seconds(15));
  ASSERT_EQ(State(), v1::RUN_STATE_FINISHED) << machine_->run().DebugString();
  EXPECT_EQ(Verdict(), v1::VERDICT_PASSED) << machine_->run().verdict().DebugString();
  EXPECT_EQ(machine_->run().detection(), v1::DETECTION_OUTCOME_DETECTED);
  EXPECT_EQ(machine_->run().recovery(), v1::RECOVERY_OUTCOME_AFTER_END);
  EXPECT_THAT(Marks(), IsSupersetOf({v1::MARK_KIND_PLANNED, v1::MARK_KIND_ARMED,
                                     v1::MARK_KIND_APPLIED, v1::MARK_KIND_FIRST_IMPACT,
                                     v1::MARK_KIND_SLO_BREACHED, v1::MARK_KIND_ALERT_FIRING,
                                     v1::MARK_KIND_ENDED, v1::MARK_KIND_RECOVERED}));
  for (int i = 1; i < machine_->run().marks_size(); ++i) {
    EXPECT_LE(FromProto(machine_->run().marks(i - 1).at()),
              FromProto(machine_->run().marks(i).at()));
  }
  ASSERT_EQ(machine_->run().series_size(), 3) << "the indicator's, the alert's, its rule's";
  for (const v1::Series& series : machine_->run().series()) {
    EXPECT_EQ(new_samples_[series.name()], series.samples_size()) << "each sample stored once";
    EXPECT_GT(new_samples_[series.name()], series.name() == "ALERTS/0/rule" ? 10 : 60);
  }
  const v1::Run measured = machine_->run();
  v1::Run again = measured;
  ASSERT_TRUE(MeasureAgain(again).ok());
  EXPECT_EQ(again.SerializeAsString(), measured.SerializeAsString());
}

TEST_F(MachineTest, TheMomentOfInjectionIsVariedAtRandomAndRecorded) {
  ExpectAlert();
  options_.random_wait_most = seconds(15);
  evaluation_interval_ = seconds(10);
  std::set<std::int64_t> waits;
  for (int i = 0; i < 20; ++i) {
    sent_.clear();
    clock_.Advance(milliseconds(7));  // another instant of creation
    Make();
    while (State() == v1::RUN_STATE_PREFLIGHT) Pass(milliseconds(500));
    const SystemTime armed = clock_.System();
    const Nanoseconds wait = FromProto(machine_->run().random_wait());
    EXPECT_LE(wait, seconds(10)) << "of scrape and evaluation interval the longer one";
    waits.insert(wait.count());
    while (Applies().empty()) Pass(milliseconds(500));
    EXPECT_GE(clock_.System() - armed, wait);
    EXPECT_LE(clock_.System() - armed, wait + seconds(1));
  }
  EXPECT_GT(waits.size(), 15U);
  EXPECT_LT(*waits.begin(), 5'000'000'000);
  EXPECT_GT(*waits.rbegin(), 5'000'000'000);
}

TEST_F(MachineTest, ARestartedControllerDoesNotWaitAtRandomAgain) {
  ExpectAlert();
  options_.random_wait_most = seconds(15);
  evaluation_interval_ = seconds(15);
  Make();
  while (State() == v1::RUN_STATE_PREFLIGHT) Pass(milliseconds(500));
  const v1::Run before = machine_->run();
  ASSERT_GT(FromProto(before.random_wait()), seconds(1)) << "of this run's id";
  EXPECT_THAT(before.state_detail(), HasSubstr("at random"));
  sent_.clear();
  clock_.Advance(FromProto(before.random_wait()));
  Resume(before);
  Here("cache1");
  EXPECT_THAT(Applies(), ElementsAre("cache1 r1.1"));
  EXPECT_EQ(FromProto(machine_->run().random_wait()), FromProto(before.random_wait()));
}

TEST_F(MachineTest, NothingIsWaitedForAtRandomWhereNothingIsDetected) {
  WatchRatio();
  options_.random_wait_most = seconds(15);
  Make();
  Pass(seconds(1));
  EXPECT_THAT(Applies(), ElementsAre("cache1 r1.1"));
  EXPECT_EQ(FromProto(machine_->run().random_wait()), Nanoseconds(0));
}

TEST_F(MachineTest, AnAgentsClockThatWasSetIsSaidOfTheRun) {
  Make();
  Applied("r1.1");
  machine_->AgentClock("cache1", {milliseconds(5), milliseconds(2)});
  Pass(seconds(2));
  machine_->AgentClock("cache1", {milliseconds(9), milliseconds(2)});
  EXPECT_THAT(machine_->run().caveats(), IsEmpty()) << "within both ±";
  machine_->AgentClock("cache1", {milliseconds(9) - seconds(30), milliseconds(2)});
  EXPECT_THAT(machine_->run().caveats(),
              ElementsAre(HasSubstr("the clock of cache1 was set forward by 30s")));
  machine_->AgentClock("other", {milliseconds(5), milliseconds(2)});
  machine_->AgentClock("cache1", {milliseconds(9) - seconds(30), milliseconds(2)});
  EXPECT_EQ(machine_->run().caveats_size(), 1);
}

TEST_F(MachineTest, TheRulesExpressionIsAskedForUntilTheAlertIsActive) {
  ExpectAlert();
  Make();
  Pass(seconds(3));
  EXPECT_EQ(truth_asked_, 0) << "not before there is anything to tell";
  Applied("r1.1");
  const SystemTime impact = clock_.System();
  Pass(seconds(3));
  EXPECT_EQ(truth_asked_, 0);
  firing_at_ = clock_.System();
  Pass(seconds(2));
  EXPECT_GT(truth_asked_, 0);
  EXPECT_LT(truth_since_, impact - seconds(3));
  Pass(seconds(2));
  const int asked = truth_asked_;
  Pass(seconds(20));
  EXPECT_EQ(truth_asked_, asked) << "not at every question";
  ASSERT_EQ(machine_->run().evidence().alerts_size(), 1);
  EXPECT_EQ(machine_->run().evidence().alerts(0).truth_series(), "ALERTS/0/rule");
}

TEST_F(MachineTest, OfAnAlertThatNeverFiredTheRulesExpressionIsAskedForAtTheEnd) {
  ExpectAlert();
  MakeApplied();
  Pass(seconds(60));
  EXPECT_EQ(truth_asked_, 0);
  Ended("r1.1");
  Pass(seconds(5));
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_GT(truth_asked_, 0);
  EXPECT_FALSE(machine_->run().evidence().alerts(0).truth_series().empty());
}

TEST_F(MachineTest, StepsFollowOneAnotherUnlessTheySayOtherwise) {
  *experiment_.add_method() = MakeStep("second", seconds(10));
  v1::Step* parallel = experiment_.add_method();
  *parallel = MakeStep("at ten", seconds(10));
  *parallel->mutable_at() = ToProto(seconds(10));
  v1::Step* after = experiment_.add_method();
  *after = MakeStep("after both", seconds(10));
  after->add_after("second");
  after->add_after("at ten");
  *after->mutable_at() = ToProto(seconds(3));
  Make();
  Pass(seconds(1));
  EXPECT_THAT(Applies(), ElementsAre("cache1 r1.1"));
  Applied("r1.1");
  Pass(seconds(10));
  EXPECT_THAT(Applies(), ElementsAre("cache1 r1.1", "cache1 r1.3")) << "10 s after the start";
  Applied("r1.3");
  Pass(seconds(10));
  Ended("r1.3");
  Pass(seconds(40));
  EXPECT_EQ(Applies().size(), 2U);
  Ended("r1.1");
  EXPECT_THAT(Applies(), Contains("cache1 r1.2")) << "at once, after the step before it";
  Applied("r1.2");
  Pass(seconds(10));
  Ended("r1.2");
  Pass(seconds(2));
  EXPECT_EQ(Applies().size(), 3U);
  Pass(seconds(2));
  EXPECT_THAT(Applies(), Contains("cache1 r1.4")) << "3 s after both had ended";
  Applied("r1.4");
  Pass(seconds(10));
  Ended("r1.4");
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_PASSED);
}

TEST_F(MachineTest, RenewsTheLeasesOfWhatLives) {
  Make({"cache1", "cache2"});
  Applied("r1.1");
  Applied("r1.2");
  Pass(seconds(6));
  EXPECT_THAT(Renewals(), ElementsAre("cache1 r1.1", "cache2 r1.2"));
  sent_.clear();
  Ended("r1.1", v1::END_REASON_DURATION);
  Pass(seconds(5));
  EXPECT_THAT(Renewals(), ElementsAre("cache2 r1.2"));
}

TEST_F(MachineTest, AnEventThatIsOverByItselfEndsItsStep) {
  experiment_.mutable_method(0)->clear_duration();
  experiment_.mutable_method(0)->mutable_fault()->mutable_process_kill();
  Make();
  Applied("r1.1");
  Ended("r1.1", v1::END_REASON_COMPLETED);
  EXPECT_EQ(Verdict(), v1::VERDICT_PASSED);
}

TEST_F(MachineTest, EveryChangeIsReportedAndNothingElse) {
  Make();
  Applied("r1.1");
  Collect();
  changed_ = false;
  Pass(seconds(4));
  EXPECT_FALSE(changed_) << "a tick without news is not written to disk";
  machine_->Abort("by ana");
  Collect();
  EXPECT_TRUE(changed_);
}

}  // namespace
}  // namespace firedrill::controller
