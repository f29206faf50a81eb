// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include "agent/traffic/leftovers.h"
#include "tests/host/lib/traffic_fixture.h"

namespace firedrill::testing {
namespace {

// As the kernel at hand does it: by TCX, or by clsact before 6.6. For emulated machines too: asks
// for effects, not for speed.
class TrafficSmokeTest : public TrafficTest {
 protected:
  TrafficSmokeTest()
      : near_(hosts_.near(), TwoHosts::kNear4), far_(hosts_.far(), TwoHosts::kFar4) {}

  UdpSocket near_, far_;
};

TEST_F(TrafficSmokeTest, Loses) {
  constexpr int kMany = 2000;
  EXPECT_EQ(Send(near_, far_, kMany, 200).arrived, kMany);
  auto rule = Add(Loss(0.3));
  ASSERT_NE(rule, nullptr);
  const Delivery delivery = Send(near_, far_, kMany, 200);
  EXPECT_NEAR(delivery.LostShare(), 0.3, Tolerance(0.3, kMany));
  EXPECT_EQ(delivery.send_errors, 0);
  EXPECT_OK(rule->Remove());
  EXPECT_EQ(Send(near_, far_, kMany, 200).arrived, kMany);
}

TEST_F(TrafficSmokeTest, Delays) {
  constexpr int kMany = 200;
  auto rule = Add(Delay(100, v1::DIRECTION_BOTH));
  ASSERT_NE(rule, nullptr);
  for (const auto& [from, to] : {std::pair(&near_, &far_), std::pair(&far_, &near_)}) {
    const Delivery delivery = Send(*from, *to, kMany, 1000, 10, 5000);
    EXPECT_EQ(delivery.arrived, kMany);
    EXPECT_GE(delivery.Quantile(0), 100);
    EXPECT_LE(delivery.Quantile(0.5), 150);
  }
  const UdpSocket lo1(hosts_.near(), "127.0.0.1"), lo2(hosts_.near(), "127.0.0.1");
  agent::TrafficRuleSpec spec = Delay(50);
  spec.traffic.set_device("lo");
  auto loopback = Add(spec);
  ASSERT_NE(loopback, nullptr);
  const Delivery delivery = Send(lo1, lo2, kMany, 1000, 10, 5000);
  EXPECT_EQ(delivery.arrived, kMany);
  EXPECT_GE(delivery.Quantile(0), 50);
  EXPECT_TRUE(PushTcp(hosts_.far(), TwoHosts::kFar4, 7301, 1 << 20, 60'000).megabit_per_second > 0);
}

TEST_F(TrafficSmokeTest, EndsWhenItsProcessIsKilled) {
  HolderProcess holder({.delay = true, .journal = journal_.folder(), .lease_ms = 2000});
  EXPECT_GE(Send(near_, far_, 50, 500).Quantile(0), 50);
  EXPECT_TRUE(DeviceExists("fdtap"));
  holder.Signal(SIGKILL);
  // Where its filter stays it lets all pass: the delay device is gone.
  int attempts = 0;
  while (Send(near_, far_, 50, 200).Quantile(0.5) > 10) ASSERT_LT(++attempts, 20);
  EXPECT_OK(journal_.Replay());
  EXPECT_OK(agent::VerifyTrafficGone("held"));
  EXPECT_FALSE(DeviceExists("fdtap"));
  EXPECT_EQ(AttachedCount("eth0"), 0);
}

}  // namespace
}  // namespace firedrill::testing
