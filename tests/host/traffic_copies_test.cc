// SPDX-License-Identifier: Apache-2.0
// Packets that arrive twice, or in another order.
#include "tests/host/lib/traffic_fixture.h"

namespace firedrill::testing {
namespace {

using agent::DelayEffect;
using agent::DuplicateEffect;
using agent::LoseEffect;
using agent::ReorderEffect;
using std::chrono::milliseconds;

constexpr int kMany = 5000;
constexpr int kSome = 500;
constexpr int kWaitMs = 600;
constexpr double kPromptMs = 5;

class TrafficCopiesTest : public TrafficTest {
 protected:
  TrafficCopiesTest()
      : near_(hosts_.near(), TwoHosts::kNear4),
        far_(hosts_.far(), TwoHosts::kFar4),
        near6_(hosts_.near(), TwoHosts::kNear6),
        far6_(hosts_.far(), TwoHosts::kFar6) {}

  static void ExpectTwice(const Delivery& delivery) {
    EXPECT_EQ(delivery.arrived, delivery.sent);
    EXPECT_EQ(delivery.duplicates, delivery.sent);
    EXPECT_EQ(delivery.send_errors, 0);
  }
  UdpSocket near_, far_, near6_, far6_;
};

TEST_F(TrafficCopiesTest, AllArriveTwiceBothWays) {
  auto rule = Add(Spec(DuplicateEffect{.share = 1}, v1::DIRECTION_BOTH));
  ASSERT_NE(rule, nullptr);
  ExpectTwice(Send(near_, far_, kSome));
  ExpectTwice(Send(far_, near_, kSome));
  ExpectTwice(Send(near6_, far6_, kSome));
  ExpectTwice(Send(far6_, near6_, kSome));
  EXPECT_EQ(rule->Stats()->rule.hit_packets, 4u * kSome);
  EXPECT_GT(PushTcp(hosts_.far(), TwoHosts::kFar4, 7041, 4 << 20, 30'000).megabit_per_second, 0);
  EXPECT_OK(rule->Remove());
  EXPECT_EQ(Send(near_, far_, kSome).duplicates, 0);
}

TEST_F(TrafficCopiesTest, TheShareAskedFor) {
  const auto rule = Add(Spec(DuplicateEffect{.share = 0.1}));
  ASSERT_NE(rule, nullptr);
  const Delivery delivery = Send(near_, far_, kMany);
  EXPECT_EQ(delivery.arrived, kMany);
  EXPECT_NEAR(delivery.duplicates / double{kMany}, 0.1, Tolerance(0.1, kMany));
  EXPECT_TRUE(delivery.in_order);
}

TEST_F(TrafficCopiesTest, OnLoopback) {
  for (const char* address : {"127.0.0.1", "::1"}) {
    const UdpSocket from(hosts_.near(), address), to(hosts_.near(), address);
    agent::TrafficRuleSpec spec = Spec(DuplicateEffect{.share = 1}, v1::DIRECTION_BOTH);
    spec.traffic.set_device("lo");
    const auto rule = Add(spec);
    ASSERT_NE(rule, nullptr);
    ExpectTwice(Send(from, to, kSome));
  }
}

TEST_F(TrafficCopiesTest, TwoRulesMakeTwoCopies) {
  const auto first = Add(Spec(DuplicateEffect{.share = 1}));
  const auto second = Add(Spec(DuplicateEffect{.share = 1}));
  const Delivery delivery = Send(near_, far_, kSome);
  EXPECT_EQ(delivery.arrived, kSome);
  EXPECT_EQ(delivery.duplicates, 2 * kSome);
}

TEST_F(TrafficCopiesTest, CopiesAreDelayedToo) {
  const auto copies = Add(Spec(DuplicateEffect{.share = 1}, v1::DIRECTION_BOTH));
  const auto delay = Add(Delay(20, v1::DIRECTION_BOTH));
  ASSERT_NE(delay, nullptr);
  for (const auto& [from, to] : {std::pair(&near_, &far_), std::pair(&far_, &near_)}) {
    const Delivery delivery = Send(*from, *to, kSome, kWaitMs);
    ExpectTwice(delivery);
    EXPECT_GE(delivery.Quantile(0), 20);
  }
}

TEST_F(TrafficCopiesTest, WhatIsLostIsNotCopied) {
  for (const bool exact : {false, true}) {
    const auto copies = Add(Spec(DuplicateEffect{.share = 1}));
    const auto loss = Add(Spec(LoseEffect{.every = 2, .exact = exact}));
    ASSERT_NE(loss, nullptr);
    const Delivery delivery = Send(near_, far_, kSome, kWaitMs);
    EXPECT_EQ(delivery.arrived, kSome / 2);
    EXPECT_EQ(delivery.duplicates, kSome / 2);
    EXPECT_EQ(copies->Stats()->rule.matched_packets, kSome / 2u);
  }
}

TEST_F(TrafficCopiesTest, SomeAreOvertaken) {
  constexpr double kShare = 0.25;
  constexpr int kCount = 1000;
  auto rule = Add(Spec(ReorderEffect{.share = kShare, .delay = milliseconds(20)}));
  ASSERT_NE(rule, nullptr);
  const Delivery delivery = Send(near_, far_, kCount, kWaitMs, 1, 500);
  EXPECT_EQ(delivery.arrived, kCount);
  EXPECT_EQ(delivery.duplicates, 0);
  EXPECT_FALSE(delivery.in_order);
  const auto late = std::count_if(delivery.delays_ms.begin(), delivery.delays_ms.end(),
                                  [](double delay) { return delay >= 20; });
  const auto held = static_cast<int>(rule->Stats()->rule.hit_packets);
  EXPECT_NEAR(static_cast<double>(held) / kCount, kShare, Tolerance(kShare, kCount));
  EXPECT_GE(late, held) << "each of them was held";
  EXPECT_LT(delivery.Quantile(0.5), 3 * kPromptMs) << "the others went on at once";
  EXPECT_OK(rule->Remove());
  EXPECT_TRUE(Send(near_, far_, kCount).in_order);
}

TEST_F(TrafficCopiesTest, OvertakesBothWaysAndOnLoopback) {
  const auto rule =
      Add(Spec(ReorderEffect{.share = 0.5, .delay = milliseconds(10)}, v1::DIRECTION_BOTH));
  ASSERT_NE(rule, nullptr);
  EXPECT_FALSE(Send(far6_, near6_, kSome, kWaitMs).in_order);
  EXPECT_GT(PushTcp(hosts_.far(), TwoHosts::kFar4, 7042, 1 << 20, 30'000).megabit_per_second, 0);
  const UdpSocket from(hosts_.near(), "127.0.0.1"), to(hosts_.near(), "127.0.0.1");
  agent::TrafficRuleSpec spec = Spec(ReorderEffect{.share = 0.5, .delay = milliseconds(10)});
  spec.traffic.set_device("lo");
  const auto loopback = Add(spec);
  ASSERT_NE(loopback, nullptr);
  const Delivery delivery = Send(from, to, kSome, kWaitMs);
  EXPECT_EQ(delivery.arrived, kSome);
  EXPECT_FALSE(delivery.in_order);
}

}  // namespace
}  // namespace firedrill::testing
