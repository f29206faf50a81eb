// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iterator>
#include <vector>

#include "tests/host/lib/connection.h"
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
    return PushTcp(hosts_.far(), TwoHosts::kFar4, port, 1000, 1000).megabit_per_second > 0;
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

TEST_F(TrafficMatchTest, EndsAreToldApart) {
  struct Case {
    const char* what;
    const char* local_port;
    const char* remote_port;
    bool sends, receives;
  };
  // near_ has 7101, far_ 7100.
  for (const Case& c : {Case{"this end's port", "7101", nullptr, false, false},
                        Case{"the other's at this end", "7100", nullptr, true, true},
                        Case{"the other end's port", nullptr, "7000-7100", false, false},
                        Case{"this end's at the other", nullptr, "7101", true, true},
                        Case{"both", "7101", "7100", false, false},
                        Case{"one of both", "7101", "7101", true, true}}) {
    SCOPED_TRACE(c.what);
    agent::TrafficRuleSpec spec = Loss(1, v1::DIRECTION_BOTH);
    if (c.local_port != nullptr) spec.traffic.add_local_ports(c.local_port);
    if (c.remote_port != nullptr) spec.traffic.add_remote_ports(c.remote_port);
    const auto rule = Add(spec);
    EXPECT_EQ(UdpPasses(), c.sends);
    EXPECT_EQ(Udp6Passes(), c.sends);
    EXPECT_EQ(Passes(Send(far_, near_, kSome, 30)), c.receives);
    EXPECT_EQ(Passes(Send(far6_, near6_, kSome, 30)), c.receives);
    EXPECT_TRUE(PingPasses());
  }
}

TEST_F(TrafficMatchTest, LocalAddressesAreThoseOfThisEnd) {
  AddAddress("eth0", "10.73.0.9", 24);
  AddAddress("eth0", "fd73::9", 64);
  const UdpSocket other(hosts_.near(), "10.73.0.9"), other6(hosts_.near(), "fd73::9");
  agent::TrafficRuleSpec spec = Loss(1, v1::DIRECTION_BOTH);
  spec.traffic.add_local_addresses("10.73.0.9");
  spec.traffic.add_local_addresses("fd73::8/125");
  auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  const auto expect = [&](bool others) {
    EXPECT_TRUE(UdpPasses());
    EXPECT_TRUE(Udp6Passes());
    EXPECT_EQ(Passes(Send(other, far_, kSome, 30)), others);
    EXPECT_EQ(Passes(Send(far_, other, kSome, 30)), others);
    EXPECT_EQ(Passes(Send(other6, far6_, kSome, 30)), others);
    EXPECT_EQ(Passes(Send(far6_, other6, kSome, 30)), others);
  };
  expect(false);
  rule = nullptr;
  spec.traffic.add_addresses("10.73.0.1");  // Both must match, and this is nobody's other end.
  rule = Add(spec);
  expect(true);
}

TEST_F(TrafficMatchTest, OnLoopbackAPacketIsTakenAsSentOrAsReceived) {
  const UdpSocket client(hosts_.near(), "127.0.0.1", 7130),
      server(hosts_.near(), "127.0.0.1", 7131);
  struct Case {
    v1::Direction direction;
    bool request, response;
  };
  for (const Case& c :
       {Case{v1::DIRECTION_EGRESS, true, false}, Case{v1::DIRECTION_INGRESS, false, true},
        Case{v1::DIRECTION_BOTH, false, false}}) {
    SCOPED_TRACE(v1::Direction_Name(c.direction));
    agent::TrafficRuleSpec spec = Loss(1, c.direction);
    spec.traffic.set_device("lo");
    spec.traffic.add_local_ports("7131");
    const auto rule = Add(spec);
    EXPECT_EQ(Passes(Send(client, server, kSome, 30)), c.request);
    EXPECT_EQ(Passes(Send(server, client, kSome, 30)), c.response);
    EXPECT_EQ(rule->Stats()->rule.hit_packets,
              (c.request ? 0u : kSome) + (c.response ? 0u : kSome));
  }
  agent::TrafficRuleSpec spec = Loss(1, v1::DIRECTION_BOTH);
  spec.traffic.set_device("lo");
  spec.traffic.mutable_exclude()->add_addresses("127.0.0.2");
  const auto rule = Add(spec);
  const UdpSocket excluded(hosts_.near(), "127.0.0.2");
  EXPECT_TRUE(Passes(Send(client, excluded, kSome, 30))) << "an exclusion of either end";
  EXPECT_TRUE(Passes(Send(excluded, client, kSome, 30)));
  EXPECT_FALSE(Passes(Send(client, server, kSome, 30)));
}

