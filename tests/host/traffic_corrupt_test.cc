// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <bit>

#include "tests/host/lib/traffic_fixture.h"

namespace firedrill::testing {
namespace {

using agent::CorruptEffect;

constexpr int kSome = 300;
constexpr int kMany = 5000;
constexpr int kWaitMs = 200;

class TrafficCorruptTest : public TrafficTest {
 protected:
  TrafficCorruptTest()
      : near_(hosts_.near(), TwoHosts::kNear4),
        far_(hosts_.far(), TwoHosts::kFar4),
        near6_(hosts_.near(), TwoHosts::kNear6),
        far6_(hosts_.far(), TwoHosts::kFar6) {}

  /// For each datagram of `size` equal bytes that arrives, how many of its bits are turned.
  static std::vector<int> TurnedBits(const UdpSocket& from, const UdpSocket& to, int count,
                                     std::size_t size) {
    const std::vector<char> sent(size, 'U');
    std::vector<int> turned;
    for (int number = 0; number < count; ++number) {
      const sockaddr_storage& address = to.address();
      sendto(from.fd(), sent.data(), size, 0, reinterpret_cast<const sockaddr*>(&address),
             address.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    }
    pollfd polled{to.fd(), POLLIN, 0};
    std::vector<char> got(size + 1);
    while (poll(&polled, 1, kWaitMs) > 0) {
      EXPECT_EQ(recv(to.fd(), got.data(), got.size(), 0), static_cast<ssize_t>(size));
      int bits = 0;
      for (std::size_t at = 0; at < size; ++at)
        bits += std::popcount(static_cast<unsigned char>(got[at] ^ sent[at]));
      turned.push_back(bits);
    }
    return turned;
  }
  UdpSocket near_, far_, near6_, far6_;
};

TEST_F(TrafficCorruptTest, TheReceiverNoticesAWrongChecksum) {
  const auto rule = Add(Spec(CorruptEffect{.share = 1}, v1::DIRECTION_BOTH));
  ASSERT_NE(rule, nullptr);
  struct Way {
    const UdpSocket &from, &to;
    const NetNamespace& space;
    bool ipv6;
  };
  for (const Way& way : {Way{near_, far_, hosts_.far(), false},
                         {near6_, far6_, hosts_.far(), true},
                         {far_, near_, hosts_.near(), false},
                         {far6_, near6_, hosts_.near(), true}}) {
    const long before = UdpChecksumErrors(way.space, way.ipv6);
    const Delivery delivery = Send(way.from, way.to, kSome);
    EXPECT_EQ(delivery.arrived, 0);
    EXPECT_EQ(delivery.send_errors, 0);
    EXPECT_EQ(UdpChecksumErrors(way.space, way.ipv6) - before, kSome);
  }
  EXPECT_EQ(rule->Stats()->rule.hit_packets, 4u * kSome);
}

TEST_F(TrafficCorruptTest, TheReceiverTakesAMendedPacketForGood) {
  const auto rule = Add(Spec(CorruptEffect{.share = 1, .mend_checksum = true}, v1::DIRECTION_BOTH));
  ASSERT_NE(rule, nullptr);
  // One byte; an odd number of them; as many as fit.
  for (const std::size_t size : {1u, 77u, 1400u}) {
    EXPECT_EQ(TurnedBits(near_, far_, kSome, size), std::vector<int>(kSome, 1)) << size;
    EXPECT_EQ(TurnedBits(far6_, near6_, kSome, size), std::vector<int>(kSome, 1)) << size;
  }
}

TEST_F(TrafficCorruptTest, OnlyTheShareAskedForAndOnlyWhileItLasts) {
  auto rule = Add(Spec(CorruptEffect{.share = 0.2}));
  ASSERT_NE(rule, nullptr);
  const Delivery delivery = Send(near_, far_, kMany, kWaitMs);
  EXPECT_NEAR(delivery.LostShare(), 0.2, Tolerance(0.2, kMany));
  EXPECT_OK(rule->Remove());
  const long before = UdpChecksumErrors(hosts_.far(), false);
  EXPECT_EQ(Send(near_, far_, kMany).arrived, kMany);
  EXPECT_EQ(UdpChecksumErrors(hosts_.far(), false), before);
}

TEST_F(TrafficCorruptTest, LoopbackToo) {
  const UdpSocket from(hosts_.near(), "127.0.0.1"), to(hosts_.near(), "127.0.0.1");
  agent::TrafficRuleSpec spec = Spec(CorruptEffect{.share = 1});
  spec.traffic.set_device("lo");
  {
    const auto rule = Add(spec);
    ASSERT_NE(rule, nullptr);
    EXPECT_EQ(Send(from, to, kSome).arrived, 0);
  }
  spec.effect = CorruptEffect{.share = 1, .mend_checksum = true};
  const auto rule = Add(spec);
  EXPECT_EQ(TurnedBits(from, to, kSome, 100), std::vector<int>(kSome, 1));
}

TEST_F(TrafficCorruptTest, PacketsWithoutPayloadAreLeftAlone) {
  const auto rule = Add(Spec(CorruptEffect{.share = 1}, v1::DIRECTION_BOTH));
  ASSERT_NE(rule, nullptr);
  // A handshake has no payload, but what is sent then is spoilt, again and again.
  const TcpResult result = PushTcp(hosts_.far(), TwoHosts::kFar4, 7031, 1000, 500);
  EXPECT_TRUE(result.connected);
  EXPECT_EQ(result.megabit_per_second, 0);
}

TEST_F(TrafficCorruptTest, TcpRepairsWhatItNotices) {
  const auto rule = Add(Spec(CorruptEffect{.share = 0.02}));
  ASSERT_NE(rule, nullptr);
  const TcpResult result = PushTcp(hosts_.far(), TwoHosts::kFar4, 7032, 4 << 20, 30'000);
  EXPECT_GT(result.megabit_per_second, 0);
  EXPECT_GT(result.retransmits, 0u);
  EXPECT_GT(rule->Stats()->rule.hit_packets, 10u);
}

TEST_F(TrafficCorruptTest, ASeedTurnsTheSameBits) {
  const agent::TrafficRuleSpec spec =
      Spec(CorruptEffect{.share = 0.5, .mend_checksum = true}, v1::DIRECTION_EGRESS, 7);
  std::vector<std::vector<int>> runs;
  for (int run = 0; run < 2; ++run) {
    const auto rule = Add(spec);
    runs.push_back(TurnedBits(near_, far_, kSome, 200));
  }
  EXPECT_EQ(runs[0], runs[1]);
  EXPECT_EQ(std::count(runs[0].begin(), runs[0].end(), 1) > 0, true);
}

}  // namespace
}  // namespace firedrill::testing
