// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/support/time.h"
#include "tests/unit/machine_fixture.h"

// A restart of the controller: nothing but the v1::Run is left.
namespace firedrill::controller {
namespace {

using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;

// Recovering when the controller goes; it is back when `recover_within` is long over.
TEST_F(MachineTest, ARestartWhileRecoveringAsksBeforeItDecides) {
  WatchRatio();
  ExpectAlert();
  experiment_.mutable_detection(0)->clear_within();
  *experiment_.mutable_recover_within() = ToProto(seconds(20));
  MakeApplied();
  const SystemTime impact = clock_.System();
  ratio_ = [impact](SystemTime at) { return at > impact && at < impact + seconds(64) ? 0.5 : 1.0; };
  Pass(seconds(60));
  Ended("r1.1");
  Pass(seconds(2));
  ASSERT_EQ(State(), v1::RUN_STATE_RECOVERING);
  const v1::Run before = machine_->run();
  firing_at_ = clock_.System() + seconds(2);  // meanwhile
  clock_.Advance(seconds(60));
  Resume(before);
  machine_->Tick();
  Collect();
  ASSERT_EQ(State(), v1::RUN_STATE_RECOVERING) << "nobody was asked";
  Pass(seconds(1));
  ASSERT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(machine_->run().detection(), v1::DETECTION_OUTCOME_DETECTED);
  EXPECT_EQ(machine_->run().recovery(), v1::RECOVERY_OUTCOME_AFTER_END);
  EXPECT_THAT(machine_->run().caveats(), ElementsAre(HasSubstr("nobody watched for up to 1m")));
}

TEST_F(MachineTest, ARestartWhileRecoveringDoesNotWaitForPrometheusForEver) {
  WatchRatio();
  ExpectAlert();
  *experiment_.mutable_recover_within() = ToProto(seconds(20));
  experiment_.mutable_detection(0)->clear_within();
  for (const bool refuses : {false, true}) {
    prometheus_answers_ = true;
    prometheus_ = absl::OkStatus();
    ratio_ = [](SystemTime) { return 1.0; };
    Make();
    Pass(seconds(1));
    Applied("r1.1");
    const SystemTime impact = clock_.System();
    ratio_ = [impact](SystemTime at) { return at > impact ? 0.5 : 1.0; };
    Pass(seconds(60));
    Ended("r1.1");
    Pass(seconds(2));
    const v1::Run before = machine_->run();
    clock_.Advance(seconds(60));
    Resume(before);
    prometheus_answers_ = refuses;
    prometheus_ = absl::UnavailableError("connection refused");
    Pass(seconds(29));
    EXPECT_EQ(State(), v1::RUN_STATE_RECOVERING);
    Pass(seconds(2));
    ASSERT_EQ(State(), v1::RUN_STATE_FINISHED);
    EXPECT_EQ(machine_->run().detection(), v1::DETECTION_OUTCOME_UNKNOWN);
    EXPECT_EQ(machine_->run().recovery(), v1::RECOVERY_OUTCOME_UNKNOWN);
    EXPECT_THAT(machine_->run().alerts(0).explanation(),
                HasSubstr(refuses ? "connection refused" : "Prometheus has not answered"));
  }
}

TEST_F(MachineTest, EachRestartIsSaidOfTheRun) {
  WatchRatio();
  MakeApplied();
  Pass(seconds(5));
  for (int restart = 0; restart < 2; ++restart) {
    const v1::Run before = machine_->run();
    clock_.Advance(seconds(7));
    Resume(before);
    Here("cache1");
    Pass(seconds(2));
  }
  EXPECT_THAT(machine_->run().caveats(), ElementsAre(HasSubstr("nobody watched for up to 7"),
                                                     HasSubstr("nobody watched for up to 7")));
}

TEST_F(MachineTest, ARestartInTheMiddleGoesOnWithEveryMark) {
  WatchRatio();
  ExpectAlert();
  *experiment_.add_method() = MakeStep("second", seconds(10));
  MakeApplied();
  const SystemTime impact = clock_.System();
  ratio_ = [impact](SystemTime at) { return at > impact && at < impact + seconds(50) ? 0.5 : 1.0; };
  Pass(seconds(4));
  firing_at_ = clock_.System();
  Pass(seconds(2));
  machine_->Notice({Firing("ShopSlow", *firing_at_)});
  const v1::Run before = machine_->run();
  ASSERT_THAT(Marks(), IsSupersetOf({v1::MARK_KIND_ALERT_FIRING, v1::MARK_KIND_NOTIFIED,
                                     v1::MARK_KIND_SLO_BREACHED}));
  clock_.Advance(seconds(5));
  sent_.clear();
  Resume(before);
  prometheus_ = absl::UnavailableError("connection refused");  // of no help for now
  v1::InjectionUpdate live = UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE);
  *live.mutable_applied_at() = ToProto(clock_.System());  // by a clock not aligned yet
  machine_->AgentHolds("cache1", "", {{live, seconds(1)}});
  Here("cache1");
  Pass(seconds(3));
  EXPECT_THAT(Applies(), IsEmpty()) << "not applied again";
  for (const v1::Mark& mark : before.marks()) {
    bool kept = false;
    for (const v1::Mark& now : machine_->run().marks()) {
      kept |= now.kind() == mark.kind() && now.subject() == mark.subject() &&
              FromProto(now.at()) == FromProto(mark.at());
    }
    EXPECT_TRUE(kept) << mark.DebugString();
  }
  prometheus_ = absl::OkStatus();
  Pass(seconds(46));
  Ended("r1.1");
  EXPECT_THAT(Applies(), ElementsAre("cache1 r1.2"));
  Applied("r1.2");
  Pass(seconds(10));
  Ended("r1.2");
  Pass(seconds(20));
  EXPECT_EQ(Verdict(), v1::VERDICT_PASSED) << machine_->run().verdict().DebugString();
}

TEST_F(MachineTest, ARestartKnowsWhenAFaultShouldHaveEnded) {
  Make();
  Applied("r1.1");
  Pass(seconds(30));
  const v1::Run before = machine_->run();
  Resume(before);
  machine_->AgentHolds("cache1", "", {{UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE), {}}});
  Here("cache1");
  sent_.clear();
  Pass(seconds(30));
  EXPECT_THAT(Ends(), IsEmpty());
  Pass(seconds(4));
  EXPECT_THAT(Ends(), Contains("cache1 r1.1")) << "not another minute from the restart";
}

