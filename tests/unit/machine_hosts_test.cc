// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/support/time.h"
#include "tests/unit/machine_fixture.h"

// What goes wrong on hosts, and what their agents tell.
namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(MachineTest, AFaultThatFailsEndsTheOthersAndIsInconclusive) {
  Make({"cache1", "cache2"});
  Applied("r1.1");
  v1::InjectionUpdate failed = UpdateOf("r1.2", v1::INJECTION_STATE_FAILED);
  failed.set_error("no such device eth7");
  Tell(failed);
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  EXPECT_THAT(Ends(), ElementsAre("cache1 r1.1"));
  Ended("r1.1", v1::END_REASON_REQUESTED);
  EXPECT_EQ(Verdict(), v1::VERDICT_INCONCLUSIVE);
  EXPECT_THAT(Reason(), HasSubstr("was not applied: no such device eth7"));
}

TEST_F(MachineTest, AFaultWithoutImpactIsInconclusive) {
  Make();
  v1::InjectionUpdate update = UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE);
  *update.mutable_applied_at() = ToProto(clock_.System());
  Tell(update);
  Pass(seconds(60));
  Ended("r1.1");
  EXPECT_EQ(Verdict(), v1::VERDICT_INCONCLUSIVE);
  EXPECT_THAT(Reason(), HasSubstr("showed no impact"));
}

TEST_F(MachineTest, AnEarlyEndAborts) {
  for (const v1::EndReason reason :
       {v1::END_REASON_LEASE, v1::END_REASON_WORKER_DIED, v1::END_REASON_AGENT_STOPPING,
        v1::END_REASON_HOST_CHANGED, v1::END_REASON_REQUESTED}) {
    Make();
    Applied("r1.1");
    Ended("r1.1", reason);
    EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED) << v1::EndReason_Name(reason);
    EXPECT_THAT(Reason(), HasSubstr("ended early"));
  }
}

TEST_F(MachineTest, AnEndThatIsNotProvenStopsTheRunAndIsUnclean) {
  *experiment_.add_method() = MakeStep("second", seconds(10));
  Make();
  Applied("r1.1");
  Pass(seconds(60));
  Ended("r1.1", v1::END_REASON_DURATION, false);
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_UNCLEAN);
  EXPECT_THAT(Reason(), HasSubstr("the filter is still there"));
  EXPECT_EQ(Applies().size(), 1U) << "the second step never began";
}

TEST_F(MachineTest, AnAgentThatDoesNotAnswerToApplyAborts) {
  Make();
  Pass(seconds(19));
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING);
  Pass(seconds(2));
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  EXPECT_THAT(Ends(), Contains("cache1 r1.1"));
  Pass(seconds(31));
  EXPECT_EQ(Verdict(), v1::VERDICT_UNCLEAN) << "nobody knows whether it was applied";
}

TEST_F(MachineTest, AnOverdueFaultIsEndedAndNoLongerRenewed) {
  Make();
  Applied("r1.1");
  Pass(seconds(63));
  EXPECT_THAT(Ends(), Contains("cache1 r1.1"));
  sent_.clear();
  Pass(seconds(10));
  EXPECT_THAT(Renewals(), IsEmpty());
  EXPECT_GT(Ends().size(), 2U) << "asked again and again";
  Ended("r1.1", v1::END_REASON_REQUESTED);
  EXPECT_EQ(Verdict(), v1::VERDICT_PASSED);
}

TEST_F(MachineTest, AnOverdueFaultThatNeverEndsIsUnclean) {
  Make();
  Applied("r1.1");
  Pass(seconds(60 + 2 + 31));
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_UNCLEAN);
}

TEST_F(MachineTest, ALostAgentAbortsAfterItsLease) {
  Make({"cache1", "cache2"});
  Applied("r1.1");
  Applied("r1.2");
  Gone("cache1");
  Pass(seconds(14));
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING) << "the lease still lives";
  Pass(seconds(1));
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  EXPECT_THAT(Ends(), ElementsAre("cache2 r1.2"));
  Ended("r1.2", v1::END_REASON_REQUESTED);
  Pass(seconds(5));
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING) << "waits for the proof";
  Here("cache1");
  Ended("r1.1", v1::END_REASON_LEASE);
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("agent cache1 was lost for 15s"));
}