TEST_F(TrafficMatchTest, SegmentsThatOpenAConnectionOrCarryData) {
  agent::Descriptor listener;
  RunIn(hosts_.far(), [&] {
    listener = TcpSocket();
    ListenOn(listener, TwoHosts::kFar4, 7140);
  });
  const auto connect = [&] {
    Connection connection;
    connection.near = TcpSocket();
    if (ConnectTo(connection.near, TwoHosts::kFar4, 7140)) connection.far = AcceptFrom(listener);
    return connection;
  };
  const Connection before = connect();
  ASSERT_TRUE(before.NearSends() && before.FarSends());
  for (const v1::Direction direction : {v1::DIRECTION_EGRESS, v1::DIRECTION_INGRESS}) {
    SCOPED_TRACE(v1::Direction_Name(direction));
    agent::TrafficRuleSpec spec = Loss(1, direction);
    spec.traffic.set_protocol(v1::PROTOCOL_TCP);
    spec.traffic.set_segments(v1::TCP_SEGMENTS_SYN);
    auto rule = Add(spec);
    ASSERT_NE(rule, nullptr);
    EXPECT_TRUE(before.NearSends() && before.FarSends());
    EXPECT_FALSE(connect().far.valid()) << "its SYN, or the SYN with ACK, is lost";
    EXPECT_TRUE(UdpPasses());
    rule = nullptr;
    spec.traffic.set_segments(v1::TCP_SEGMENTS_DATA);
    rule = Add(spec);
    const Connection during = connect();
    ASSERT_TRUE(during.far.valid());
    EXPECT_EQ(during.NearSends(), direction == v1::DIRECTION_INGRESS);
    EXPECT_EQ(during.FarSends(), direction == v1::DIRECTION_EGRESS);
  }
}

// Extension headers of IPv6: eight bytes of padding each.
constexpr std::uint8_t kPadding[8] = {0, 0, 1, 4, 0, 0, 0, 0};

TEST_F(TrafficMatchTest, PortsAreFoundBehindExtensionHeaders) {
  for (const int kind : {IPV6_DSTOPTS, IPV6_HOPOPTS, IPV6_RTHDRDSTOPTS}) {
    ASSERT_EQ(setsockopt(near6_.fd(), IPPROTO_IPV6, kind, kPadding, sizeof(kPadding)), 0) << kind;
    EXPECT_TRUE(Udp6Passes());
    agent::TrafficRuleSpec spec = Loss(1);
    spec.traffic.add_remote_ports("7100");
    auto rule = Add(spec);
    ASSERT_NE(rule, nullptr);
    EXPECT_FALSE(Udp6Passes());
    rule = nullptr;
    spec.traffic.set_remote_ports(0, "7101");
    rule = Add(spec);
    EXPECT_TRUE(Udp6Passes());
    EXPECT_EQ(rule->Stats()->totals.unread, 0u);
  }
}

TEST_F(TrafficMatchTest, LaterFragmentsOfIpv6HaveNoPortsEither) {
  agent::TrafficRuleSpec spec = Loss(1);
  spec.traffic.add_ports("7100");
  auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(Send(near6_, far6_, 10, 50, 1, 0, 4000).arrived, 0);
  EXPECT_EQ(rule->Stats()->rule.hit_packets, 10u);
  EXPECT_EQ(rule->Stats()->totals.later_fragments, 20u);
}

// A frame to nobody, by way of eth0's hooks.
void SendFrame(const std::vector<std::uint8_t>& bytes) {
  const agent::Descriptor fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(if_nametoindex("eth0"));
  to.sll_halen = 6;
  ASSERT_EQ(sendto(fd.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&to),
                   sizeof(to)),
            static_cast<ssize_t>(bytes.size()));
}

void Append(std::vector<std::uint8_t>& frame, const std::vector<std::uint8_t>& bytes) {
  frame.insert(frame.end(), bytes.begin(), bytes.end());
}

