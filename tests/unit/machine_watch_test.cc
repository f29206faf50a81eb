// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proto/support/time.h"
#include "tests/unit/machine_fixture.h"

// What is watched until a run has recovered, and what is not known of it.
namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

TEST_F(MachineTest, AMarkThatWasToldDoesNotMoveWithTheAlignmentOfClocks) {
  WatchRatio();
  ExpectAlert();
  MakeApplied();
  const SystemTime impact = clock_.System();
  ratio_ = [impact](SystemTime at) { return at > impact ? 0.5 : 1.0; };
  firing_at_ = clock_.System() + seconds(1);
  Pass(seconds(3));
  const v1::Run before = machine_->run();
  ASSERT_THAT(Marks(), IsSupersetOf({v1::MARK_KIND_SLO_BREACHED, v1::MARK_KIND_ALERT_FIRING}));
  for (const int moved : {1, -1, 3, -4}) {
    alignment_ = milliseconds(moved);
    Pass(seconds(2));
  }
  ASSERT_EQ(machine_->run().marks_size(), before.marks_size());
  for (int i = 0; i < before.marks_size(); ++i) {
    v1::Mark now = machine_->run().marks(i);
    EXPECT_GE(FromProto(now.uncertainty()), FromProto(before.marks(i).uncertainty()))
        << "no more precise than the worst of the answers that brought samples";
    *now.mutable_uncertainty() = before.marks(i).uncertainty();
    EXPECT_EQ(now.SerializeAsString(), before.marks(i).SerializeAsString());
  }
  for (int i = 1; i < machine_->run().series(0).samples_size(); ++i) {
    EXPECT_GT(FromProto(machine_->run().series(0).samples(i).at()) -
                  FromProto(machine_->run().series(0).samples(i - 1).at()),
              milliseconds(900))
        << "no sample twice";
  }
}

TEST_F(MachineTest, AMarkThatWasToldStaysThoughPrometheusLosesItsStorage) {
  ExpectAlert();
  MakeApplied();
  Pass(seconds(3));
  firing_at_ = clock_.System();
  Pass(seconds(3));
  ASSERT_THAT(Marks(), Contains(v1::MARK_KIND_ALERT_FIRING));
  firing_at_.reset();
  Pass(seconds(3));
  EXPECT_THAT(Marks(), Contains(v1::MARK_KIND_ALERT_FIRING));
  EXPECT_EQ(machine_->run().detection(), v1::DETECTION_OUTCOME_DETECTED);
}

TEST_F(MachineTest, AClockThatWasSetIsSaidOfTheRun) {
  ExpectAlert();
  WatchRatio();
  Make();
  Pass(seconds(6));
  Applied("r1.1");
  Pass(seconds(3));
  clock_jumps_ = true;
  Pass(seconds(3));
  const v1::Run stored = machine_->run();
  Resume(stored);  // also by a controller that was started anew
  Here("cache1");
  Pass(seconds(55));
  Ended("r1.1");
  Pass(seconds(200));
  ASSERT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_THAT(machine_->run().caveats(), ElementsAre(HasSubstr("Prometheus' clock was set")));
}

TEST_F(MachineTest, WatchesNoLongerThanItWasTold) {
  WatchRatio();
  *experiment_.mutable_recover_within() = ToProto(seconds(30));
  MakeApplied();
  const SystemTime impact = clock_.System();
  ratio_ = [impact](SystemTime at) { return at > impact ? 0.5 : 1.0; };
  Pass(seconds(60));
  Ended("r1.1");
  Pass(seconds(29));
  EXPECT_EQ(State(), v1::RUN_STATE_RECOVERING);
  Pass(seconds(5));
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_FAILED);
  EXPECT_THAT(Reason(), HasSubstr("ratio did not recover"));
}

