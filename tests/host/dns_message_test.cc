// SPDX-License-Identifier: Apache-2.0
// Which messages the program in the kernel takes for queries, and below which names.
#include <gmock/gmock.h>

#include <random>
#include <set>

#include "tests/host/lib/dns_fixture.h"

namespace firedrill::testing {
namespace {

class DnsMessageTest : public DnsFaultTest {};

// What the kernel's reader must find in a message, written anew.
bool IsQueryBelow(const DnsMessage& message, const std::set<std::string>& names) {
  if (message.size() < 12 || (message[2] & 0xf8) != 0) return false;
  if (message[4] != 0 || message[5] != 1 || message[6] != 0 || message[7] != 0) return false;
  std::vector<std::string> labels;
  std::size_t at = 12;
  while (at < message.size() && message[at] != 0) {
    const std::size_t size = message[at];
    if (size > 63 || at + size + 1 > message.size()) return false;
    std::string label(message.begin() + static_cast<std::ptrdiff_t>(at + 1),
                      message.begin() + static_cast<std::ptrdiff_t>(at + 1 + size));
    for (char& c : label) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    labels.push_back(label);
    at += size + 1;
  }
  if (at + 5 > message.size() || at - 12 + 1 > 255) return false;
  std::string suffix;
  for (auto label = labels.rbegin(); label != labels.rend(); ++label) {
    suffix = suffix.empty() ? *label : *label + "." + suffix;
    if (names.count(suffix) != 0) return true;
  }
  return false;
}

TEST_F(DnsMessageTest, WhatIsNoQueryPassesUntouchedAndIsCounted) {
  fault_ = Apply(Request(v1::DNS_ANSWER_NONE));
  ASSERT_NE(fault_, nullptr);
  DnsClient client(TwoHosts::kFar4);
  const DnsMessage good = DnsQuery(7, "example.org");
  const auto with = [&](std::size_t at, std::uint8_t byte) {
    DnsMessage message = good;
    message[at] = byte;
    return message;
  };
  DnsMessage longest(good.begin(), good.begin() + 12);
  for (int i = 0; i < 5; ++i) {
    longest.push_back(63);
    longest.insert(longest.end(), 63, 'a');
  }
  longest.insert(longest.end(), {0, 0, 1, 0, 1});
  const std::vector<DnsMessage> malformed = {
      {},
      {1, 2, 3},
      with(5, 0),      // no question
      with(5, 2),      // two
      with(7, 1),      // an answer in a query
      with(12, 0xc0),  // a pointer
      with(12, 64),    // a label too long
      with(12, 63),    // a label beyond the end
      DnsMessage(good.begin(), good.end() - 1),
      DnsMessage(good.begin(), good.begin() + 14),
      longest,
  };
  for (const DnsMessage& message : malformed) EXPECT_TRUE(client.Send(message));
  EXPECT_EQ(far4_.TakeDatagrams(300), malformed);
  EXPECT_EQ(Count(*fault_, "dns_malformed_passed_packets"), malformed.size());
  const std::vector<DnsMessage> others = {with(2, 0x80), with(2, 0x28)};  // an answer, an update
  for (const DnsMessage& message : others) EXPECT_TRUE(client.Send(message));
  EXPECT_EQ(far4_.TakeDatagrams(300), others);
  EXPECT_EQ(Count(*fault_, "dns_malformed_passed_packets"), malformed.size());
  EXPECT_EQ(Count(*fault_, "queries_matched"), 0);
  client.Send(good);
  EXPECT_TRUE(far4_.TakeDatagrams(50).empty());
}

TEST_F(DnsMessageTest, RandomMessagesAreReadAsTheyAre) {
  const std::set<std::string> names = {"a", "b.c", "example.org"};
  fault_ = Apply(Request(v1::DNS_ANSWER_NONE, {names.begin(), names.end()}));
  ASSERT_NE(fault_, nullptr);
  DnsClient client(TwoHosts::kFar4);
  std::mt19937_64 random(20'261);
  const auto below = [&](std::size_t bound) { return static_cast<std::size_t>(random() % bound); };
  const char* labels[] = {"a", "B", "c", "Example", "org", "xyz", "0", "ab"};
  std::vector<DnsMessage> expected;
  int matched = 0;
  for (int i = 0; i < 4000; ++i) {
    std::string name;
    for (std::size_t count = below(6); count > 0; --count) {
      name += (name.empty() ? "" : ".") + std::string(labels[below(std::size(labels))]);
    }
    DnsMessage message = DnsQuery(static_cast<std::uint16_t>(i), name, below(2) == 0);
    for (std::size_t count = below(3); count > 0; --count) {
      message[2 + below(message.size() - 2)] = static_cast<std::uint8_t>(random());
    }
    if (below(8) == 0) message.resize(2 + below(message.size() - 1));
    if (IsQueryBelow(message, names)) {
      ++matched;
    } else {
      expected.push_back(message);
    }
    ASSERT_TRUE(client.Send(message));
  }
  ASSERT_GT(matched, 200);
  ASSERT_GT(expected.size(), 200u);
  EXPECT_TRUE(far4_.TakeDatagrams(300) == expected);
  EXPECT_EQ(Count(*fault_, "queries_matched"), matched);
  EXPECT_EQ(Count(*fault_, "queries_hit"), matched);
}

TEST_F(DnsMessageTest, LongestNamesAreRead) {
  std::string name;  // 255 bytes as it is sent
  for (int i = 0; i < 3; ++i) name += std::string(63, static_cast<char>('a' + i)) + ".";
  const std::string last(61, 'z');
  std::string deepest;  // 127 labels
  for (int i = 0; i < 126; ++i) deepest += "d.";
  fault_ = Apply(Request(v1::DNS_ANSWER_NXDOMAIN, {name + last, deepest + "e"}));
  ASSERT_NE(fault_, nullptr);
  DnsClient client(TwoHosts::kFar4);
  for (const std::string& asked : {name + last, deepest + "e"}) {
    const auto reply = client.Ask(asked, Patience());
    ASSERT_TRUE(reply) << asked;
    EXPECT_EQ(reply->code, kNxdomain) << asked;
  }
  for (const std::string& asked : {name + std::string(60, 'z'), deepest + "f"}) {
    ExpectGood(client.Ask(asked, Patience()));
  }
}

}  // namespace
}  // namespace firedrill::testing
