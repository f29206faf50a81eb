// SPDX-License-Identifier: Apache-2.0
// The stop of a systemd unit by a real agent: under systemd on units that the test makes; elsewhere
// with a script in systemctl's place (see lib/units.h).
#include <sys/types.h>

#include <csignal>

#include "proto/support/time.h"
#include "tests/host/agent_fixture.h"
#include "tests/host/lib/units.h"

namespace firedrill::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ServiceStopTest : public testing::Test {
 protected:
  // The stand-in has to be in PATH before the agent starts.
  class Agent : public AgentTest {
   public:
    void TestBody() override {}
    void Begin(const v1::Fault& fault) { workers = AgentTest::Begin("a", fault, seconds(120)); }
    v1::InjectionUpdate End() {
      EXPECT_TRUE(controller_->End("a"));
      return AgentTest::Ended("a", seconds(30));
    }
    v1::InjectionUpdate Over() { return AgentTest::Ended("a", seconds(30)); }
    std::string Refused(const v1::Fault& fault) {
      EXPECT_TRUE(controller_->Apply("a", fault, seconds(120), seconds(30)));
      const auto failed = controller_->WaitForState("a", v1::INJECTION_STATE_FAILED, seconds(30));
      EXPECT_TRUE(failed) << agent_->Log();
      EXPECT_TRUE(!failed || failed->end_proven()) << failed->error();
      return failed ? failed->error() : "";
    }
    std::optional<v1::InjectionUpdate> WaitForEvent() {
      return controller_->WaitForUpdate(
          "a", [](const v1::InjectionUpdate& update) { return update.events_size() > 0; },
          seconds(20));
    }
    void Up() { SetUp(); }
    void Restart() { StartAgent(); }
    AgentProcess& process() { return *agent_; }
    std::vector<pid_t> workers;
  };

  void SetUp() override { agent_.Up(); }
  static v1::Fault Stopping(const std::string& unit) {
    v1::Fault fault;
    fault.mutable_service_stop()->set_unit(unit);
    return fault;
  }
  bool Becomes(const std::string& unit, const std::string& state, Nanoseconds within) const {
    return WaitFor([&] { return units_.ActiveState(unit) == state; }, within);
  }

  Units units_;
  Agent agent_;
};

TEST_F(ServiceStopTest, StopsAndStartsAgain) {
  const std::string unit = units_.Make("one"), other = units_.Make("other");
  const std::string invocation = units_.Property(unit, "InvocationID");
  agent_.Begin(Stopping(unit));
  EXPECT_TRUE(Becomes(unit, "inactive", seconds(10)));
  EXPECT_EQ(units_.ActiveState(other), "active");
  Pause(milliseconds(700));
  EXPECT_EQ(units_.ActiveState(unit), "inactive");
  const auto ended = agent_.End();
  EXPECT_TRUE(ended.end_proven()) << ended.error();
  EXPECT_EQ(ended.error(), "");
  EXPECT_EQ(units_.ActiveState(unit), "active");
  EXPECT_NE(units_.Property(unit, "InvocationID"), invocation);
  EXPECT_TRUE(WaitFor([&] { return units_.Starts(unit) == 2; }, seconds(5)));
  EXPECT_EQ(units_.Starts(other), 1);
  EXPECT_TRUE(ended.has_first_impact_at());
  EXPECT_EQ(ended.counters().at("units_stopped"), 1);
  EXPECT_EQ(ended.events_size(), 0);
}

TEST_F(ServiceStopTest, WhatStopsAlongIsStartedAgainToo) {
  const std::string unit = units_.Make("base"), user = units_.Make("user", unit);
  const std::string other = units_.Make("other", unit, /*breaks=*/false, /*requisite=*/true);
  agent_.Begin(Stopping(unit));
  EXPECT_TRUE(Becomes(user, "inactive", seconds(10)));
  EXPECT_TRUE(Becomes(other, "inactive", seconds(10)));
  const auto ended = agent_.End();
  EXPECT_TRUE(ended.end_proven()) << ended.error();
  EXPECT_EQ(ended.counters().at("units_stopped"), 3);
  EXPECT_TRUE(Becomes(unit, "active", seconds(10)));
  EXPECT_TRUE(Becomes(user, "active", seconds(10)));
  EXPECT_TRUE(Becomes(other, "active", seconds(10)));
}