TEST_F(MachineTest, ARestartKeepsTheTimesOfStepsThatAreStillToCome) {
  v1::Step* step = experiment_.add_method();
  *step = MakeStep("at thirty", seconds(10));
  *step->mutable_at() = ToProto(seconds(30));
  Make();
  Applied("r1.1");
  Pass(seconds(20));
  const v1::Run before = machine_->run();
  Resume(before);
  machine_->AgentHolds("cache1", "", {{UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE), {}}});
  Here("cache1");
  sent_.clear();
  Pass(seconds(9));
  EXPECT_THAT(Applies(), IsEmpty());
  Pass(seconds(2));
  EXPECT_THAT(Applies(), ElementsAre("cache1 r1.2")) << "30 s after the method's start, as before";
}

TEST_F(MachineTest, ARestartWhileEndingGoesOnEnding) {
  Make();
  Applied("r1.1");
  machine_->Abort("by ana");
  const v1::Run before = machine_->run();
  sent_.clear();
  Resume(before);
  Here("cache1");
  EXPECT_THAT(Ends(), ElementsAre("cache1 r1.1"));
  Ended("r1.1", v1::END_REASON_REQUESTED);
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_EQ(Reason(), "by ana");
}

TEST_F(MachineTest, ARestartWithoutItsAgentsAbortsAfterALease) {
  Make();
  Applied("r1.1");
  const v1::Run before = machine_->run();
  Resume(before);
  Pass(seconds(16));
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  Pass(seconds(50));
  EXPECT_EQ(Verdict(), v1::VERDICT_UNCLEAN) << "its end was never proven";
}

}  // namespace
}  // namespace firedrill::controller
