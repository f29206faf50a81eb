// SPDX-License-Identifier: Apache-2.0
#include "tests/host/lib/traffic_fixture.h"

namespace firedrill::testing {
namespace {

constexpr int kMany = 10'000;

class TrafficLossTest : public TrafficTest {
 protected:
  TrafficLossTest()
      : near_(hosts_.near(), TwoHosts::kNear4),
        far_(hosts_.far(), TwoHosts::kFar4),
        near6_(hosts_.near(), TwoHosts::kNear6),
        far6_(hosts_.far(), TwoHosts::kFar6) {}

  UdpSocket near_, far_, near6_, far6_;
};

TEST_F(TrafficLossTest, LosesTheShareAskedForAndNothingBeforeOrAfter) {
  EXPECT_EQ(Send(near_, far_, kMany).arrived, kMany);
  auto rule = Add(Loss(0.3));
  ASSERT_NE(rule, nullptr);
  const Delivery during = Send(near_, far_, kMany);
  EXPECT_NEAR(during.LostShare(), 0.3, Tolerance(0.3, kMany));
  EXPECT_EQ(during.send_errors, 0);
  EXPECT_EQ(during.duplicates, 0);
  EXPECT_EQ(Send(far_, near_, kMany).arrived, kMany) << "the other direction";

  const auto stats = rule->Stats();
  ASSERT_OK(stats.status());
  EXPECT_EQ(stats->rule.matched_packets, static_cast<unsigned>(kMany));
  EXPECT_EQ(stats->rule.hit_packets, static_cast<unsigned>(kMany - during.arrived));
  EXPECT_GT(stats->rule.first_hit_ns, 0u);
  EXPECT_OK(rule->Remove());
  EXPECT_EQ(Send(near_, far_, kMany).arrived, kMany);
  EXPECT_EQ(AttachedCount("eth0"), 0);
}

TEST_F(TrafficLossTest, LosesWhatArrives) {
  auto rule = Add(Loss(0.1, v1::DIRECTION_INGRESS));
  ASSERT_NE(rule, nullptr);
  const Delivery during = Send(far_, near_, kMany);
  EXPECT_NEAR(during.LostShare(), 0.1, Tolerance(0.1, kMany));
  EXPECT_EQ(Send(near_, far_, kMany).arrived, kMany);
}

TEST_F(TrafficLossTest, LosesBothWays) {
  auto rule = Add(Loss(0.5, v1::DIRECTION_BOTH));
  ASSERT_NE(rule, nullptr);
  EXPECT_NEAR(Send(far_, near_, kMany).LostShare(), 0.5, Tolerance(0.5, kMany));
  EXPECT_NEAR(Send(near_, far_, kMany).LostShare(), 0.5, Tolerance(0.5, kMany));
}

TEST_F(TrafficLossTest, LosesIpv6) {
  auto rule = Add(Loss(0.2));
  ASSERT_NE(rule, nullptr);
  EXPECT_NEAR(Send(near6_, far6_, kMany).LostShare(), 0.2, Tolerance(0.2, kMany));
}

TEST_F(TrafficLossTest, LosesAllWithoutTheSenderSeeingAnError) {
  auto rule = Add(Loss(1, v1::DIRECTION_BOTH));
  ASSERT_NE(rule, nullptr);
  const Delivery during = Send(near_, far_, 1000);
  EXPECT_EQ(during.arrived, 0);
  EXPECT_EQ(during.send_errors, 0);
  EXPECT_EQ(Ping(TwoHosts::kFar4, 1), 0);
}

TEST_F(TrafficLossTest, TakesAPacketOnLoopbackOnce) {
  const UdpSocket from(hosts_.near(), "127.0.0.1"), to(hosts_.near(), "127.0.0.1");
  agent::TrafficRuleSpec spec = Loss(0.3, v1::DIRECTION_BOTH);
  spec.traffic.set_device("lo");
  auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  EXPECT_NEAR(Send(from, to, kMany).LostShare(), 0.3, Tolerance(0.3, kMany));
  EXPECT_EQ(Send(near_, far_, kMany).arrived, kMany) << "another device";
}

TEST_F(TrafficLossTest, CountsTheWirePacketsOfSuperPackets) {
  constexpr std::size_t kBytes = 20 << 20;
  constexpr std::size_t kMostInAPacket = 1448;  // Of an MTU of 1500, with TCP's timestamps.
  auto rule = Add(Loss(1e-9));                  // As good as none: only to count.
  ASSERT_NE(rule, nullptr);
  EXPECT_GT(PushTcp(hosts_.far(), TwoHosts::kFar4, 7001, kBytes, 60'000).megabit_per_second, 0);
  const auto stats = rule->Stats();
  ASSERT_OK(stats.status());
  // They do not fit in fewer, though they pass in pieces of up to 64 KiB.
  EXPECT_GE(stats->rule.matched_packets, kBytes / kMostInAPacket);
}

TEST_F(TrafficLossTest, TwoRulesLoseIndependently) {
  auto first = Add(Loss(0.5));
  ASSERT_NE(first, nullptr);
  auto second = Add(Loss(0.5));
  ASSERT_NE(second, nullptr);
  EXPECT_NEAR(Send(near_, far_, kMany).LostShare(), 0.75, Tolerance(0.75, kMany));
  EXPECT_OK(first->Remove());
  EXPECT_NEAR(Send(near_, far_, kMany).LostShare(), 0.5, Tolerance(0.5, kMany));
}

TEST_F(TrafficLossTest, EndsByItselfAfterItsDuration) {
  agent::TrafficRuleSpec spec = Loss(1);
  spec.duration = std::chrono::milliseconds(1500);
  auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(Send(near_, far_, 100, 20).arrived, 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(1600));
  EXPECT_EQ(Send(near_, far_, 100).arrived, 100);
}

TEST_F(TrafficLossTest, EndsWithItsLease) {
  auto rule = Add(Loss(1));
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(Send(near_, far_, 100, 20).arrived, 0);
  StopRenewals();
  engine_->Renew(Clock::Real().Steady() + std::chrono::milliseconds(1500));
  EXPECT_EQ(Send(near_, far_, 100, 20).arrived, 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(1600));
  EXPECT_EQ(Send(near_, far_, 100).arrived, 100);
  engine_->Renew(Clock::Real().Steady() + std::chrono::seconds(2));
  EXPECT_EQ(Send(near_, far_, 100, 20).arrived, 0) << "a renewed lease puts it in force again";
}

TEST_F(TrafficLossTest, ArpAndNeighbourDiscoverySurvive) {
  RunIn(hosts_.far(), [] {
    AddAddress("eth0", "10.73.0.3", 24);
    AddAddress("eth0", "fd73::3", 64);
  });
  const UdpSocket stranger(hosts_.far(), "10.73.0.3"), stranger6(hosts_.far(), "fd73::3");
  auto rule = Add(Loss(1, v1::DIRECTION_BOTH));
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(Send(near_, stranger, 5, 200).arrived, 0);
  EXPECT_EQ(Send(near6_, stranger6, 5, 200).arrived, 0);
  // Only packets to a resolved neighbour come as far as the device.
  const auto stats = rule->Stats();
  ASSERT_OK(stats.status());
  EXPECT_EQ(stats->rule.hit_packets, 10u);
}

}  // namespace
}  // namespace firedrill::testing
