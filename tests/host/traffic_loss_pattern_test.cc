// SPDX-License-Identifier: Apache-2.0
// Which packets are lost: in bursts, each of a number, the same again, of the wire or not.
#include <set>

#include "tests/host/lib/traffic_fixture.h"

namespace firedrill::testing {
namespace {

using agent::LoseEffect;

constexpr int kMany = 20'000;
constexpr int kSeed = 42;

class TrafficLossPatternTest : public TrafficTest {
 protected:
  TrafficLossPatternTest()
      : near_(hosts_.near(), TwoHosts::kNear4), far_(hosts_.far(), TwoHosts::kFar4) {}

  /// Whether each of `count` packets was lost.
  std::vector<bool> Lost(const agent::TrafficRuleSpec& spec, int count = kMany) {
    const auto rule = Add(spec);
    std::vector<bool> lost;
    for (const auto& delay : Send(near_, far_, count).DelaysByNumber())
      lost.push_back(!delay.has_value());
    return lost;
  }
  static double Share(const std::vector<bool>& lost) {
    return static_cast<double>(std::count(lost.begin(), lost.end(), true)) /
           static_cast<double>(lost.size());
  }
  static double MeanBurst(const std::vector<bool>& lost) {
    int bursts = 0;
    for (std::size_t at = 0; at < lost.size(); ++at)
      bursts += lost[at] && (at == 0 || !lost[at - 1]) ? 1 : 0;
    return static_cast<double>(std::count(lost.begin(), lost.end(), true)) / bursts;
  }
  UdpSocket near_, far_;
};

TEST_F(TrafficLossPatternTest, EveryTenthExactly) {
  const std::vector<bool> lost = Lost(Spec(LoseEffect{.every = 10}), 1000);
  for (std::size_t number = 0; number < lost.size(); ++number)
    EXPECT_EQ(lost[number], number % 10 == 9) << number;
}

TEST_F(TrafficLossPatternTest, EachDirectionCountsByItself) {
  const auto rule = Add(Spec(LoseEffect{.every = 3}, v1::DIRECTION_BOTH));
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(Send(near_, far_, 2).arrived, 2);
  EXPECT_EQ(Send(far_, near_, 2).arrived, 2);
  EXPECT_EQ(Send(near_, far_, 1, 20).arrived, 0);
  EXPECT_EQ(Send(far_, near_, 1, 20).arrived, 0);
}

TEST_F(TrafficLossPatternTest, ASeedRepeatsTheSameDecisions) {
  const agent::TrafficRuleSpec spec = Spec(LoseEffect{.share = 0.3}, v1::DIRECTION_EGRESS, kSeed);
  const std::vector<bool> first = Lost(spec);
  EXPECT_NEAR(Share(first), 0.3, Tolerance(0.3, kMany));
  EXPECT_EQ(Lost(spec), first);
  const std::vector<bool> other =
      Lost(Spec(LoseEffect{.share = 0.3}, v1::DIRECTION_EGRESS, kSeed + 1));
  EXPECT_NEAR(Share(other), 0.3, Tolerance(0.3, kMany));
  EXPECT_NE(other, first);
  // Of two independent sequences both lose 9 % of the packets.
  int both = 0;
  for (std::size_t at = 0; at < first.size(); ++at) both += first[at] && other[at] ? 1 : 0;
  EXPECT_NEAR(static_cast<double>(both) / kMany, 0.09, Tolerance(0.09, kMany));
}

// With the seed the outcome is always the same: bounds need no allowance for chance.
TEST_F(TrafficLossPatternTest, BurstsHaveTheMeanLengthAndTheShareInTheLongRun) {
  // Mean 5 packets, 20 %: leave 1/5, enter 1/5 × 0.2 / 0.8.
  const LoseEffect effect{.bursts = LoseEffect::Bursts{.enter = 0.05, .leave = 0.2}};
  const agent::TrafficRuleSpec spec = Spec(effect, v1::DIRECTION_EGRESS, kSeed);
  const std::vector<bool> lost = Lost(spec, 3 * kMany);
  EXPECT_NEAR(Share(lost), 0.2, 0.01);
  EXPECT_NEAR(MeanBurst(lost), 5, 0.2);
  EXPECT_EQ(Lost(spec, kMany), std::vector<bool>(lost.begin(), lost.begin() + kMany));
}

TEST_F(TrafficLossPatternTest, TheFourParametersOfTheModelHold) {
  const LoseEffect effect{
      .bursts =
          LoseEffect::Bursts{.enter = 0.1, .leave = 0.3, .lost_in_good = 0.02, .lost_in_bad = 0.6}};
  const std::vector<bool> lost = Lost(Spec(effect, v1::DIRECTION_EGRESS, kSeed), 3 * kMany);
  // A quarter of the time is bad.
  EXPECT_NEAR(Share(lost), 0.75 * 0.02 + 0.25 * 0.6, 0.01);
  // A loss makes it likely to be in the bad state: the next is lost more often than any.
  int after_loss = 0, pairs = 0;
  for (std::size_t at = 1; at < lost.size(); ++at) {
    after_loss += lost[at - 1] ? 1 : 0;
    pairs += lost[at - 1] && lost[at] ? 1 : 0;
  }
  const double bad_after_loss = 0.25 * 0.6 / (0.75 * 0.02 + 0.25 * 0.6);
  const double bad_next = bad_after_loss * 0.7 + (1 - bad_after_loss) * 0.1;
  EXPECT_NEAR(static_cast<double>(pairs) / after_loss, bad_next * 0.6 + (1 - bad_next) * 0.02,
              0.02);
}

TEST_F(TrafficLossPatternTest, ABadStateWithoutAnEndLosesAllFromThenOn) {
  const LoseEffect effect{.bursts = LoseEffect::Bursts{.enter = 1, .leave = 0}};
  EXPECT_EQ(Share(Lost(Spec(effect), 200)), 1);
}

TEST_F(TrafficLossPatternTest, FastCountsSuperPacketsExactCountsTheWires) {
  constexpr int kSegments = 40;
  constexpr int kSize = 1000;
  {
    const auto rule = Add(Spec(LoseEffect{.every = 2}));
    ASSERT_NE(rule, nullptr);
    std::multiset<int> arrived;
    for (int i = 0; i < 2; ++i) {
      SendSegments(near_, far_, kSegments, kSize);
      arrived.insert(far_.Drain(50));
    }
    EXPECT_EQ(arrived, (std::multiset<int>{0, kSegments}));
    EXPECT_EQ(rule->Stats()->rule.hit_packets, static_cast<unsigned>(kSegments));
  }
  for (const v1::Direction direction : {v1::DIRECTION_EGRESS, v1::DIRECTION_INGRESS}) {
    const auto rule = Add(Spec(LoseEffect{.every = 4, .exact = true}, direction));
    ASSERT_NE(rule, nullptr);
    const bool out = direction == v1::DIRECTION_EGRESS;
    SendSegments(out ? near_ : far_, out ? far_ : near_, kSegments, kSize);
    EXPECT_EQ((out ? far_ : near_).Drain(600), kSegments * 3 / 4);
    const auto stats = rule->Stats();
    ASSERT_OK(stats.status());
    EXPECT_EQ(stats->rule.matched_packets, static_cast<unsigned>(kSegments));
    EXPECT_EQ(stats->rule.hit_packets, static_cast<unsigned>(kSegments / 4));
    EXPECT_EQ(stats->rule.hit_bytes, kSegments / 4 * (kSize + 8 + 20 + 14u));
  }
}

TEST_F(TrafficLossPatternTest, ExactLossOfTcpIsTheShareOfWirePackets) {
  constexpr std::size_t kBytes = 20 << 20;
  constexpr double kShare = 0.01;
  const auto rule = Add(Spec(LoseEffect{.share = kShare, .exact = true}));
  ASSERT_NE(rule, nullptr);
  const TcpResult result = PushTcp(hosts_.far(), TwoHosts::kFar4, 7021, kBytes, 60'000);
  ASSERT_TRUE(result.connected);
  const auto stats = rule->Stats();
  ASSERT_OK(stats.status());
  const auto matched = static_cast<int>(stats->rule.matched_packets);
  EXPECT_GE(stats->rule.matched_packets, kBytes / 1448);
  EXPECT_NEAR(static_cast<double>(stats->rule.hit_packets) / matched, kShare,
              Tolerance(kShare, matched));
  // Each loss costs one segment, not a super-packet's forty.
  EXPECT_LE(result.retransmits, stats->rule.hit_packets * 4);
  EXPECT_EQ(stats->totals.not_held + stats->totals.not_returned, 0u);
  EXPECT_EQ(stats->line.overflowed + stats->line.stale + stats->line_dropped, 0u);
}

TEST_F(TrafficLossPatternTest, ExactOnLoopbackAndIpv6) {
  const UdpSocket from(hosts_.near(), "::1"), to(hosts_.near(), "::1");
  agent::TrafficRuleSpec spec = Spec(LoseEffect{.every = 4, .exact = true}, v1::DIRECTION_BOTH);
  spec.traffic.set_device("lo");
  const auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(Send(from, to, 400, 600).arrived, 300);
  SendSegments(from, to, 40, 1000);
  EXPECT_EQ(to.Drain(600), 30);
}

}  // namespace
}  // namespace firedrill::testing