std::vector<std::uint8_t> Ethernet() { return {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}; }

TEST_F(TrafficMatchTest, StackedVlansAreReadAndMoreAreCounted) {
  agent::TrafficRuleSpec spec = Loss(1);
  spec.traffic.add_remote_ports("7150");
  auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  for (int tags = 0; tags <= 3; ++tags) {
    SCOPED_TRACE(tags);
    std::vector<std::uint8_t> frame = Ethernet();
    // The outer ones of 802.1ad, the innermost of 802.1Q.
    for (int tag = 1; tag <= tags; ++tag) {
      Append(frame, tag < tags ? std::vector<std::uint8_t>{0x88, 0xa8, 0, 7}
                               : std::vector<std::uint8_t>{0x81, 0x00, 0, 9});
    }
    Append(frame,
           {0x08, 0x00, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 73, 0, 1, 10, 73, 0, 2});
    Append(frame, {0x1b, 0xee, 0x1b, 0xee, 0, 8, 0, 0});  // 7150
    frame.resize(80);
    SendFrame(frame);
    const auto stats = rule->Stats();
    ASSERT_OK(stats.status());
    EXPECT_EQ(stats->rule.hit_packets, static_cast<unsigned>(std::min(tags + 1, 3)));
    EXPECT_EQ(stats->totals.unread, tags == 3 ? 1u : 0u);
  }
}

