// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "tests/lib/agent_process.h"
#include "tests/lib/fake_controller.h"

namespace firedrill::test {

/// A real agent on loopback and a controller that says what the test wants.
class AgentTest : public testing::Test {
 protected:
  void SetUp() override {
    auto controller = FakeController::Start(ControllerOptions());
    ASSERT_TRUE(controller.ok()) << controller.status();
    controller_ = *std::move(controller);
    StartAgent();
  }
  virtual FakeController::Options ControllerOptions() const { return {}; }

  /// A starting agent tries what the kernel can do, and so loads all its BPF programs: the verifier
  /// takes ten times as long where the processor is emulated.
  static Nanoseconds ToStart() {
    return std::chrono::seconds(getenv("FIREDRILL_EMULATED") != nullptr ? 90 : 30);
  }

  /// Starts the agent (anew) on the same state folder and waits for its hello.
  void StartAgent(std::vector<std::string> more = {}) {
    agent_.reset();
    const std::size_t before = controller_->hellos().size();
    std::vector<std::string> arguments = {
        "--controller", controller_->address(), "--insecure", "--id", "host",
        "--allow",      "process_kill"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    auto agent = AgentProcess::Start(state(), arguments);
    ASSERT_TRUE(agent.ok()) << agent.status();
    agent_ = *std::move(agent);
    ASSERT_TRUE(controller_->WaitForHello(ToStart(), before + 1)) << agent_->Log();
  }

  /// Applies a fault and waits until it is in force; the pids of all workers then.
  std::vector<pid_t> Begin(const std::string& id, const v1::Fault& fault,
                           std::optional<Nanoseconds> duration,
                           Nanoseconds lease = std::chrono::seconds(30)) {
    EXPECT_TRUE(WaitFor([&] { return controller_->Apply(id, fault, duration, lease); },
                        std::chrono::seconds(5)));
    EXPECT_TRUE(controller_->WaitForState(id, v1::INJECTION_STATE_ACTIVE, ToStart()))
        << agent_->Log();
    return agent_->Workers();
  }

  /// The last word on the injection; a failure if there is none in time.
  v1::InjectionUpdate Ended(const std::string& id, Nanoseconds within = std::chrono::seconds(15)) {
    const auto ended = controller_->WaitForState(id, v1::INJECTION_STATE_ENDED, within);
    EXPECT_TRUE(ended) << agent_->Log();
    return ended.value_or(v1::InjectionUpdate());
  }

  /// Never to all processes: what a failed start gave for a pid (-1, 0) would be just that.
  static void SignalWorker(pid_t worker, int signal) {
    ASSERT_GT(worker, 1) << "there is no worker";
    ASSERT_EQ(kill(worker, signal), 0);
  }

  static v1::Fault Cpu(double percent, std::vector<std::uint32_t> cores = {0}) {
    v1::Fault fault;
    fault.mutable_cpu()->set_percent(percent);
    for (const auto core : cores) fault.mutable_cpu()->add_cores(core);
    return fault;
  }

  std::string state() const { return folder_.path() + "/agent"; }

  TemporaryFolder folder_;
  std::unique_ptr<FakeController> controller_;
  std::unique_ptr<AgentProcess> agent_;
};

}  // namespace firedrill::test
