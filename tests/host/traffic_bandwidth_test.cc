// SPDX-License-Identifier: Apache-2.0
#include "proto/support/time.h"
#include "tests/host/lib/stalls.h"
#include "tests/host/lib/traffic_fixture.h"

namespace firedrill::testing {
namespace {

using agent::ShapeEffect;
using std::chrono::milliseconds;

constexpr int kPayload = 1000;
constexpr int kFrame = kPayload + 8 + 20 + 14;  // UDP, IPv4, Ethernet
constexpr std::uint64_t kMegabit = 1'000'000;
constexpr double kLateMs = 40;

class TrafficBandwidthTest : public TrafficTest {
 protected:
  TrafficBandwidthTest()
      : near_(hosts_.near(), TwoHosts::kNear4), far_(hosts_.far(), TwoHosts::kFar4) {}

  static Delivery Flood(const UdpSocket& from, const UdpSocket& to, int count) {
    return Send(from, to, count, 800, count, 0, kPayload);
  }
  static double LastMs(const Delivery& delivery) { return delivery.Quantile(1); }
  /// What `packets` take on the wire.
  static double TakesMs(int packets, std::uint64_t bits_per_second) {
    return packets * kFrame * 8e3 / static_cast<double>(bits_per_second);
  }
  /// What the lines say of their lateness, and the watch of the machine's: not the rate's.
  double LateMs(const agent::TrafficRule& rule) const {
    return LineLateMs(rule) + 1e3 * Seconds(watch_.Between(began_, Clock::Real().Steady()));
  }