TEST_F(MachineTest, AWebhookMarksTheNotification) {
  ExpectAlert();
  MakeApplied();
  Pass(seconds(3));
  AlertNotice notice = Firing("ShopSlow", clock_.System() - milliseconds(20));
  notice.fingerprint = "f1";
  machine_->Notice({notice});
  Collect();
  EXPECT_THAT(Marks(), Contains(v1::MARK_KIND_NOTIFIED));
  EXPECT_TRUE(outstanding_.has_value()) << "asks for the raw samples at once";
}

// One evaluation without a sample is a gap of two intervals of the rule's group, whatever the
// global ones are.
TEST_F(MachineTest, AlertsAreAskedForOverSeveralEvaluationsOfTheirRule) {
  ExpectAlert();
  *experiment_.mutable_method(0)->mutable_duration() = ToProto(seconds(600));
  evaluation_interval_ = seconds(60);
  MakeApplied();
  Pass(seconds(590));
  prometheus_answers_ = false;
  while (!outstanding_) Pass(milliseconds(500));
  EXPECT_LE(outstanding_->alerts.since, clock_.System() - 4 * seconds(60));
  EXPECT_GE(outstanding_->alerts.since, clock_.System() - 5 * seconds(60)) << "not all anew";
  Pass(seconds(5));
  prometheus_answers_ = true;
  evaluation_interval_ = std::chrono::hours(1);
  Answer();
  prometheus_answers_ = false;
  while (!outstanding_) Pass(milliseconds(500));
  EXPECT_GE(outstanding_->alerts.since, clock_.System() - seconds(30 * 60));
}

// Its labels may have been changed on the way: it waits for the samples, also over a restart.
TEST_F(MachineTest, ANotificationOfNoKnownAlertIsStored) {
  ExpectAlert();
  MakeApplied();
  Pass(seconds(3));
  changed_ = false;
  machine_->Notice({Firing("RenamedOnTheWay", clock_.System())});
  Collect();
  EXPECT_TRUE(changed_);
  EXPECT_EQ(machine_->run().evidence().waiting_size(), 1);
}

TEST_F(MachineTest, AFloodOfNoticesIsBounded) {
  ExpectAlert();
  MakeApplied();
  std::vector<AlertNotice> flood;
  for (int i = 0; i < 3000; ++i) {
    AlertNotice notice = Firing("ShopSlow", clock_.System() + milliseconds(5));
    notice.received_at = notice.starts_at;
    notice.fingerprint = std::to_string(i);
    flood.push_back(notice);
  }
  machine_->Notice({flood.begin(), flood.begin() + 2000});
  Pass(seconds(1));
  EXPECT_THAT(Marks(), Contains(v1::MARK_KIND_NOTIFIED));
  ASSERT_FALSE(outstanding_.has_value());
  machine_->Notice({flood.begin() + 2000, flood.end()});
  Collect();
  EXPECT_FALSE(outstanding_.has_value()) << "nothing more is taken";
}

TEST_F(MachineTest, ALateProofIsMarked) {
  Make({"cache1", "cache2"});
  machine_->AgentHolds("cache1", "first", {});
  Applied("r1.1");
  Applied("r1.2");
  machine_->AgentHolds("cache1", "second", {});
  Collect();
  ASSERT_EQ(State(), v1::RUN_STATE_ENDING) << "cache2 is still to end";
  ASSERT_FALSE(Injection("r1.1").end_proven());
  Ended("r1.1", v1::END_REASON_WORKER_DIED);
  EXPECT_TRUE(Injection("r1.1").end_proven());
  EXPECT_TRUE(Injection("r1.1").has_ended_at());
  EXPECT_THAT(Marks(), Contains(v1::MARK_KIND_ENDED));
  Ended("r1.2", v1::END_REASON_REQUESTED);
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
}

