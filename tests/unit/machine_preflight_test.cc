// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/support/time.h"
#include "tests/unit/machine_fixture.h"

// Preflight: each reason by itself keeps the run from beginning.
namespace firedrill::controller {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(MachineTest, BeginsNothingWhileTheSteadyStateIsBroken) {
  WatchRatio();
  ratio_ = [](SystemTime) { return 0.5; };
  Make();
  Pass(seconds(10));
  EXPECT_EQ(State(), v1::RUN_STATE_PREFLIGHT);
  EXPECT_THAT(machine_->run().state_detail(), HasSubstr("ratio is >= 0.99 (it is 0.5)"));
  Pass(seconds(15));
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("preflight: waited in vain until ratio is >= 0.99"));
  EXPECT_THAT(Applies(), IsEmpty());
  EXPECT_EQ(Injection("r1.1").state(), v1::INJECTION_STATE_FAILED);
}

TEST_F(MachineTest, WaitsUntilTheSteadyStateHasHeldForLongEnough) {
  WatchRatio();
  const SystemTime good_from = clock_.System() + seconds(3);
  ratio_ = [good_from](SystemTime at) { return at >= good_from ? 1.0 : 0.5; };
  Make();
  Pass(seconds(6));
  EXPECT_EQ(State(), v1::RUN_STATE_PREFLIGHT);
  EXPECT_THAT(machine_->run().state_detail(), HasSubstr("for 5s"));
  Pass(seconds(3));
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING);
}

TEST_F(MachineTest, BeginsNothingWhileTheAlertIsFiring) {
  ExpectAlert();
  firing_at_ = clock_.System() - seconds(60);
  Make();
  Pass(seconds(16));
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("alert ShopSlow is not firing already"));
  EXPECT_THAT(Applies(), IsEmpty());
}

TEST_F(MachineTest, BeginsNothingWhenNoRuleCouldRaiseTheAlert) {
  ExpectAlert();
  rule_hint_ = "did you mean ShopSlower?";
  Make();
  Pass(seconds(2));
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("needed that Prometheus has a rule for alert ShopSlow (it has "
                                  "none; did you mean ShopSlower?)"));
  EXPECT_THAT(Applies(), IsEmpty());
}

TEST_F(MachineTest, DoesNotWaitForAQueryThatPrometheusRefuses) {
  WatchRatio();
  prometheus_ = absl::InvalidArgumentError("1:7: parse error: unclosed left parenthesis");
  Make();
  Pass(seconds(2));
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("needed that ratio is >= 0.99 (unknown: "));
  EXPECT_THAT(Reason(), HasSubstr("unclosed left parenthesis"));
  EXPECT_THAT(Applies(), IsEmpty());
}

TEST_F(MachineTest, BeginsNothingWhileAStopConditionHoldsOrIsUnknown) {
  StopWhenDown();
  stop_holds_ = true;
  Make();
  Pass(seconds(5));
  EXPECT_THAT(machine_->run().state_detail(), HasSubstr("\"up == 0\" does not hold"));
  prometheus_ = absl::UnavailableError("connection refused");
  Pass(seconds(11));
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("connection refused"));
}

TEST_F(MachineTest, BeginsNothingWithoutPrometheus) {
  WatchRatio();
  prometheus_ = absl::UnavailableError("connection refused");
  Make();
  Pass(seconds(21));
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("unknown: connection refused"));
}

TEST_F(MachineTest, BeginsNothingWhenPrometheusNeverAnswers) {
  WatchRatio();
  prometheus_answers_ = false;
  Make();
  Pass(seconds(21));
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("until Prometheus answers"));
}

TEST_F(MachineTest, WaitsForAnAgentAndNotForever) {
  Make({"cache1", "cache2"});
  Gone("cache2");
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING) << "both were there at the start";
  experiment_.set_name("again");
  Make({});
  v1::Run run = machine_->run();
  sent_.clear();
  Make({"cache1"});
  run = machine_->run();
  run.set_state(v1::RUN_STATE_PREFLIGHT);
  run.mutable_injections(0)->set_state(v1::INJECTION_STATE_PLANNED);
  sent_.clear();
  Resume(run);
  Pass(seconds(3));
  EXPECT_THAT(machine_->run().state_detail(), HasSubstr("agent cache1 is connected"));
  Here("cache1", v1::AGENT_STATE_DRAINING);
  Pass(seconds(1));
  EXPECT_THAT(machine_->run().state_detail(), HasSubstr("agent cache1 is not stopping"));
  Pass(seconds(12));
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Applies(), IsEmpty());
}

}  // namespace
}  // namespace firedrill::controller