TEST_F(MachineTest, AnAgentThatIsBackInTimeGoesOn) {
  Make();
  Applied("r1.1");
  Gone("cache1");
  Pass(seconds(10));
  machine_->AgentHolds("cache1", "", {{UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE), {}}});
  Here("cache1");
  Pass(seconds(20));
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING);
}

TEST_F(MachineTest, AHostThatIsRestartedByTheRunIsNotLost) {
  v1::Step* step = experiment_.mutable_method(0);
  step->clear_duration();
  step->mutable_fault()->mutable_reboot();
  Make();
  machine_->AgentHolds("cache1", "first", {});
  Applied("r1.1");
  Gone("cache1");
  Pass(seconds(300));
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING) << machine_->run().state_detail();
  v1::InjectionUpdate told = UpdateOf("r1.1", v1::INJECTION_STATE_ENDED);
  told.set_end_reason(v1::END_REASON_COMPLETED);
  told.set_end_proven(true);
  *told.mutable_ended_at() = ToProto(clock_.System());
  machine_->AgentHolds("cache1", "of the next boot", {{told, milliseconds(1)}});
  Here("cache1");
  Pass(seconds(1));
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(machine_->run().verdict().verdict(), v1::VERDICT_PASSED)
      << machine_->run().verdict().ShortDebugString();
}

TEST_F(MachineTest, AHostThatDoesNotComeBackFromItsRestartAborts) {
  v1::Step* step = experiment_.mutable_method(0);
  step->clear_duration();
  step->mutable_fault()->mutable_reboot();
  Make();
  Applied("r1.1");
  Gone("cache1");
  Pass(seconds(601));
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  EXPECT_THAT(machine_->run().verdict().reasons(),
              Contains(HasSubstr("did not come back within 10m of its host's restart")));
}

TEST_F(MachineTest, SendsAnApplyAgainThatWasLostWithTheStream) {
  Make();
  Gone("cache1");
  sent_.clear();
  machine_->AgentHolds("cache1", "same", {});
  Here("cache1");
  EXPECT_THAT(Applies(), ElementsAre("cache1 r1.1"));
}

TEST_F(MachineTest, AnAgentThatWasStartedAnewAndKnowsNothingIsUnclean) {
  Make();
  machine_->AgentHolds("cache1", "first", {});
  Applied("r1.1");
  machine_->AgentHolds("cache1", "second", {});
  Collect();
  EXPECT_EQ(Verdict(), v1::VERDICT_UNCLEAN);
  EXPECT_THAT(Reason(), HasSubstr("was started anew and does not know it"));
}

TEST_F(MachineTest, AnAgentThatWasStartedAnewWhileApplyingIsNotAskedAgain) {
  Make();
  machine_->AgentHolds("cache1", "first", {});
  Collect();
  sent_.clear();
  machine_->AgentHolds("cache1", "second", {});
  Collect();
  EXPECT_THAT(Applies(), IsEmpty()) << "it may have been applied by the agent that died";
  EXPECT_EQ(Verdict(), v1::VERDICT_UNCLEAN);
}

TEST_F(MachineTest, AnAgentThatWasStartedAnewAndProvesTheEndIsAnAbort) {
  Make();
  machine_->AgentHolds("cache1", "first", {});
  Applied("r1.1");
  v1::InjectionUpdate ended = UpdateOf("r1.1", v1::INJECTION_STATE_ENDED);
  ended.set_end_reason(v1::END_REASON_WORKER_DIED);
  ended.set_end_proven(true);
  machine_->AgentHolds("cache1", "second", {{ended, {}}});
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("its worker died"));
}

