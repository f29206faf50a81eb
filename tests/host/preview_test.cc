// SPDX-License-Identifier: Apache-2.0
// Previews by a real agent whose owner has allowed nothing: what they say is so, and nothing is
// touched.
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "proto/support/time.h"
#include "tests/host/agent_fixture.h"

namespace firedrill::test {
namespace {

using std::chrono::seconds;

class PreviewTest : public testing::Test {
 protected:
  void SetUp() override {
    auto controller = FakeController::Start();
    ASSERT_TRUE(controller.ok()) << controller.status();
    controller_ = *std::move(controller);
    auto agent = AgentProcess::Start(folder_.path() + "/agent",
                                     {"--controller", controller_->address(), "--insecure", "--id",
                                      "host", "--max-live-faults", "2"});
    ASSERT_TRUE(agent.ok()) << agent.status();
    agent_ = *std::move(agent);
    ASSERT_TRUE(controller_->WaitForHello()) << agent_->Log();
  }

  std::unique_ptr<Child> Sleeper() {
    // One process that forks nothing: a copy of it would match for a moment as well.
    auto child = Child::Start({"/usr/bin/perl", "-e", "sleep 1 while 1", Mark()},
                              folder_.path() + "/sleeper" + std::to_string(count_++));
    EXPECT_TRUE(child.ok());
    const std::string name = "/proc/" + std::to_string((*child)->pid()) + "/comm";
    EXPECT_TRUE(WaitFor([&] { return ReadFile(name) == "perl\n"; }, seconds(5)));
    return *std::move(child);
  }
  std::string Mark() const { return "fdpreview-" + std::to_string(getpid()); }
  v1::Fault Kill() const {
    v1::Fault fault;
    fault.mutable_process_kill()->mutable_processes()->set_command_line(Mark() + "$");
    return fault;
  }
  void Preview(const std::string& id, const v1::Fault& fault, Nanoseconds duration,
               Nanoseconds lease = seconds(30)) {
    v1::ConnectResponse message;
    v1::Apply& apply = *message.mutable_apply();
    apply.set_injection_id(id);
    apply.set_run_id("preview");
    *apply.mutable_fault() = fault;
    *apply.mutable_duration() = ToProto(duration);
    *apply.mutable_lease() = ToProto(lease);
    apply.set_preview(true);
    ASSERT_TRUE(controller_->Send(message));
  }
  // The names of what matched when the word came.
  static std::vector<std::string> Matches(const v1::InjectionUpdate& update) {
    std::vector<std::string> matches;
    for (const v1::InjectionEvent& event : update.events()) {
      if (event.name() == "match") matches.push_back(event.detail());
    }
    return matches;
  }

  TemporaryFolder folder_;
  std::unique_ptr<FakeController> controller_;
  std::unique_ptr<AgentProcess> agent_;
  int count_ = 0;
};

TEST_F(PreviewTest, ListsTheProcessesThatMatchNowAndTouchesNone) {
  const auto first = Sleeper();
  Preview("p", Kill(), seconds(5));
  const auto one = controller_->WaitForUpdate(
      "p", [](const v1::InjectionUpdate& update) { return Matches(update).size() == 1; });
  ASSERT_TRUE(one.has_value()) << agent_->Log();
  EXPECT_EQ(Matches(*one)[0], "perl, pid " + std::to_string(first->pid()));
  EXPECT_EQ(one->counters().at("processes_matched"), 1);
  const auto sequence = [&] {
    const auto beat = controller_->last_heartbeat();
    return beat ? beat->sequence() : 0;
  };
  const auto before = sequence();
  EXPECT_TRUE(WaitFor([&] { return sequence() > before; }, seconds(10)));
  EXPECT_EQ(controller_->last_heartbeat()->live_faults(), 0U) << "it is no fault";
  const auto ended = controller_->WaitForState("p", v1::INJECTION_STATE_ENDED);
  ASSERT_TRUE(ended.has_value()) << agent_->Log();
  EXPECT_EQ(ended->end_reason(), v1::END_REASON_DURATION);
  EXPECT_TRUE(ended->end_proven());
  EXPECT_TRUE(first->Running());
  EXPECT_TRUE(WaitFor([&] { return agent_->Workers().empty(); }, seconds(5)));
  // The same fault itself is refused: its owner has not allowed it.
  ASSERT_TRUE(controller_->Apply("a", Kill(), std::nullopt, seconds(30)));
  const auto refused = controller_->WaitForState("a", v1::INJECTION_STATE_FAILED);
  ASSERT_TRUE(refused.has_value());
  EXPECT_NE(refused->error().find("--allow process_kill"), std::string::npos) << refused->error();
  EXPECT_TRUE(first->Running());
}

TEST_F(PreviewTest, SaysNoneAndDiesWithAnyLinkOfTheChain) {
  Preview("none", Kill(), seconds(60));
  const auto none = controller_->WaitForUpdate("none", [](const v1::InjectionUpdate& update) {
    return update.counters().count("processes_matched") > 0;
  });
  ASSERT_TRUE(none.has_value()) << agent_->Log();
  EXPECT_EQ(none->counters().at("processes_matched"), 0);
  // Its worker is killed.
  const auto workers = agent_->Workers();
  ASSERT_EQ(workers.size(), 1U);
  ASSERT_GT(workers[0], 1);
  kill(workers[0], SIGKILL);
  const auto died = controller_->WaitForState("none", v1::INJECTION_STATE_ENDED);
  ASSERT_TRUE(died.has_value());
  EXPECT_EQ(died->end_reason(), v1::END_REASON_WORKER_DIED);
  EXPECT_TRUE(died->end_proven());
  // Nobody renews.
  Preview("lease", Kill(), seconds(60), seconds(1));
  const auto lapsed = controller_->WaitForState("lease", v1::INJECTION_STATE_ENDED);
  ASSERT_TRUE(lapsed.has_value());
  EXPECT_EQ(lapsed->end_reason(), v1::END_REASON_LEASE);
  // The agent is killed: its workers follow.
  Preview("agent", Kill(), seconds(60));
  ASSERT_TRUE(controller_->WaitForState("agent", v1::INJECTION_STATE_ACTIVE));
  const auto last = agent_->Workers();
  agent_->Signal(SIGKILL);
  EXPECT_TRUE(WaitFor(
      [&] { return std::all_of(last.begin(), last.end(), [](pid_t pid) { return !Alive(pid); }); },
      seconds(5)));
}

TEST_F(PreviewTest, RefusesWhatCannotBeCounted) {
  v1::Fault cpu;
  cpu.mutable_cpu()->set_percent(10);
  Preview("cpu", cpu, seconds(5));
  const auto refused = controller_->WaitForState("cpu", v1::INJECTION_STATE_FAILED);
  ASSERT_TRUE(refused.has_value());
  EXPECT_NE(refused->error().find("cannot be counted"), std::string::npos) << refused->error();
}

}  // namespace
}  // namespace firedrill::test
