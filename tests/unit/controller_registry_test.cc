// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "controller/registry/registry.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

class FakeChannel : public AgentChannel {
 public:
  bool Send(const v1::ConnectResponse& message) override {
    sent.push_back(message);
    return takes;
  }
  void Close(const absl::Status& status) override { closed.push_back(status); }

  bool takes = true;
  std::vector<v1::ConnectResponse> sent;
  std::vector<absl::Status> closed;
};

v1::Hello MakeHello(const std::string& id, const std::string& boot = "boot1") {
  v1::Hello hello;
  hello.set_agent_id(id);
  hello.set_boot_id(boot);
  return hello;
}

class RegistryTest : public ::testing::Test {
 protected:
  AgentRegistry::Connection Connect(const std::string& id,
                                    const std::shared_ptr<FakeChannel>& channel,
                                    const std::string& boot = "boot1") {
    return registry_.Connect(MakeHello(id, boot), "spiffe://firedrill/agent/" + id, channel)
        .value();
  }
  v1::AgentState StateOf(const std::string& id) { return registry_.Find(id)->state(); }

  FakeClock clock_;
  AgentRegistry registry_{clock_};
  std::shared_ptr<FakeChannel> channel_ = std::make_shared<FakeChannel>();
};

TEST_F(RegistryTest, KnowsConnectedDrainingAndGoneAgents) {
  const auto connection = Connect("web1", channel_);
  EXPECT_EQ(StateOf("web1"), v1::AGENT_STATE_CONNECTED);
  EXPECT_EQ(registry_.Find("web1")->certificate_name(), "spiffe://firedrill/agent/web1");
  v1::Heartbeat heartbeat;
  heartbeat.set_draining(true);
  clock_.Advance(std::chrono::seconds(2));
  EXPECT_TRUE(registry_.OnHeartbeat("web1", connection, heartbeat));
  EXPECT_EQ(StateOf("web1"), v1::AGENT_STATE_DRAINING);
  EXPECT_EQ(FromProto(registry_.Find("web1")->last_seen_at()), clock_.System());
  EXPECT_TRUE(registry_.Disconnect("web1", connection));
  EXPECT_EQ(StateOf("web1"), v1::AGENT_STATE_GONE);
  EXPECT_FALSE(registry_.Find("web2").has_value());
  EXPECT_EQ(registry_.Agents().size(), 1U);
}

TEST_F(RegistryTest, ANewStreamTakesTheOldOnesPlace) {
  const auto first = Connect("web1", channel_);
  auto newer = std::make_shared<FakeChannel>();
  const auto second = Connect("web1", newer);
  ASSERT_EQ(channel_->closed.size(), 1U);
  EXPECT_EQ(channel_->closed[0].code(), absl::StatusCode::kAborted);
  EXPECT_FALSE(registry_.Disconnect("web1", first)) << "the old stream's end means nothing";
  EXPECT_FALSE(registry_.Heard("web1", first));
  EXPECT_FALSE(registry_.OnHeartbeat("web1", first, {}));
  EXPECT_EQ(StateOf("web1"), v1::AGENT_STATE_CONNECTED);
  EXPECT_TRUE(registry_.Heard("web1", second));
  EXPECT_TRUE(registry_.Send("web1", {}).ok());
  EXPECT_EQ(newer->sent.size(), 1U);
  EXPECT_TRUE(channel_->sent.empty());
}

TEST_F(RegistryTest, SaysWhyAMessageCannotBeSent) {
  EXPECT_EQ(registry_.Send("web1", {}).code(), absl::StatusCode::kUnavailable);
  const auto connection = Connect("web1", channel_);
  channel_->takes = false;
  EXPECT_EQ(registry_.Send("web1", {}).message(), "agent web1 does not take messages");
  registry_.Disconnect("web1", connection);
  EXPECT_EQ(registry_.Send("web1", {}).message(), "agent web1 is not connected");
}

TEST_F(RegistryTest, MovesInstantsOntoItsOwnClock) {
  const auto connection = Connect("web1", channel_);
  v1::InjectionUpdate update;
  *update.mutable_applied_at() = ToProto(clock_.System());
  EXPECT_EQ(registry_.OnControllerClock("web1", update).uncertainty, std::chrono::seconds(1))
      << "not measured yet";
  v1::Heartbeat heartbeat;
  heartbeat.set_clock_known(true);
  *heartbeat.mutable_clock_offset() = ToProto(std::chrono::milliseconds(-2500));
  *heartbeat.mutable_clock_uncertainty() = ToProto(std::chrono::microseconds(300));
  registry_.OnHeartbeat("web1", connection, heartbeat);
  *update.mutable_ended_at() = ToProto(clock_.System() + std::chrono::seconds(9));
  *update.add_events()->mutable_at() = ToProto(clock_.System() + std::chrono::seconds(4));
  const ClockedUpdate moved = registry_.OnControllerClock("web1", update);
  EXPECT_EQ(FromProto(moved.update.events(0).at()),
            clock_.System() + std::chrono::milliseconds(1500));
  EXPECT_EQ(moved.uncertainty, std::chrono::microseconds(300));
  EXPECT_EQ(FromProto(moved.update.applied_at()),
            clock_.System() - std::chrono::milliseconds(2500));
  EXPECT_EQ(FromProto(moved.update.ended_at()), clock_.System() + std::chrono::milliseconds(6500));
  EXPECT_FALSE(moved.update.has_first_impact_at()) << "what was absent stays absent";
}

TEST_F(RegistryTest, KeepsTheClockOverAReconnectButNotOverAReboot) {
  const auto connection = Connect("web1", channel_);
  v1::Heartbeat heartbeat;
  heartbeat.set_clock_known(true);
  *heartbeat.mutable_clock_uncertainty() = ToProto(std::chrono::milliseconds(1));
  registry_.OnHeartbeat("web1", connection, heartbeat);
  Connect("web1", std::make_shared<FakeChannel>());
  EXPECT_EQ(registry_.OnControllerClock("web1", {}).uncertainty, std::chrono::milliseconds(1));
  Connect("web1", std::make_shared<FakeChannel>(), "boot2");
  EXPECT_EQ(registry_.OnControllerClock("web1", {}).uncertainty, std::chrono::seconds(1));
}

TEST_F(RegistryTest, ForgetsAgentsThatAreGoneForADay) {
  const auto connection = Connect("web1", channel_);
  registry_.Disconnect("web1", connection);
  clock_.Advance(std::chrono::hours(25));
  Connect("web2", std::make_shared<FakeChannel>());
  EXPECT_FALSE(registry_.Find("web1").has_value());
  EXPECT_TRUE(registry_.Find("web2").has_value());
}

TEST_F(RegistryTest, CanBeUsedFromManyThreads) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([this, i] {
      for (int j = 0; j < 200; ++j) {
        const std::string id = "web" + std::to_string((i + j) % 3);
        const auto connection = Connect(id, std::make_shared<FakeChannel>());
        registry_.OnHeartbeat(id, connection, {});
        registry_.OnControllerClock(id, {});
        registry_.Agents();
        registry_.Disconnect(id, connection);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(registry_.Agents().size(), 3U);
  for (const v1::Agent& agent : registry_.Agents()) EXPECT_EQ(agent.state(), v1::AGENT_STATE_GONE);
}

}  // namespace
}  // namespace firedrill::controller
