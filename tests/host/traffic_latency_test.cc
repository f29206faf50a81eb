// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "proto/support/time.h"
#include "tests/host/lib/stalls.h"
#include "tests/host/lib/traffic_fixture.h"

namespace firedrill::testing {
namespace {

using std::chrono::milliseconds;

constexpr int kMany = 2000;
constexpr int kBurst = 10;
constexpr int kGapUs = 2000;
constexpr int kWaitMs = 600;
// Later than asked for: a shared machine with two cores takes its time now and then.
constexpr double kPromptMs = 5;  // Undelayed: less than any delay here.
constexpr double kMedianLateMs = 3;
constexpr double kTailLateMs = 40;

class TrafficLatencyTest : public TrafficTest {
 protected:
  TrafficLatencyTest()
      : near_(hosts_.near(), TwoHosts::kNear4),
        far_(hosts_.far(), TwoHosts::kFar4),
        near6_(hosts_.near(), TwoHosts::kNear6),
        far6_(hosts_.far(), TwoHosts::kFar6) {}

  static Delivery Stream(const UdpSocket& from, const UdpSocket& to, int count = kMany) {
    return Send(from, to, count, kWaitMs, kBurst, kGapUs);
  }
  /// What it sends arrives, all of it, none before `delay_ms`, half and nearly all of it not much
  /// later, but for what the sender and the machine took. A busy machine may make one stream late,
  /// hardly five: of these the promptest counts. The packets sent in all.
  template <typename Stream>
  int ExpectDelayed(double delay_ms, const Stream& stream) const {
    int sent = 0;
    double median_late_ms = INFINITY, tail_late_ms = INFINITY;
    for (int tries = 0; tries < 5 && (median_late_ms > kMedianLateMs || tail_late_ms > kTailLateMs);
         ++tries) {
      const SteadyTime start = Clock::Real().Steady();
      const Delivery delivery = stream();
      sent += delivery.sent;
      EXPECT_EQ(delivery.arrived, delivery.sent);
      EXPECT_EQ(delivery.duplicates, 0);
      EXPECT_GE(delivery.Quantile(0), delay_ms);
      median_late_ms = std::min(median_late_ms, delivery.Quantile(0.5) - delay_ms);
      tail_late_ms = std::min(tail_late_ms, delivery.Quantile(0.99) - delay_ms -
                                                delivery.worst_send_ms - StalledMs(start));
    }
    EXPECT_LE(median_late_ms, kMedianLateMs);
    EXPECT_LE(tail_late_ms, kTailLateMs);
    return sent;
  }
  int ExpectDelayed(double delay_ms, const UdpSocket& from, const UdpSocket& to) const {
    return ExpectDelayed(delay_ms, [&] { return Stream(from, to); });
  }

  double StalledMs(SteadyTime since) const {
    return 1e3 * Seconds(watch_.Between(since, Clock::Real().Steady()));
  }

