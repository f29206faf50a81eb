// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/support/time.h"
#include "tests/unit/machine_fixture.h"

// Stop conditions, and aborts in every state.
namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(MachineTest, AStopConditionAborts) {
  StopWhenDown();
  MakeApplied();
  Pass(seconds(5));
  stop_holds_ = true;
  Pass(seconds(2));
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  Ended("r1.1", v1::END_REASON_REQUESTED);
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_EQ(Reason(), "stop condition \"up == 0\" holds");
}

TEST_F(MachineTest, AStopConditionThatIsUnknownForTwoScrapesAborts) {
  StopWhenDown();
  MakeApplied();
  Pass(seconds(2));
  prometheus_ = absl::UnavailableError("connection refused");
  AnswerNext();
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING) << "once is not enough";
  Pass(seconds(2));
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  EXPECT_THAT(Reason(), HasSubstr("unknown for two scrapes: connection refused"));
}

TEST_F(MachineTest, AStopConditionIsUnknownWhereNoAnswerComes) {
  options_.probe_deadline = seconds(3);
  StopWhenDown();
  MakeApplied();
  Pass(seconds(2));
  const SystemTime last = clock_.System();
  prometheus_answers_ = false;
  while (State() == v1::RUN_STATE_INJECTING && clock_.System() < last + seconds(20)) {
    Pass(milliseconds(500));
  }
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  // Asked within a second; the deadline and a scrape later it ought to be known.
  EXPECT_GE(clock_.System() - last, seconds(4));
  EXPECT_LE(clock_.System() - last, seconds(6));
  EXPECT_THAT(Reason(), HasSubstr("is unknown: no answer for 4"));
}

TEST_F(MachineTest, AStopConditionThatHoldsDoesNotWaitForTheAlerts) {
  StopWhenDown();
  ExpectAlert();
  MakeApplied();
  prometheus_answers_ = false;
  while (!outstanding_) Pass(milliseconds(500));
  ProbeAnswer recent;
  recent.stop_conditions = {{absl::OkStatus(), true}};
  machine_->AnswerRecent(recent);
  Collect();
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
}

// The whole answer repeats it: that is no second one.
TEST_F(MachineTest, OneUnknownAnswerIsNotTwo) {
  StopWhenDown();
  MakeApplied();
  prometheus_answers_ = false;
  while (!outstanding_) Pass(milliseconds(500));
  ProbeAnswer recent;
  prometheus_ = absl::UnavailableError("connection refused");
  recent.stop_conditions = {{prometheus_, false}};
  machine_->AnswerRecent(recent);
  Pass(milliseconds(1500));
  Answer();
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING);
}

TEST_F(MachineTest, AStopConditionThatIsKnownAgainInTimeDoesNot) {
  StopWhenDown();
  MakeApplied();
  for (int i = 0; i < 5; ++i) {
    prometheus_ = absl::UnavailableError("connection refused");
    AnswerNext();
    prometheus_ = absl::OkStatus();
    AnswerNext();
  }
  Pass(seconds(2));
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING);
}

TEST_F(MachineTest, AnAbortWhileThePreflightWaitsInjectsNothing) {
  WatchRatio();
  ratio_ = [](SystemTime) { return 0.5; };
  Make();
  Pass(seconds(2));
  ASSERT_EQ(State(), v1::RUN_STATE_PREFLIGHT);
  machine_->Abort("by ana");
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_EQ(Reason(), "by ana");
}

TEST_F(MachineTest, AnAbortWhileApplyingEndsWhatMayHaveBegun) {
  Make();
  ASSERT_EQ(Injection("r1.1").state(), v1::INJECTION_STATE_APPLYING);
  machine_->Abort("by ana");
  Collect();
  EXPECT_THAT(Ends(), ElementsAre("cache1 r1.1"));
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  Ended("r1.1", v1::END_REASON_REQUESTED);
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
}

TEST_F(MachineTest, AnAbortBetweenStepsBeginsNoFurtherOne) {
  v1::Step* step = experiment_.add_method();
  *step = MakeStep("second", seconds(10));
  step->add_after("lose packets");
  *step->mutable_at() = ToProto(seconds(30));
  Make();
  Applied("r1.1");
  Pass(seconds(60));
  Ended("r1.1");
  machine_->Abort("by ana");
  Pass(seconds(40));
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Applies().size(), 1U);
}

TEST_F(MachineTest, AnAbortWhileRecoveringFinishesAtOnce) {
  WatchRatio();
  MakeApplied();
  Pass(seconds(60));
  Ended("r1.1");
  ASSERT_EQ(State(), v1::RUN_STATE_RECOVERING);
  machine_->Abort("by ana");
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
}

TEST_F(MachineTest, ASecondAbortAndOneAfterTheEndChangeNothing) {
  Make();
  Applied("r1.1");
  machine_->Abort("by ana");
  machine_->Abort("by bo");
  Ended("r1.1", v1::END_REASON_REQUESTED);
  machine_->Abort("by cy");
  EXPECT_EQ(machine_->run().verdict().reasons_size(), 1);
  EXPECT_EQ(Reason(), "by ana");
}

TEST_F(MachineTest, AnAbortIsSentAgainUntilTheAgentAnswers) {
  Make();
  Applied("r1.1");
  machine_->Abort("by ana");
  Pass(seconds(7));
  EXPECT_GE(Ends().size(), 3U);
}

}  // namespace
}  // namespace firedrill::controller