TEST_F(TrafficMatchTest, MoreExtensionHeadersThanAreReadAreCountedAndDiscoveryIsSpared) {
  auto rule = Add(Loss(1));
  ASSERT_NE(rule, nullptr);
  const auto send = [&](int options, std::uint8_t last, const std::vector<std::uint8_t>& payload) {
    std::vector<std::uint8_t> frame = Ethernet();
    const auto size = static_cast<std::uint8_t>(options * 8 + static_cast<int>(payload.size()));
    Append(frame, {0x86, 0xdd, 0x60, 0, 0, 0, 0, size, options > 0 ? std::uint8_t{60} : last, 64});
    Append(frame, {0xfd, 0x73, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
    Append(frame, {0xfd, 0x73, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2});
    for (int option = 1; option <= options; ++option) {
      Append(frame, {option < options ? std::uint8_t{60} : last, 0, 1, 4, 0, 0, 0, 0});
    }
    Append(frame, payload);
    SendFrame(frame);
    return rule->Stats()->rule.hit_packets;
  };
  const std::vector<std::uint8_t> udp = {0x1b, 0xee, 0x1b, 0xee, 0, 8, 0, 0};
  EXPECT_EQ(send(0, 17, udp), 1u);
  EXPECT_EQ(send(7, 17, udp), 2u);
  EXPECT_EQ(send(8, 17, udp), 2u);
  EXPECT_EQ(rule->Stats()->totals.unread, 1u);
  for (const std::uint8_t type : {130, 131, 132, 133, 134, 135, 136, 137, 143}) {
    EXPECT_EQ(send(1, 58, {type, 0, 0, 0, 0, 0, 0, 0}), 2u) << int{type};
  }
  EXPECT_EQ(send(1, 58, {128, 0, 0, 0, 0, 0, 0, 0}), 3u) << "an echo request is nothing special";
  EXPECT_EQ(rule->Stats()->totals.unread, 1u);
}

TEST_F(TrafficMatchTest, EachOfSixtyFourRulesHasItsOwnCounters) {
  std::vector<std::unique_ptr<agent::TrafficRule>> rules;
  std::vector<std::unique_ptr<UdpSocket>> sockets;
  for (int count = 0; count < FD_MAX_RULES; ++count) {
    agent::TrafficRuleSpec spec = Loss(1);
    spec.injection_id = "injection " + std::to_string(count);
    spec.traffic.add_remote_ports(std::to_string(7200 + count));
    rules.push_back(Add(spec));
    ASSERT_NE(rules.back(), nullptr);
    sockets.push_back(std::make_unique<UdpSocket>(hosts_.far(), TwoHosts::kFar4, 7200 + count));
  }
  std::uint64_t last = 0;
  for (int count = 0; count < FD_MAX_RULES; ++count) {
    EXPECT_EQ(Send(near_, *sockets[count], count + 1, 0).arrived, 0);
    const auto stats = rules[count]->Stats();
    ASSERT_OK(stats.status());
    EXPECT_EQ(stats->rule.hit_packets, static_cast<unsigned>(count + 1));
    EXPECT_EQ(stats->rule.matched_packets, static_cast<unsigned>(count + 1));
    EXPECT_GT(stats->rule.first_hit_ns, last);
    last = stats->rule.first_hit_ns;
  }
  rules[5] = nullptr;
  EXPECT_EQ(Send(near_, *sockets[5], kSome, 30).arrived, kSome);
  EXPECT_EQ(Send(near_, *sockets[6], kSome, 0).arrived, 0);
  EXPECT_TRUE(UdpPasses());
}

// Somebody else's program at eth0's egress: counts datagrams, and answers with `verdict`.
class OtherProgram {
 public:
  explicit OtherProgram(int verdict) {
    map_ = agent::Descriptor(bpf_map_create(BPF_MAP_TYPE_ARRAY, "other", 4, 8, 1, nullptr));
    constexpr int kFrame = 14 + 20 + 8 + 64;  // a datagram as Send sends it
    const bpf_insn code[] = {
        {BPF_LDX | BPF_MEM | BPF_W, BPF_REG_6, BPF_REG_1, 0, 0},  // its length
        {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, -1},
        {BPF_JMP | BPF_JNE | BPF_K, BPF_REG_6, 0, 10, kFrame},
        {BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, -4, 0},
        {BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_10, 0, 0},
        {BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, -4},
        {BPF_LD | BPF_DW | BPF_IMM, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map_.get()},
        {0, 0, 0, 0, 0},
        {BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem},
        {BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_0, 0, 2, 0},
        {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_1, 0, 0, 1},
        {BPF_STX | BPF_ATOMIC | BPF_DW, BPF_REG_0, BPF_REG_1, 0, BPF_ADD},
        {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, verdict},
        {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
    program_ = agent::Descriptor(
        bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "other", "GPL", code, std::size(code), nullptr));
    link_ =
        agent::Descriptor(bpf_link_create(program_.get(), static_cast<int>(if_nametoindex("eth0")),
                                          static_cast<bpf_attach_type>(47), nullptr));
    EXPECT_TRUE(link_.valid());
  }
  std::uint64_t Seen() const {
    const __u32 key = 0;
    std::uint64_t count = 0;
    EXPECT_EQ(bpf_map_lookup_elem(map_.get(), &key, &count), 0);
    return count;
  }

 private:
  agent::Descriptor map_, program_, link_;
};

TEST_F(TrafficMatchTest, OtherTcxProgramsSeeWhatGoesOnOnceAndDecide) {
  ASSERT_TRUE(HasTcx());
  agent::TrafficRuleSpec spec = Loss(1);
  spec.traffic.add_remote_ports("7100");
  const OtherProgram before(/*TCX_NEXT*/ -1);
  auto lossy = Add(spec);
  ASSERT_NE(lossy, nullptr);
  const OtherProgram after(-1);
  UdpSocket passing(hosts_.far(), TwoHosts::kFar4, 7160);
  EXPECT_FALSE(UdpPasses());
  EXPECT_EQ(Send(near_, passing, kSome, 30).arrived, kSome);
  EXPECT_EQ(before.Seen(), static_cast<unsigned>(kSome)) << "what ours has lost is lost";
  EXPECT_EQ(after.Seen(), static_cast<unsigned>(kSome));
  spec = Delay(5);
  spec.traffic.add_remote_ports("7160");
  auto late = Add(spec);
  EXPECT_GE(Send(near_, passing, kSome, 1000).Quantile(0), 5);
  EXPECT_EQ(before.Seen(), 2u * kSome) << "once, though it came back from the delay line";
  EXPECT_EQ(after.Seen(), 2u * kSome);
  {
    const OtherProgram refusing(/*TCX_DROP*/ 2);
    EXPECT_EQ(Send(near_, passing, kSome, 50).arrived, 0) << "theirs decides";
    EXPECT_EQ(refusing.Seen(), static_cast<unsigned>(kSome));
  }
  late = nullptr;
  lossy = nullptr;
  EXPECT_TRUE(UdpPasses());
  EXPECT_EQ(after.Seen(), 4u * kSome);
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
  const Delivery delivery = Send(near_, far_, kSome, 1000);
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