  const test::StallWatch watch_;
  const SteadyTime began_ = Clock::Real().Steady();
  UdpSocket near_, far_;
};

TEST_F(TrafficBandwidthTest, TheRateIsKeptBothWaysByThemselves) {
  constexpr int kCount = 500;
  auto rule = Add(Spec(ShapeEffect{.bits_per_second = 10 * kMegabit, .queue = milliseconds(2000)},
                       v1::DIRECTION_BOTH));
  ASSERT_NE(rule, nullptr);
  const double takes_ms = TakesMs(kCount, 10 * kMegabit);  // 417 ms
  for (const auto& [from, to] : {std::pair(&near_, &far_), std::pair(&far_, &near_)}) {
    const Delivery delivery = Flood(*from, *to, kCount);
    EXPECT_EQ(delivery.arrived, kCount);
    EXPECT_TRUE(delivery.in_order);
    EXPECT_GE(delivery.span_ms, takes_ms * 0.99) << "never faster";
    EXPECT_LE(delivery.span_ms, takes_ms * 1.01 + delivery.sending_ms + kLateMs + LateMs(*rule));
  }
  EXPECT_EQ(rule->Stats()->rule.queue_dropped_packets, 0u);
  EXPECT_OK(rule->Remove());
  EXPECT_LT(Flood(near_, far_, kCount).Quantile(0.5), 10);
}

TEST_F(TrafficBandwidthTest, WhatWouldWaitTooLongIsDroppedAndCounted) {
  constexpr int kCount = 500;
  const auto rule =
      Add(Spec(ShapeEffect{.bits_per_second = 10 * kMegabit, .queue = milliseconds(100)}));
  ASSERT_NE(rule, nullptr);
  const Delivery delivery = Flood(near_, far_, kCount);
  EXPECT_EQ(delivery.send_errors, 0);
  // What fits into 100 ms, and what went through while the rest was sent.
  const double fit = 100 / TakesMs(1, 10 * kMegabit);
  EXPECT_GE(delivery.arrived, static_cast<int>(fit));
  EXPECT_LE(delivery.arrived, fit + 2 + delivery.sending_ms / TakesMs(1, 10 * kMegabit));
  const auto stats = rule->Stats();
  ASSERT_OK(stats.status());
  // Not the very last: its sender may have waited for a processor with the time already noted.
  EXPECT_LE(delivery.Quantile(0.95), 100 + TakesMs(1, 10 * kMegabit) + kLateMs + LateMs(*rule));
  EXPECT_EQ(stats->rule.queue_dropped_packets, static_cast<unsigned>(kCount - delivery.arrived));
  EXPECT_EQ(stats->rule.queue_dropped_bytes,
            static_cast<unsigned>(kCount - delivery.arrived) * kFrame);
  EXPECT_EQ(stats->rule.matched_packets, static_cast<unsigned>(kCount));
}

TEST_F(TrafficBandwidthTest, TcpGetsTheRate) {
  for (const std::uint64_t rate : {20 * kMegabit, 800 * kMegabit}) {
    const auto rule = Add(Spec(ShapeEffect{.bits_per_second = rate, .queue = milliseconds(200)}));
    ASSERT_NE(rule, nullptr);
    const double asked = static_cast<double>(rate) / 1e6;
    double best = 0;
    // A busy machine may spoil a try, never make it faster than asked.
    for (int attempt = 0; attempt < 4 && best < asked * 0.6; ++attempt) {
      const TcpResult result =
          PushTcp(hosts_.far(), TwoHosts::kFar4, 7051, rate / 8, 20'000);  // A second's worth.
      ASSERT_TRUE(result.connected);
      // Of each packet of 1514 bytes 1448 are the user's.
      EXPECT_LE(result.megabit_per_second, asked * 1448 / 1514 * 1.03);
      best = std::max(best, result.megabit_per_second);
    }
    EXPECT_GE(best, asked * 0.6);
  }
}

TEST_F(TrafficBandwidthTest, TheSlowestAndTheFastest) {
  {
    const auto rule = Add(Spec(ShapeEffect{.bits_per_second = 8000, .queue = milliseconds(100)}));
    ASSERT_NE(rule, nullptr);
    const Delivery one = Send(near_, far_, 1, 1000, 1, 0, 64);
    ASSERT_EQ(one.arrived, 1);
    // A bit takes 125 us.
    EXPECT_GE(LastMs(one), (64 + 42) * 8 / 8.0);
    EXPECT_LE(LastMs(one), (64 + 42) * 8 / 8.0 + kLateMs + one.worst_send_ms + LateMs(*rule));
  }
  const auto rule =
      Add(Spec(ShapeEffect{.bits_per_second = 100'000 * kMegabit, .queue = milliseconds(1)}));
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(Flood(near_, far_, 500).arrived, 500);
}

TEST_F(TrafficBandwidthTest, Loopback) {
  const UdpSocket from(hosts_.near(), "::1"), to(hosts_.near(), "::1");
  agent::TrafficRuleSpec spec =
      Spec(ShapeEffect{.bits_per_second = 10 * kMegabit, .queue = milliseconds(2000)});
  spec.traffic.set_device("lo");
  const auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  const Delivery delivery = Flood(from, to, 200);
  EXPECT_EQ(delivery.arrived, 200);
  const double takes_ms = 200 * (kFrame + 20) * 8e3 / 1e7;  // IPv6
  EXPECT_GE(delivery.span_ms, takes_ms * 0.99);
  EXPECT_LE(delivery.span_ms, takes_ms * 1.01 + delivery.sending_ms + kLateMs + LateMs(*rule));
}

TEST_F(TrafficBandwidthTest, DelayComesBehindTheQueue) {
  const auto shape =
      Add(Spec(ShapeEffect{.bits_per_second = 10 * kMegabit, .queue = milliseconds(50)}));
  const auto delay = Add(Delay(300));
  ASSERT_NE(delay, nullptr);
  // The wait that delay adds is none in the queue.
  const Delivery delivery = Flood(near_, far_, 50);
  EXPECT_EQ(delivery.arrived, 50);
  EXPECT_GE(delivery.Quantile(0), 300 + TakesMs(1, 10 * kMegabit));
  EXPECT_GE(delivery.span_ms, 300 + TakesMs(50, 10 * kMegabit) * 0.99);
  EXPECT_LE(LastMs(delivery),
            300 + TakesMs(50, 10 * kMegabit) + kLateMs + delivery.worst_send_ms + LateMs(*delay));
}

}  // namespace
}  // namespace firedrill::testing
