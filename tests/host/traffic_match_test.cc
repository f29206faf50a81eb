// SPDX-License-Identifier: Apache-2.0
#include <functional>
#include <vector>

#include "tests/host/lib/traffic_fixture.h"

namespace firedrill::testing {
namespace {

constexpr int kSome = 40;
constexpr int kPort = 7100;

// Everything that matches is lost, so one look at each kind of packet tells.
class TrafficMatchTest : public TrafficTest {
 protected:
  TrafficMatchTest()
      : near_(hosts_.near(), TwoHosts::kNear4, kPort + 1),
        far_(hosts_.far(), TwoHosts::kFar4, kPort),
        near6_(hosts_.near(), TwoHosts::kNear6, kPort + 1),
        far6_(hosts_.far(), TwoHosts::kFar6, kPort) {}

  bool UdpPasses() { return Passes(Send(near_, far_, kSome, 30)); }
  bool Udp6Passes() { return Passes(Send(near6_, far6_, kSome, 30)); }
  static bool PingPasses() { return Ping(TwoHosts::kFar4, 1) == 1; }
  static bool Ping6Passes() { return Ping(TwoHosts::kFar6, 1) == 1; }
  bool TcpPasses(int port) {
    return PushTcp(hosts_.far(), TwoHosts::kFar4, port, 1000, 300).megabit_per_second > 0;
  }
  static bool Passes(const Delivery& delivery) {
    EXPECT_TRUE(delivery.arrived == 0 || delivery.arrived == delivery.sent);
    return delivery.arrived == delivery.sent;
  }