  const test::StallWatch watch_;
  UdpSocket near_, far_, near6_, far6_;
};

TEST_F(TrafficLatencyTest, DelaysWhatIsSentAndNothingBeforeOrAfter) {
  EXPECT_LT(Stream(near_, far_).Quantile(0.5), kPromptMs);
  auto rule = Add(Delay(50));
  ASSERT_NE(rule, nullptr);
  const int sent = ExpectDelayed(50, near_, far_);
  EXPECT_LT(Stream(far_, near_).Quantile(0.5), kPromptMs) << "the other direction";
  const auto stats = rule->Stats();
  ASSERT_OK(stats.status());
  EXPECT_EQ(stats->rule.hit_packets, static_cast<unsigned>(sent));
  EXPECT_EQ(stats->line.delivered, static_cast<unsigned>(sent));
  EXPECT_EQ(stats->line.overflowed + stats->line.stale + stats->line.refused + stats->line_dropped,
            0u);
  EXPECT_EQ(stats->totals.not_held + stats->totals.not_returned, 0u);
  EXPECT_OK(rule->Remove());
  EXPECT_LT(Stream(near_, far_).Quantile(0.5), kPromptMs);
}

TEST_F(TrafficLatencyTest, DelaysWhatArrives) {
  auto rule = Add(Delay(30, v1::DIRECTION_INGRESS));
  ASSERT_NE(rule, nullptr);
  ExpectDelayed(30, far_, near_);
  EXPECT_LT(Stream(near_, far_).Quantile(0.5), kPromptMs) << "the other direction";
}

TEST_F(TrafficLatencyTest, DelaysIpv6BothWays) {
  auto rule = Add(Delay(20, v1::DIRECTION_BOTH));
  ASSERT_NE(rule, nullptr);
  ExpectDelayed(20, near6_, far6_);
  ExpectDelayed(20, far6_, near6_);
}

TEST_F(TrafficLatencyTest, KeepsTheOrderOfAConstantDelay) {
  auto rule = Add(Delay(20));
  ASSERT_NE(rule, nullptr);
  ExpectDelayed(20, [&] {
    Delivery delivery = Stream(near_, far_);
    EXPECT_TRUE(delivery.in_order);
    return delivery;
  });
}

TEST_F(TrafficLatencyTest, JitterIsUniformAroundTheDelay) {
  agent::TrafficRuleSpec spec = Delay(30);
  spec.effect = agent::DelayEffect{.delay = milliseconds(30), .jitter = milliseconds(20)};
  auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  const SteadyTime start = Clock::Real().Steady();
  const Delivery delivery = Stream(near_, far_);
  EXPECT_EQ(delivery.arrived, kMany);
  EXPECT_GE(delivery.Quantile(0), 10);
  // Of 2000 uniform over 10 to 50 ms a quantile's standard deviation is at most 0.45 ms.
  EXPECT_NEAR(delivery.Quantile(0.25), 20, 2.5 + kMedianLateMs);
  EXPECT_NEAR(delivery.Quantile(0.5), 30, 2.5 + kMedianLateMs);
  EXPECT_NEAR(delivery.Quantile(0.75), 40, 2.5 + kMedianLateMs);
  EXPECT_LE(delivery.Quantile(0.99), 50 + kTailLateMs + delivery.worst_send_ms + StalledMs(start));
  EXPECT_FALSE(delivery.in_order) << "packets overtake each other";
}

TEST_F(TrafficLatencyTest, DelaysLoopback) {
  for (const char* address : {"127.0.0.1", "::1", TwoHosts::kNear4}) {
    const UdpSocket from(hosts_.near(), address), to(hosts_.near(), address);
    agent::TrafficRuleSpec spec = Delay(20, v1::DIRECTION_BOTH);
    spec.traffic.set_device("lo");
    auto rule = Add(spec);
    ASSERT_NE(rule, nullptr);
    ExpectDelayed(20, from, to);
    EXPECT_OK(rule->Remove());
    EXPECT_LT(Stream(from, to).Quantile(0.5), kPromptMs) << address;
  }
}

TEST_F(TrafficLatencyTest, TcpIsFastThroughALongDelay) {
  auto rule = Add(Delay(20));
  ASSERT_NE(rule, nullptr);
  double connect_ms = INFINITY;
  for (int tries = 0; tries < 5 && connect_ms >= 20 + kTailLateMs; ++tries) {
    const TcpResult result = PushTcp(hosts_.far(), TwoHosts::kFar4, 7002, 1, 60'000);
    ASSERT_TRUE(result.connected);
    EXPECT_GE(result.connect_ms, 20);
    connect_ms = std::min(connect_ms, result.connect_ms);
  }
  EXPECT_LT(connect_ms, 20 + kTailLateMs);
  const TcpResult result = PushTcp(hosts_.far(), TwoHosts::kFar4, 7002, 64 << 20, 60'000);
  ASSERT_TRUE(result.connected);
  // A held packet must not hold its socket: that gave 0.9 Mbit/s.
  EXPECT_GT(result.megabit_per_second, 100);
  EXPECT_LT(result.retransmits, 100u);
}

TEST_F(TrafficLatencyTest, TcpOverLoopbackAndLargeDatagrams) {
  agent::TrafficRuleSpec spec = Delay(10);
  spec.traffic.set_device("lo");
  auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  const TcpResult result = PushTcp(hosts_.near(), "127.0.0.1", 7003, 16 << 20, 60'000);
  ASSERT_TRUE(result.connected);
  EXPECT_GE(result.connect_ms, 20);  // There and back.
  EXPECT_GT(result.megabit_per_second, 20);
  const UdpSocket from(hosts_.near(), "127.0.0.1"), to(hosts_.near(), "127.0.0.1");
  ExpectDelayed(10, [&] { return Send(from, to, 200, kWaitMs, kBurst, kGapUs, 60'000); });
}

TEST_F(TrafficLatencyTest, DelaysOfTwoRulesAddUpAndLossComesFirst) {
  auto first = Add(Delay(20));
  ASSERT_NE(first, nullptr);
  auto second = Add(Delay(15));
  ASSERT_NE(second, nullptr);
  const int sent = ExpectDelayed(35, near_, far_);
  auto loss = Add(Loss(0.4));
  ASSERT_NE(loss, nullptr);
  const Delivery delivery = Stream(near_, far_, 5000);
  EXPECT_NEAR(delivery.LostShare(), 0.4, Tolerance(0.4, 5000));
  EXPECT_GE(delivery.Quantile(0), 35);
  const auto stats = first->Stats();
  ASSERT_OK(stats.status());
  EXPECT_EQ(stats->rule.matched_packets, static_cast<unsigned>(sent + delivery.arrived))
      << "a lost packet is not delayed";
}

TEST_F(TrafficLatencyTest, RemovalGivesBackAtOnceWhatIsHeld) {
  auto rule = Add(Delay(5000));
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(Send(near_, far_, 20, 50).arrived, 0);
  EXPECT_OK(rule->Remove());
  EXPECT_EQ(far_.Drain(300), 20);
  EXPECT_LT(Stream(near_, far_).Quantile(0.5), kPromptMs);
}

TEST_F(TrafficLatencyTest, TheEndOfAnotherRuleReleasesNothing) {
  auto rule = Add(Delay(2000));
  ASSERT_NE(rule, nullptr);
  auto loss = Add(Loss(0.000001));
  ASSERT_NE(loss, nullptr);
  EXPECT_EQ(Send(near_, far_, 20, 50).arrived, 0);
  EXPECT_OK(loss->Remove());
  EXPECT_EQ(far_.Drain(500), 0);
  EXPECT_EQ(far_.Drain(2500), 20);
}

TEST_F(TrafficLatencyTest, AFullLineDropsAndCounts) {
  agent::TrafficOptions options;
  options.limits.packets = 100;
  StartEngine(options);
  auto rule = Add(Delay(1500));
  ASSERT_NE(rule, nullptr);
  const Delivery delivery = Send(near_, far_, 500, 2500);
  EXPECT_EQ(delivery.arrived, 100);
  const auto stats = rule->Stats();
  ASSERT_OK(stats.status());
  EXPECT_EQ(stats->line.overflowed, 400u);
}

TEST_F(TrafficLatencyTest, DelaysTaggedFramesAndKeepsTheirTag) {
  const TaggedSocket from(hosts_.near(), "eth0"), to(hosts_.far(), "eth0");
  double undelayed_ms = INFINITY;
  for (int tries = 0; tries < 5 && undelayed_ms >= kPromptMs; ++tries) {
    const auto before = to.AwaitTag(from.SendTagged(7), 1000);
    ASSERT_TRUE(before.has_value());
    undelayed_ms = std::min(undelayed_ms, before->delay_ms);
  }
  EXPECT_LT(undelayed_ms, kPromptMs);
  auto rule = Add(Delay(20, v1::DIRECTION_BOTH));
  ASSERT_NE(rule, nullptr);
  double delayed_ms = INFINITY;
  for (int tries = 0; tries < 5 && delayed_ms > 20 + kTailLateMs; ++tries) {
    const auto sent = to.AwaitTag(from.SendTagged(7), 1000);
    ASSERT_TRUE(sent.has_value());
    EXPECT_EQ(sent->tag, 7);
    EXPECT_GE(sent->delay_ms, 20);
    delayed_ms = std::min(delayed_ms, sent->delay_ms);
  }
  EXPECT_LE(delayed_ms, 20 + kTailLateMs);
  // A packet socket sees an arriving frame before classifiers do, and again when it is given back.
  const std::uint32_t number = to.SendTagged(9);
  ASSERT_TRUE(from.AwaitTag(number, 1000).has_value());
  const auto given_back = from.AwaitTag(number, 1000);
  ASSERT_TRUE(given_back.has_value());
  EXPECT_EQ(given_back->tag, 9);
  EXPECT_GE(given_back->delay_ms, 20);
}

}  // namespace
}  // namespace firedrill::testing
