// SPDX-License-Identifier: Apache-2.0
// The CPU fault by a real agent and a real worker on this kernel.
#include <gtest/gtest.h>
#include <sched.h>

#include <csignal>
#include <thread>

#include "tests/lib/agent_process.h"
#include "tests/lib/fake_controller.h"

namespace firedrill::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

v1::Fault Cpu(double percent, std::vector<std::uint32_t> cores = {0}) {
  v1::Fault fault;
  fault.mutable_cpu()->set_percent(percent);
  for (const auto core : cores) fault.mutable_cpu()->add_cores(core);
  return fault;
}

class CpuFaultTest : public testing::Test {
 protected:
  void SetUp() override {
    auto controller = FakeController::Start();
    ASSERT_TRUE(controller.ok()) << controller.status();
    controller_ = *std::move(controller);
    StartAgent();
  }
  void StartAgent() {
    auto agent = AgentProcess::Start(folder_.path() + "/agent",
                                     {"--controller", controller_->address(), "--insecure"});
    ASSERT_TRUE(agent.ok()) << agent.status();
    agent_ = *std::move(agent);
    ASSERT_TRUE(controller_->WaitForHello(seconds(15), ++hellos_)) << agent_->Log();
  }
  // Begins a fault; its worker's pid.
  pid_t Begin(const std::string& id, const v1::Fault& fault, Nanoseconds duration,
              Nanoseconds lease = seconds(30)) {
    EXPECT_TRUE(
        WaitFor([&] { return controller_->Apply(id, fault, duration, lease); }, seconds(5)));
    const auto active = controller_->WaitForState(id, v1::INJECTION_STATE_ACTIVE);
    EXPECT_TRUE(active) << agent_->Log();
    const auto workers = agent_->Workers();
    EXPECT_EQ(workers.size(), 1u);
    return workers.empty() ? -1 : workers.front();
  }

  TemporaryFolder folder_;
  std::unique_ptr<FakeController> controller_;
  std::unique_ptr<AgentProcess> agent_;
  std::size_t hellos_ = 0;
};

TEST_F(CpuFaultTest, BurnsTheAskedShareThenLeavesNothing) {
  const pid_t worker = Begin("half", Cpu(40), seconds(60));
  Pause(milliseconds(500));
  const Nanoseconds before = CpuTime(worker);
  Pause(seconds(2));
  const double share = static_cast<double>((CpuTime(worker) - before).count()) / 2e9;
  // Others share this machine; the loop makes up for what they take, within its bounds.
  EXPECT_GT(share, 0.25);
  EXPECT_LT(share, 0.50);
  const auto seen = controller_->WaitForUpdate("half", [](const v1::InjectionUpdate& update) {
    return update.has_first_impact_at() && update.counters().count("achieved_percent") != 0 &&
           update.counters().at("achieved_percent") > 20;
  });
  ASSERT_TRUE(seen) << agent_->Log();
  ASSERT_TRUE(controller_->End("half"));
  const auto ended = controller_->WaitForState("half", v1::INJECTION_STATE_ENDED);
  ASSERT_TRUE(ended) << agent_->Log();
  EXPECT_EQ(ended->end_reason(), v1::END_REASON_REQUESTED);
  EXPECT_TRUE(ended->end_proven());
  EXPECT_EQ(ended->error(), "");
  EXPECT_FALSE(Alive(worker));
}

}  // namespace
}  // namespace firedrill::test
