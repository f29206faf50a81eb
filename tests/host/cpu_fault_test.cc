// SPDX-License-Identifier: Apache-2.0
// The CPU fault by a real agent and a real worker on this kernel.
#include <csignal>

#include "proto/support/time.h"
#include "tests/host/agent_fixture.h"

namespace firedrill::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class CpuFaultTest : public AgentTest {
 protected:
  // The worker of a burning fault.
  pid_t Burn(const std::string& id, const v1::Fault& fault, Nanoseconds duration = seconds(60)) {
    const auto workers = Begin(id, fault, duration);
    EXPECT_EQ(workers.size(), 1u);
    const pid_t worker = workers.empty() ? -1 : workers.front();
    EXPECT_TRUE(WaitFor([&] { return CpuTime(worker) >= milliseconds(50); }, seconds(10)))
        << "it does not burn";
    return worker;
  }
  static double ShareOf(pid_t pid, Nanoseconds over) {
    const SteadyTime start = Clock::Real().Steady();
    const Nanoseconds before = CpuTime(pid);
    Pause(over);
    return Seconds(CpuTime(pid) - before) / Seconds(Clock::Real().Steady() - start);
  }
};

TEST_F(CpuFaultTest, BurnsTheAskedShareThenLeavesNothing) {
  const pid_t worker = Burn("half", Cpu(40));
  const double share = ShareOf(worker, seconds(3));
  // Others share this machine, and a tick of the kernel's books is 10 ms.
  EXPECT_GT(share, 0.20);
  EXPECT_LT(share, 0.45);
  const auto seen = controller_->WaitForUpdate("half", [](const v1::InjectionUpdate& update) {
    return update.has_first_impact_at() && update.counters().count("achieved_percent") != 0 &&
           update.counters().at("achieved_percent") > 15;
  });
  ASSERT_TRUE(seen) << agent_->Log();
  EXPECT_GE(FromProto(seen->first_impact_at()), FromProto(seen->applied_at()) - seconds(1));
  EXPECT_NEAR(seen->counters().at("asked_percent"), 40, 0.01);
  ASSERT_TRUE(controller_->End("half"));
  const auto ended = Ended("half");
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_REQUESTED);
  EXPECT_TRUE(ended.end_proven());
  EXPECT_EQ(ended.error(), "");
  EXPECT_FALSE(Alive(worker));
}

TEST_F(CpuFaultTest, RampRisesEvenly) {
  v1::Fault fault = Cpu(60);
  *fault.mutable_cpu()->mutable_ramp() = ToProto(seconds(20));
  Begin("ramp", fault, seconds(60));
  const auto asked = [](double at_least) {
    return [at_least](const v1::InjectionUpdate& update) {
      const auto found = update.counters().find("asked_percent");
      return found != update.counters().end() && found->second >= at_least;
    };
  };
  const auto early = controller_->WaitForUpdate("ramp", asked(1));
  ASSERT_TRUE(early);
  EXPECT_LT(early->counters().at("asked_percent"), 20);
  const auto later = controller_->WaitForUpdate("ramp", asked(12));
  ASSERT_TRUE(later);
  EXPECT_LT(later->counters().at("asked_percent"), 40);
}

TEST_F(CpuFaultTest, FillBurnsOnlyWhatOthersLeave) {
  const pid_t hog = Burn("hog", Cpu(70));
  v1::Fault fill = Cpu(80);
  fill.mutable_cpu()->set_mode(v1::CPU_MODE_FILL);
  const auto workers = Begin("fill", fill, seconds(60));
  ASSERT_EQ(workers.size(), 2u);
  const pid_t filler = workers[0] == hog ? workers[1] : workers[0];
  Pause(seconds(2));
  EXPECT_LT(ShareOf(filler, seconds(2)), 0.40) << "an ADD of 80 % would take half of the core";
}

TEST_F(CpuFaultTest, EndsWithItsDurationThoughTheControllerIsGone) {
  const pid_t worker = Burn("a", Cpu(30), seconds(3));
  controller_->FallSilent();
  EXPECT_TRUE(WaitFor([&] { return !Alive(worker); }, seconds(6)));
  EXPECT_TRUE(agent_->Workers().empty());
}

TEST_F(CpuFaultTest, EndsWithItsLease) {
  const auto workers = Begin("a", Cpu(30), seconds(60), seconds(2));
  const auto ended = Ended("a", seconds(6));
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_LEASE);
  EXPECT_TRUE(ended.end_proven());
  EXPECT_FALSE(Alive(workers.at(0)));
}

TEST_F(CpuFaultTest, DiesWithAKilledWorker) {
  const pid_t worker = Burn("a", Cpu(30));
  ASSERT_EQ(kill(worker, SIGKILL), 0);
  const auto ended = Ended("a", seconds(5));
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_WORKER_DIED);
  EXPECT_TRUE(ended.end_proven());
}

TEST_F(CpuFaultTest, DiesWithAStoppedWorker) {
  const pid_t worker = Burn("a", Cpu(30));
  ASSERT_EQ(kill(worker, SIGSTOP), 0);
  const auto ended = Ended("a", seconds(6));
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_WORKER_DIED);
  EXPECT_TRUE(ended.end_proven());
  EXPECT_FALSE(Alive(worker));
}

TEST_F(CpuFaultTest, DiesWithAKilledAgentAndTheNextOneProvesIt) {
  const pid_t worker = Burn("a", Cpu(30));
  agent_->Signal(SIGKILL);
  EXPECT_TRUE(WaitFor([&] { return !Alive(worker); }, seconds(4)));
  StartAgent();
  const auto live = controller_->hellos().back().live();
  ASSERT_EQ(live.size(), 1);
  EXPECT_EQ(live[0].injection_id(), "a");
  EXPECT_EQ(live[0].state(), v1::INJECTION_STATE_ENDED);
  EXPECT_TRUE(live[0].end_proven()) << live[0].error();
}

TEST_F(CpuFaultTest, DiesWithAStoppedAgent) {
  const pid_t worker = Burn("a", Cpu(30));
  agent_->Signal(SIGSTOP);
  EXPECT_TRUE(WaitFor([&] { return !Alive(worker); }, seconds(5)));
  agent_->Signal(SIGCONT);
  EXPECT_TRUE(Ended("a").end_proven());
}

TEST_F(CpuFaultTest, DiesThoughAgentAndWorkerAreBothStopped) {
  const pid_t worker = Burn("a", Cpu(30));
  ASSERT_EQ(kill(worker, SIGSTOP), 0);
  agent_->Signal(SIGSTOP);
  EXPECT_TRUE(WaitFor([&] { return !Alive(worker); }, seconds(5)))
      << "the kernel's own leash kills even a stopped process";
  agent_->Signal(SIGCONT);
}

TEST_F(CpuFaultTest, ACoreThatTheHostHasNotIsAClearError) {
  ASSERT_TRUE(controller_->Apply("a", Cpu(30, {4000}), seconds(10), seconds(30)));
  const auto failed = controller_->WaitForState("a", v1::INJECTION_STATE_FAILED);
  ASSERT_TRUE(failed) << agent_->Log();
  EXPECT_NE(failed->error().find("found 4000; allowed"), std::string::npos) << failed->error();
  EXPECT_TRUE(WaitFor([&] { return agent_->Workers().empty(); }, seconds(5)));
}

}  // namespace
}  // namespace firedrill::test
