// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "agent/traffic/match.h"
#include "agent/traffic/owner.h"
#include "agent/traffic/prefix_table.h"

namespace firedrill::agent {
namespace {

TEST(ParsePrefixTest, ReadsBothFamilies) {
  EXPECT_EQ(ToString(ParsePrefix("10.0.0.0/8").value()), "10.0.0.0/8");
  EXPECT_EQ(ToString(ParsePrefix("192.0.2.1").value()), "192.0.2.1");
  EXPECT_EQ(ToString(ParsePrefix("192.0.2.1/32").value()), "192.0.2.1");
  EXPECT_EQ(ToString(ParsePrefix("0.0.0.0/0").value()), "0.0.0.0/0");
  EXPECT_EQ(ToString(ParsePrefix("2001:db8::/32").value()), "2001:db8::/32");
  EXPECT_EQ(ToString(ParsePrefix("::/0").value()), "::/0");
  EXPECT_EQ(ParsePrefix("::ffff:192.0.2.1").value(), ParsePrefix("192.0.2.1").value());
  EXPECT_EQ(ParsePrefix("::ffff:10.0.0.0/104").value(), ParsePrefix("10.0.0.0/8").value());
}

TEST(ParsePrefixTest, RefusesWhatIsNoPrefixAndSaysWhatIsAllowed) {
  for (const char* text :
       {"", "host", "10.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "/8", "10.0.0.0/8x",
        "::1/129", "10.0.0.1/8", "2001:db8::1/32", "10.0.0.0/ 8"}) {
    const auto prefix = ParsePrefix(text);
    EXPECT_EQ(prefix.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_NE(prefix.status().message().find("10.0.0.0/8 or 2001:db8::1"), std::string::npos);
  }
}

TEST(ParsePortsTest, ReadsPortsAndRanges) {
  EXPECT_EQ(ParsePorts("6379").value(), (PortRange{6379, 6379}));
  EXPECT_EQ(ParsePorts("1-65535").value(), (PortRange{1, 65535}));
  for (const char* text : {"", "0", "65536", "90-80", "80-", "-80", "http", "80-90-100", "+80"}) {
    EXPECT_EQ(ParsePorts(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(CompileMatchTest, NothingGivenMatchesEverything) {
  const TrafficMatch match = CompileMatch({}).value();
  EXPECT_TRUE(match.egress && match.ingress);
  EXPECT_EQ(match.protocols, 0b1111u);
  EXPECT_TRUE(match.addresses.empty() && match.ports.empty());
}

TEST(CompileMatchTest, TakesEveryFieldOver) {
  v1::Traffic traffic;
  traffic.set_direction(v1::DIRECTION_INGRESS);
  traffic.set_protocol(v1::PROTOCOL_UDP);
  traffic.add_addresses("10.0.0.0/8");
  traffic.add_ports("53");
  traffic.mutable_exclude()->add_addresses("10.0.0.5");
  traffic.mutable_exclude()->add_ports("22-23");
  traffic.add_local_addresses("10.0.0.7");
  traffic.add_local_ports("6379");
  traffic.add_remote_ports("1024-65535");
  traffic.add_hosts("api.example.org");
  traffic.mutable_owner()->set_name("redis-server");
  const TrafficMatch match = CompileMatch(traffic).value();
  EXPECT_FALSE(match.egress);
  EXPECT_TRUE(match.ingress);
  EXPECT_EQ(match.protocols, 1u << FD_UDP);
  EXPECT_EQ(match.addresses, std::vector{ParsePrefix("10.0.0.0/8").value()});
  EXPECT_EQ(match.ports, (std::vector{PortRange{53, 53}}));
  EXPECT_EQ(match.excluded_addresses, std::vector{ParsePrefix("10.0.0.5").value()});
  EXPECT_EQ(match.excluded_ports, (std::vector{PortRange{22, 23}}));
  EXPECT_EQ(match.local_addresses, std::vector{ParsePrefix("10.0.0.7").value()});
  EXPECT_EQ(match.local_ports, (std::vector{PortRange{6379, 6379}}));
  EXPECT_EQ(match.remote_ports, (std::vector{PortRange{1024, 65535}}));
  EXPECT_EQ(match.names, std::vector<std::string>{"api.example.org"});
  EXPECT_TRUE(match.owned);
  EXPECT_FALSE(match.data_only || match.syn_only);
}

TEST(CompileMatchTest, SegmentsAreThoseOfTcp) {
  v1::Traffic traffic;
  traffic.set_segments(v1::TCP_SEGMENTS_SYN);
  EXPECT_NE(CompileMatch(traffic).status().message().find("traffic.segments"), std::string::npos);
  traffic.set_protocol(v1::PROTOCOL_TCP);
  EXPECT_TRUE(CompileMatch(traffic).value().syn_only);
  traffic.set_segments(v1::TCP_SEGMENTS_DATA);
  EXPECT_TRUE(CompileMatch(traffic).value().data_only);
  traffic.set_segments(v1::TCP_SEGMENTS_ALL);
  const TrafficMatch match = CompileMatch(traffic).value();
  EXPECT_FALSE(match.data_only || match.syn_only);
  traffic.set_segments(static_cast<v1::TcpSegments>(99));
  EXPECT_EQ(CompileMatch(traffic).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CompileMatchTest, NamesTheFieldThatIsWrong) {
  v1::Traffic traffic;
  traffic.mutable_exclude()->add_addresses("ten");
  EXPECT_NE(CompileMatch(traffic).status().message().find("exclude.addresses: 'ten'"),
            std::string::npos);
  traffic.Clear();
  traffic.set_protocol(v1::PROTOCOL_ICMP);
  traffic.add_ports("80");
  EXPECT_NE(CompileMatch(traffic).status().message().find("icmp has no ports"), std::string::npos);
  traffic.clear_ports();
  traffic.add_local_ports("80");
  EXPECT_NE(CompileMatch(traffic).status().message().find("icmp has no ports"), std::string::npos);
  traffic.Clear();
  traffic.add_local_addresses("ten");
  EXPECT_NE(CompileMatch(traffic).status().message().find("local_addresses: 'ten'"),
            std::string::npos);
  traffic.Clear();
  traffic.set_protocol(static_cast<v1::Protocol>(99));
  EXPECT_EQ(CompileMatch(traffic).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(PrefixTableTest, EachPrefixCarriesTheRulesOfThoseThatCoverIt) {
  TrafficMatch wide, narrow, sibling, excluding;
  wide.addresses = {ParsePrefix("10.0.0.0/8").value()};
  narrow.addresses = {ParsePrefix("10.1.2.0/24").value()};
  sibling.addresses = {ParsePrefix("10.1.3.0/24").value(), ParsePrefix("fd00::/8").value()};
  excluding.excluded_addresses = {ParsePrefix("0.0.0.0/0").value(),
                                  ParsePrefix("10.1.2.3").value()};
  narrow.local_addresses = {ParsePrefix("10.1.0.0/16").value()};
  MatchSlots slots{};
  slots[0] = &wide;
  slots[1] = &narrow;
  slots[5] = &sibling;
  slots[63] = &excluding;
  const auto table = BuildPrefixTable(slots);
  constexpr std::uint64_t kLast = std::uint64_t{1} << 63;
  const auto at = [&](const char* text) { return table.at(ParsePrefix(text).value()); };
  EXPECT_EQ(table.size(), 7u);
  EXPECT_EQ(at("0.0.0.0/0").include, 0u);
  EXPECT_EQ(at("0.0.0.0/0").exclude, kLast);
  EXPECT_EQ(at("10.0.0.0/8").include, 1u);
  EXPECT_EQ(at("10.1.2.0/24").include, 0b11u);
  EXPECT_EQ(at("10.1.2.3").include, 0b11u);
  EXPECT_EQ(at("10.1.2.3").exclude, kLast);
  EXPECT_EQ(at("10.1.3.0/24").include, 0b100001u);
  EXPECT_EQ(at("10.1.3.0/24").local, 0b10u);
  EXPECT_EQ(at("10.0.0.0/8").local, 0u) << "a wider prefix is not covered";
  EXPECT_EQ(at("fd00::/8").include, 0b100000u);
  EXPECT_EQ(at("fd00::/8").exclude, 0u) << "the families are apart";
}

TEST(OwnerTest, KnowsItselfAndTellsTheDead) {
  EXPECT_EQ(HashInjection("a"), HashInjection("a"));
  EXPECT_NE(HashInjection("a"), HashInjection("b"));
  fd_control control{};
  WriteOwner(control);
  EXPECT_TRUE(IsFromHere(control));
  EXPECT_TRUE(OwnerLives(control));
  control.owner_start_ticks += 1;  // The pid was given to another process since.
  EXPECT_FALSE(OwnerLives(control));
  control.net_namespace += 1;
  EXPECT_FALSE(IsFromHere(control));
}

}  // namespace
}  // namespace firedrill::agent