TEST_F(MachineTest, AWallClockThatIsSteppedBackDoesNotHoldTheRun) {
  WatchRatio();
  *experiment_.mutable_recover_within() = ToProto(seconds(10));
  Make();
  Pass(seconds(6));
  Applied("r1.1");
  const SystemTime impact = clock_.System();
  ratio_ = [impact](SystemTime at) { return at > impact && at < impact + seconds(67) ? 0.5 : 1.0; };
  Pass(seconds(60));
  Ended("r1.1");
  Pass(seconds(9));
  ASSERT_EQ(State(), v1::RUN_STATE_RECOVERING);
  prometheus_answers_ = false;
  clock_.StepSystem(-std::chrono::hours(1));
  Pass(seconds(20));
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
}

TEST_F(MachineTest, PrometheusLostDuringTheRunIsInconclusiveNotPassed) {
  WatchRatio();
  *experiment_.mutable_recover_within() = ToProto(seconds(10));
  MakeApplied();
  Pass(seconds(5));
  prometheus_ = absl::UnavailableError("connection refused");
  Pass(seconds(55));
  Ended("r1.1");
  Pass(seconds(15));
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_INCONCLUSIVE) << machine_->run().verdict().DebugString();
}

// Seconds after the impact nobody knows yet what would have come.
TEST_F(MachineTest, ARunThatIsCutShortDecidesNothingThatItHasNotSeen) {
  WatchRatio();
  ExpectAlert();
  MakeApplied();
  const SystemTime impact = clock_.System();
  ratio_ = [impact](SystemTime at) { return at > impact ? 0.5 : 1.0; };
  Pass(seconds(3));
  machine_->Abort("by ana");
  Ended("r1.1", v1::END_REASON_REQUESTED);
  ASSERT_EQ(State(), v1::RUN_STATE_FINISHED);
  const v1::Run& run = machine_->run();
  EXPECT_TRUE(run.evidence().cut_short());
  EXPECT_EQ(run.detection(), v1::DETECTION_OUTCOME_UNKNOWN);
  EXPECT_EQ(run.recovery(), v1::RECOVERY_OUTCOME_UNKNOWN);
  EXPECT_TRUE(run.time_to_detect().censored());
  EXPECT_TRUE(run.time_to_recover().censored());
  EXPECT_THAT(run.alerts(0).explanation(), HasSubstr("cut short"));
  EXPECT_THAT(run.indicators(0).explanation(), HasSubstr("cut short"));
}

TEST_F(MachineTest, AStepThatWasNotAppliedCutsTheRunShort) {
  ExpectAlert();
  MakeApplied({"cache1", "cache2"});
  Pass(seconds(2));
  v1::InjectionUpdate failed = UpdateOf("r1.2", v1::INJECTION_STATE_FAILED);
  failed.set_error("no such device");
  Tell(failed);
  Ended("r1.1", v1::END_REASON_REQUESTED);
  ASSERT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_INCONCLUSIVE);
  EXPECT_TRUE(machine_->run().evidence().cut_short());
  EXPECT_EQ(machine_->run().detection(), v1::DETECTION_OUTCOME_UNKNOWN);
}

// Of cache1's the agent forgot all, so it is not known until when it was on.
TEST_F(MachineTest, RecoveryIsOnNoSideOfAnEndThatNobodyTold) {
  WatchRatio();
  Make({"cache1", "cache2"});
  machine_->AgentHolds("cache1", "first", {});
  Pass(seconds(1));
  Applied("r1.1");
  Applied("r1.2");
  const SystemTime impact = clock_.System();
  ratio_ = [impact](SystemTime at) { return at > impact && at < impact + seconds(5) ? 0.5 : 1.0; };
  Pass(seconds(20));
  machine_->AgentHolds("cache1", "second", {});
  Collect();
  Ended("r1.2", v1::END_REASON_REQUESTED);
  ASSERT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_UNCLEAN);
  const v1::IndicatorResult& ratio = machine_->run().indicators(0);
  EXPECT_EQ(ratio.outcome(), v1::RECOVERY_OUTCOME_UNKNOWN) << ratio.explanation();
  EXPECT_THAT(ratio.explanation(), HasSubstr("nobody saw it end"));
  EXPECT_TRUE(ratio.has_time_to_recover());
}

}  // namespace
}  // namespace firedrill::controller
