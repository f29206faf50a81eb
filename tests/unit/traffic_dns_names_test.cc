// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "agent/traffic/dns_names.h"
#include "bpf/dns.h"

namespace firedrill::agent {
namespace {

// As the program in the kernel does: over the name as it is sent, from its end to its beginning.
std::uint64_t HashOfWire(const std::vector<std::string>& labels) {
  std::string wire;
  for (const std::string& label : labels) {
    wire += static_cast<char>(label.size());
    wire += label;
  }
  std::uint64_t hash = FD_DNS_ROOT;
  for (auto byte = wire.rbegin(); byte != wire.rend(); ++byte) {
    hash = fd_dns_hash(hash, static_cast<__u8>(*byte));
  }
  return hash;
}

TEST(DnsNamesTest, ANameIsHashedAsItIsSent) {
  EXPECT_EQ(HashDnsName("db.example.org").value(), HashOfWire({"db", "example", "org"}));
  EXPECT_EQ(HashDnsName("localhost").value(), HashOfWire({"localhost"}));
  EXPECT_EQ(HashDnsName("_dns.a-1.org").value(), HashOfWire({"_dns", "a-1", "org"}));
}

TEST(DnsNamesTest, CaseAndTheLastDotDoNotMatter) {
  EXPECT_EQ(HashDnsName("Db.EXAMPLE.org.").value(), HashDnsName("db.example.ORG").value());
}

TEST(DnsNamesTest, LabelsAreNotTornApart) {
  EXPECT_NE(HashDnsName("a.bc").value(), HashDnsName("ab.c").value());
  EXPECT_NE(HashDnsName("abc").value(), HashDnsName("a.bc").value());
}

TEST(DnsNamesTest, BoundsAreThoseOfDns) {
  const std::string label(63, 'a');
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'z');
  ASSERT_EQ(longest.size(), 253u);
  EXPECT_EQ(HashDnsName(longest).value(), HashOfWire({label, label, label, std::string(61, 'z')}));
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".a"), std::string("a..b"), std::string("a.."),
        std::string(64, 'a'), longest + "z"}) {
    EXPECT_EQ(HashDnsName(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
  }
}

}  // namespace
}  // namespace firedrill::agent