TEST_F(MachineTest, TheImpactIsNeverMarkedBeforeTheApplication) {
  Make();
  v1::InjectionUpdate update = UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE);
  *update.mutable_applied_at() = ToProto(clock_.System() + milliseconds(5));
  *update.mutable_first_impact_at() = ToProto(clock_.System() + milliseconds(2));
  Tell(update);
  EXPECT_THAT(Marks(), ElementsAre(v1::MARK_KIND_PLANNED, v1::MARK_KIND_ARMED,
                                   v1::MARK_KIND_APPLIED, v1::MARK_KIND_FIRST_IMPACT));
  EXPECT_EQ(FromProto(Injection("r1.1").applied_at()), clock_.System() + milliseconds(2));
}

TEST_F(MachineTest, ImpactCarriesItsSourceAndUncertainty) {
  Make();
  v1::InjectionUpdate update = UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE);
  *update.mutable_applied_at() = ToProto(clock_.System());
  *update.mutable_first_impact_at() = ToProto(clock_.System());
  *update.mutable_impact_uncertainty() = ToProto(milliseconds(2));
  update.set_impact_from_kernel(true);
  Tell(update);
  const v1::Mark& mark = machine_->run().marks(3);
  EXPECT_EQ(mark.source(), v1::MARK_SOURCE_KERNEL);
  EXPECT_EQ(FromProto(mark.uncertainty()), milliseconds(3)) << "the clock's and the impact's own";
  EXPECT_EQ(mark.host(), "cache1");
}

TEST_F(MachineTest, KeepsWhatHappenedToWhatTheFaultTouched) {
  MakeApplied();
  v1::InjectionUpdate update = UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE);
  v1::InjectionEvent& respawned = *update.add_events();
  respawned.set_name("respawned");
  *respawned.mutable_at() = ToProto(clock_.System());
  respawned.set_from_kernel(true);
  *respawned.mutable_uncertainty() = ToProto(milliseconds(2));
  respawned.set_detail("redis-server, pid 4711 → 4802");
  changed_ = false;
  Tell(update);
  EXPECT_TRUE(changed_) << "what was told is stored";
  ASSERT_EQ(Injection("r1.1").events_size(), 1);
  const v1::InjectionEvent known = Injection("r1.1").events(0);
  EXPECT_EQ(known.name(), "respawned");
  EXPECT_EQ(FromProto(known.at()), clock_.System());
  EXPECT_EQ(FromProto(known.uncertainty()), milliseconds(3)) << "its own and the clocks'";
  // Told again, from a clock that is aligned anew, and with one more.
  *respawned.mutable_at() = ToProto(clock_.System() + seconds(1));
  update.add_events()->set_name("answered");
  Tell(update);
  ASSERT_EQ(Injection("r1.1").events_size(), 2);
  EXPECT_EQ(Injection("r1.1").events(0).SerializeAsString(), known.SerializeAsString());
  EXPECT_EQ(Injection("r1.1").events(1).name(), "answered");
  // An update without them takes none away, and nobody can flood a run with them.
  Ended("r1.1");
  EXPECT_EQ(Injection("r1.1").events_size(), 2);
}

TEST_F(MachineTest, AFloodOfEventsIsCut) {
  MakeApplied();
  v1::InjectionUpdate update = UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE);
  for (int i = 0; i < 5000; ++i) update.add_events()->set_name("respawned");
  Tell(update);
  EXPECT_EQ(Injection("r1.1").events_size(), 100);
}

TEST_F(MachineTest, AKillThatWatchesTheRestartIsNotOverdueMeanwhile) {
  MakeKillApplied(seconds(40));
  Pass(seconds(85));
  EXPECT_THAT(Ends(), IsEmpty()) << "it looks for 40 s from an exit that may be 40 s late";
  Pass(seconds(10));
  EXPECT_THAT(Ends(), ::testing::Not(IsEmpty()));
}

TEST_F(MachineTest, AKillWithGraceWatchesTheRestartOnce) {
  MakeKillApplied(seconds(40), /*grace=*/seconds(20));
  Pass(seconds(65));
  EXPECT_THAT(Ends(), IsEmpty()) << "it looks for 40 s from an exit after at most 20 s";
  Pass(seconds(10));
  EXPECT_THAT(Ends(), ::testing::Not(IsEmpty()));
}

}  // namespace
}  // namespace firedrill::controller