TEST_F(ServiceStopTest, WhatSomebodyStartsIsPutRightAndNotStoppedAgain) {
  const std::string unit = units_.Make("one");
  agent_.Begin(Stopping(unit));
  EXPECT_TRUE(Becomes(unit, "inactive", seconds(10)));
  const SystemTime before = Clock::Real().System();
  units_.Do("start", unit);
  const SystemTime after = Clock::Real().System();
  const auto update = agent_.WaitForEvent();
  ASSERT_TRUE(update);
  EXPECT_EQ(update->events(0).name(), "put_right");
  // /proc/uptime, by which the stand-in tells the time, has hundredths.
  EXPECT_GE(FromProto(update->events(0).at()), before - milliseconds(20));
  EXPECT_LE(FromProto(update->events(0).at()), after + milliseconds(20));
  Pause(milliseconds(700));
  EXPECT_EQ(units_.ActiveState(unit), "active");
  const auto ended = agent_.End();
  EXPECT_TRUE(ended.end_proven()) << ended.error();
  EXPECT_EQ(units_.Starts(unit), 2) << "by the test alone";
  EXPECT_GT(ended.counters().at("put_right_after_seconds"), 0);
}

TEST_F(ServiceStopTest, WhatIsNotThereOrNotActiveIsAClearError) {
  EXPECT_NE(agent_.Refused(Stopping("fdtest-no-such.service")).find("no systemd unit"),
            std::string::npos);
}

TEST_F(ServiceStopTest, AnInactiveUnitIsAClearErrorAndIsNotStarted) {
  const std::string unit = units_.Make("one");
  units_.Do("stop", unit);
  ASSERT_TRUE(Becomes(unit, "inactive", seconds(10)));
  EXPECT_NE(agent_.Refused(Stopping(unit)).find("nothing to stop"), std::string::npos);
  EXPECT_EQ(units_.ActiveState(unit), "inactive");
}

TEST_F(ServiceStopTest, ADeadWorkersUnitIsStartedByItsAgent) {
  const std::string unit = units_.Make("one");
  agent_.Begin(Stopping(unit));
  ASSERT_EQ(kill(agent_.workers.at(0), SIGKILL), 0);
  const auto ended = agent_.Over();
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_WORKER_DIED);
  EXPECT_TRUE(ended.end_proven()) << ended.error();
  EXPECT_TRUE(Becomes(unit, "active", seconds(10)));
}

TEST_F(ServiceStopTest, AStoppedWorkersUnitIsStartedByItsAgent) {
  const std::string unit = units_.Make("one");
  agent_.Begin(Stopping(unit));
  ASSERT_EQ(kill(agent_.workers.at(0), SIGSTOP), 0);
  EXPECT_TRUE(agent_.Over().end_proven());
  EXPECT_TRUE(Becomes(unit, "active", seconds(10)));
}

TEST_F(ServiceStopTest, ADeadAgentsUnitIsStarted) {
  const std::string unit = units_.Make("one");
  agent_.Begin(Stopping(unit));
  // Agent and worker at once: only the next agent can see to it.
  agent_.process().Signal(SIGSTOP);
  kill(agent_.workers.at(0), SIGKILL);
  agent_.process().Signal(SIGKILL);
  ASSERT_TRUE(WaitFor([&] { return !agent_.process().Running(); }, seconds(10)));
  EXPECT_EQ(units_.ActiveState(unit), "inactive");
  agent_.Restart();
  EXPECT_TRUE(Becomes(unit, "active", seconds(10)));
}

TEST_F(ServiceStopTest, AUnitThatDoesNotComeUpAgainIsSaidSo) {
  const std::string unit = units_.Make("broken", "", /*breaks=*/true);
  agent_.Begin(Stopping(unit));
  const auto ended = agent_.End();
  EXPECT_FALSE(ended.end_proven());
  EXPECT_NE(ended.error().find(unit), std::string::npos) << ended.error();
}

TEST_F(ServiceStopTest, AUnitThatIsMaskedMeanwhileIsSaidSo) {
  const std::string unit = units_.Make("masked");
  agent_.Begin(Stopping(unit));
  ASSERT_TRUE(Becomes(unit, "inactive", seconds(10)));
  units_.Do("mask", unit);
  const auto ended = agent_.End();
  EXPECT_FALSE(ended.end_proven());
  EXPECT_NE(ended.error().find("masked"), std::string::npos) << ended.error();
}

}  // namespace
}  // namespace firedrill::test