  UdpSocket near_, far_, near6_, far6_;
};

TEST_F(TrafficMatchTest, ProtocolsAreToldApart) {
  struct Case {
    v1::Protocol protocol;
    bool udp, tcp, ping;
  };
  for (const Case& c :
       {Case{v1::PROTOCOL_UDP, false, true, true}, Case{v1::PROTOCOL_TCP, true, false, true},
        Case{v1::PROTOCOL_ICMP, true, true, false}, Case{v1::PROTOCOL_ANY, false, false, false}}) {
    SCOPED_TRACE(v1::Protocol_Name(c.protocol));
    agent::TrafficRuleSpec spec = Loss(1);
    spec.traffic.set_protocol(c.protocol);
    const auto rule = Add(spec);
    EXPECT_EQ(UdpPasses(), c.udp);
    EXPECT_EQ(Udp6Passes(), c.udp);
    EXPECT_EQ(TcpPasses(7102), c.tcp);
    EXPECT_EQ(PingPasses(), c.ping);
    EXPECT_EQ(Ping6Passes(), c.ping);
  }
}

TEST_F(TrafficMatchTest, PortsAreThoseOfEitherEnd) {
  struct Case {
    const char* what;
    std::vector<std::string> ports;
    bool udp;
  };
  for (const Case& c :
       {Case{"of the other end", {"7100"}, false}, Case{"of this end", {"7101"}, false},
        Case{"a range", {"80", "7000-7100"}, false}, Case{"others", {"80", "7102-65535"}, true}}) {
    SCOPED_TRACE(c.what);
    agent::TrafficRuleSpec spec = Loss(1);
    for (const std::string& port : c.ports) spec.traffic.add_ports(port);
    const auto rule = Add(spec);
    EXPECT_EQ(UdpPasses(), c.udp);
    EXPECT_EQ(Udp6Passes(), c.udp);
    EXPECT_TRUE(PingPasses()) << "what has no ports is none of the rule's";
  }
}

TEST_F(TrafficMatchTest, AddressesAreThoseOfTheOtherEnd) {
  struct Case {
    std::vector<std::string> addresses;
    bool ipv4, ipv6;
  };
  for (const Case& c :
       {Case{{"10.73.0.2"}, false, true}, Case{{"10.73.0.0/24"}, false, true},
        Case{{"10.73.0.1"}, true, true}, Case{{"fd73::2"}, true, false},
        Case{{"10.0.0.0/8", "fd00::/8"}, false, false}, Case{{"0.0.0.0/0"}, false, true},
        Case{{"::/0"}, true, false}, Case{{"192.0.2.0/24", "2001:db8::/32"}, true, true}}) {
    SCOPED_TRACE(c.addresses.front());
    agent::TrafficRuleSpec spec = Loss(1);
    for (const std::string& address : c.addresses) spec.traffic.add_addresses(address);
    const auto rule = Add(spec);
    EXPECT_EQ(UdpPasses(), c.ipv4);
    EXPECT_EQ(Udp6Passes(), c.ipv6);
  }
}

TEST_F(TrafficMatchTest, ExclusionsWin) {
  agent::TrafficRuleSpec spec = Loss(1, v1::DIRECTION_BOTH);
  spec.traffic.add_addresses("10.73.0.0/24");
  spec.traffic.mutable_exclude()->add_addresses("10.73.0.2");
  auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  EXPECT_TRUE(UdpPasses());
  rule = nullptr;

  spec = Loss(1, v1::DIRECTION_BOTH);
  spec.traffic.mutable_exclude()->add_ports("7100-7101");
  rule = Add(spec);
  EXPECT_TRUE(UdpPasses());
  EXPECT_TRUE(Udp6Passes());
  EXPECT_FALSE(TcpPasses(7103));
  EXPECT_FALSE(PingPasses());
}

TEST_F(TrafficMatchTest, RulesWithNestedPrefixesDoNotDisturbEachOther) {
  agent::TrafficRuleSpec wide = Loss(1), narrow = Loss(1), excluding = Loss(1);
  wide.traffic.add_addresses("10.0.0.0/8");
  narrow.traffic.add_addresses("10.73.0.2");
  narrow.traffic.set_protocol(v1::PROTOCOL_TCP);
  excluding.traffic.mutable_exclude()->add_addresses("10.73.0.0/16");
  auto first = Add(wide);
  ASSERT_NE(first, nullptr);
  auto second = Add(narrow);
  ASSERT_NE(second, nullptr);
  auto third = Add(excluding);
  ASSERT_NE(third, nullptr);
  EXPECT_FALSE(UdpPasses()) << "by the wide one, though a longer prefix matches";
  EXPECT_FALSE(Udp6Passes()) << "by the one that excludes others";
  first = nullptr;
  EXPECT_TRUE(UdpPasses());
  EXPECT_FALSE(TcpPasses(7104));
  second = nullptr;
  EXPECT_TRUE(TcpPasses(7104));
}

TEST_F(TrafficMatchTest, ProtectedEndpointsSurvive) {
  agent::TrafficRuleSpec spec = Loss(1, v1::DIRECTION_BOTH);
  spec.protect.push_back({agent::ParsePrefix(TwoHosts::kFar4)->address, 7105});
  auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  EXPECT_TRUE(TcpPasses(7105));
  EXPECT_FALSE(TcpPasses(7106)) << "another port of the protected host";
  // The agent's stream has moved.
  ASSERT_OK(rule->Protect({{agent::ParsePrefix(TwoHosts::kFar4)->address, 7106}}));
  EXPECT_TRUE(TcpPasses(7106));
  EXPECT_FALSE(TcpPasses(7105));
}

TEST_F(TrafficMatchTest, LaterFragmentsHaveNoPorts) {
  constexpr int kFragmentedBytes = 4000;
  const auto fragmented = [&] { return Send(near_, far_, 10, 50, 1, 0, kFragmentedBytes).arrived; };
  EXPECT_EQ(fragmented(), 10);
  agent::TrafficRuleSpec spec = Loss(1);
  spec.traffic.add_ports("7100");
  auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(fragmented(), 0) << "without its first fragment a datagram is lost";
  auto stats = rule->Stats();
  ASSERT_OK(stats.status());
  EXPECT_EQ(stats->rule.hit_packets, 10u);
  EXPECT_EQ(stats->totals.later_fragments, 20u);
  rule = Add(Loss(1));
  stats = rule->Stats();
  EXPECT_EQ(fragmented(), 0);
  stats = rule->Stats();
  ASSERT_OK(stats.status());
  EXPECT_EQ(stats->rule.hit_packets, 30u) << "without ports all fragments match";
}

TEST_F(TrafficMatchTest, RulesOfDifferentDevicesAreIndependent) {
  const UdpSocket from(hosts_.near(), "127.0.0.1"), to(hosts_.near(), "127.0.0.1");
  agent::TrafficRuleSpec spec = Loss(1);
  spec.traffic.set_device("lo");
  auto loopback = Add(spec);
  ASSERT_NE(loopback, nullptr);
  auto delayed = Add(Delay(20));
  ASSERT_NE(delayed, nullptr);
  EXPECT_EQ(Send(from, to, kSome, 30).arrived, 0);
  const Delivery delivery = Send(near_, far_, kSome);
  EXPECT_EQ(delivery.arrived, kSome);
  EXPECT_GE(delivery.Quantile(0), 20);
}

TEST_F(TrafficMatchTest, TheDeviceIsThatOfTheRoute) {
  agent::TrafficRuleSpec spec = Loss(1);
  spec.traffic.clear_device();
  StartEngine();
  EXPECT_EQ(engine_->AddRule(spec).status().code(), absl::StatusCode::kNotFound)
      << "there is no default route";
  spec.traffic.add_addresses("127.0.0.1");
  auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  EXPECT_TRUE(UdpPasses());
  EXPECT_EQ(Ping("127.0.0.1", 1), 0);
  rule = nullptr;
  spec.traffic.clear_addresses();
  AddDefaultRoute("eth0");
  rule = Add(spec);
  EXPECT_FALSE(UdpPasses());
  rule = nullptr;
  spec.traffic.add_addresses("0.0.0.0/0");  // No address in particular: the kernel's answer is lo.
  rule = Add(spec);
  EXPECT_FALSE(UdpPasses());
}

TEST_F(TrafficMatchTest, OneRuleTooManyIsRefusedAndHarmsNone) {
  std::vector<std::unique_ptr<agent::TrafficRule>> rules;
  agent::TrafficRuleSpec spec = Loss(1);
  for (int count = 0; count < FD_MAX_RULES; ++count) {
    spec.traffic.clear_ports();
    spec.traffic.add_ports(std::to_string(8000 + count));
    rules.push_back(Add(spec));
  }
  const auto refused = engine_->AddRule(spec);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(engine_->RuleCount(), FD_MAX_RULES);
  EXPECT_TRUE(UdpPasses());
  EXPECT_FALSE(TcpPasses(8000));
  EXPECT_FALSE(TcpPasses(8063));
  rules.pop_back();
  EXPECT_TRUE(TcpPasses(8063));
  EXPECT_OK(engine_->AddRule(spec).status());
}

TEST_F(TrafficMatchTest, BadRulesAreRefusedWithoutATrace) {
  StartEngine();
  agent::TrafficRuleSpec spec = Loss(1);
  spec.traffic.set_device("eth7");
  EXPECT_EQ(engine_->AddRule(spec).status().code(), absl::StatusCode::kNotFound);
  spec = Loss(1);
  spec.traffic.add_addresses("10.0.0.1/8");
  EXPECT_EQ(engine_->AddRule(spec).status().code(), absl::StatusCode::kInvalidArgument);
  spec = Loss(1);
  for (int count = 0; count <= FD_MAX_PROTECTED / 2; ++count) {
    spec.protect.push_back({{1}, static_cast<std::uint16_t>(count + 1)});
  }
  EXPECT_EQ(engine_->AddRule(spec).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(engine_->RuleCount(), 0);
  EXPECT_EQ(AttachedCount("eth0"), 0);
  EXPECT_TRUE(UdpPasses());
}

}  // namespace
}  // namespace firedrill::testing
