// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <string>
#include <tuple>

#include "proto/support/problem.h"
#include "proto/support/quantity.h"
#include "proto/support/text.h"

namespace firedrill {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

TEST(TextTest, ReadsDurations) {
  EXPECT_EQ(*ParseDuration("1h30m"), hours(1) + minutes(30));
  EXPECT_EQ(*ParseDuration("50ms"), milliseconds(50));
  EXPECT_EQ(*ParseDuration(" 1.5s "), milliseconds(1500));
  EXPECT_EQ(*ParseDuration("0"), seconds(0));
  EXPECT_EQ(*ParseDuration("40µs"), microseconds(40));
  EXPECT_EQ(*ParseDuration("28d"), hours(28 * 24));
  EXPECT_EQ(*ParseDuration("1d12h"), hours(36));
  EXPECT_EQ(*ParseDuration("12w"), hours(12 * 7 * 24));
  EXPECT_EQ(*ParseDuration("1w2d3h"), hours(9 * 24 + 3));
  for (const char* bad : {"",     "30",   "0.5",  "-5s",         "inf",          "-inf",
                          "+inf", "d",    "-1d",  "1d2",         "5000000d",     "w",
                          "-1w",  "1w2",  "1d1w", "99999w",      "99999999999w", "5 s",
                          "s",    "1h30", "nan",  "99999999999h"}) {
    EXPECT_FALSE(ParseDuration(bad).ok()) << bad;
  }
  EXPECT_EQ(ParseDuration("30").status().message(),
            "allowed: a time with its unit, such as 30s, 30ms or 30m");
  EXPECT_EQ(ParseDuration("soon").status().message(),
            "allowed: a time such as 500ms, 30s, 1h30m, 90d or 12w");
}

TEST(TextTest, ReadsPercentages) {
  EXPECT_EQ(*ParsePercent("33"), 33);
  EXPECT_EQ(*ParsePercent("0.5%"), 0.5);
  EXPECT_EQ(*ParsePercent("100 %"), 100);
  for (const char* bad : {"", "%", "101", "-1", "nan", "inf%", "5%%", "a"}) {
    EXPECT_FALSE(ParsePercent(bad).ok()) << bad;
  }
}

TEST(TextTest, AmountsSurviveBothWays) {
  for (const char* text : {"1", "12", "50%", "0.5%", "all"}) {
    EXPECT_EQ(FormatAmount(*ParseAmount(text)), text);
  }
  for (const char* bad : {"", "0", "-1", "0%", "101%", "ALL", "none", "1.5", "nan%"}) {
    EXPECT_FALSE(ParseAmount(bad).ok()) << bad;
  }
}

TEST(TextTest, ComparisonsSurviveBothWaysAndHold) {
  for (const char* text : {"< 1", "<= 1.5", "> 0", ">= 0.99", "== 2", "!= 3"}) {
    EXPECT_EQ(FormatComparison(*ParseComparison(text)), text);
  }
  for (const char* bad : {"", "1", "=> 1", "= 1", ">=", ">= nan", ">= x", "~ 1"}) {
    EXPECT_FALSE(ParseComparison(bad).ok()) << bad;
  }
  EXPECT_TRUE(Holds(*ParseComparison(">=0.99"), 0.99));
  EXPECT_FALSE(Holds(*ParseComparison("> 0.99"), 0.99));
  EXPECT_TRUE(Holds(*ParseComparison("< 1"), 0.5));
  EXPECT_TRUE(Holds(*ParseComparison("<= 1"), 1));
  EXPECT_TRUE(Holds(*ParseComparison("== 1"), 1));
  EXPECT_TRUE(Holds(*ParseComparison("!= 1"), 2));
  EXPECT_FALSE(Holds(*ParseComparison("!= 1"), std::nan("")));
  EXPECT_FALSE(Holds(v1::Comparison(), 1));
}

TEST(TextTest, ReadsAddressBlocks) {
  const Cidr block = *ParseCidr("10.0.0.0/8");
  EXPECT_FALSE(block.v6);
  EXPECT_EQ(block.prefix, 8);
  EXPECT_EQ(block.bytes[0], 10);
  const Cidr host = *ParseCidr("2001:db8::1");
  EXPECT_TRUE(host.v6);
  EXPECT_EQ(host.prefix, 128);
  EXPECT_EQ(host.bytes[15], 1);
  EXPECT_EQ(ParseCidr("0.0.0.0/0")->prefix, 0);
  for (const char* bad : {"", "10.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.1/8",
                          "::/129", "2001:db8::1/32", "::ffff:10.0.0.1", "fe80::1%eth0", "host"}) {
    EXPECT_FALSE(ParseCidr(bad).ok()) << bad;
  }
}

TEST(TextTest, ReadsPorts) {
  EXPECT_EQ(ParsePorts("6379")->first, 6379);
  EXPECT_EQ(ParsePorts("6379")->last, 6379);
  EXPECT_EQ(ParsePorts("8000-8100")->last, 8100);
  for (const char* bad : {"", "0", "65536", "80-70", "0-5", "-5", "5-", "http", "1-2-3", "0x50"}) {
    EXPECT_FALSE(ParsePorts(bad).ok()) << bad;
  }
}

TEST(TextTest, ReadsSignals) {
  EXPECT_EQ(*ParseSignal("KILL"), SIGKILL);
  EXPECT_EQ(*ParseSignal("SIGTERM"), SIGTERM);
  EXPECT_EQ(*ParseSignal("sighup"), SIGHUP);
  EXPECT_EQ(*ParseSignal("15"), 15);
  EXPECT_EQ(*ParseSignal("64"), 64);
  for (const char* bad : {"", "0", "65", "-9", "SIG", "KIL"}) {
    EXPECT_FALSE(ParseSignal(bad).ok()) << bad;
  }
}

TEST(ProblemTest, SuggestsWhatIsNear) {
  const std::vector<std::string> names = {"packet_loss", "latency", "cpu"};
  EXPECT_EQ(Nearest("packet_los", names), "packet_loss");
  EXPECT_EQ(Nearest("loss", names), "packet_loss");
  EXPECT_EQ(Nearest("latnecy", names), "latency");
  EXPECT_EQ(Nearest("LATENCY", names), "latency");
  EXPECT_EQ(Nearest("disk", names), "");
  EXPECT_EQ(Nearest("", names), "");
  EXPECT_EQ(Nearest(std::string(10'000, 'a'), names), "");
  EXPECT_EQ(SuggestFrom("cpus", names), "did you mean cpu? allowed: packet_loss, latency or cpu");
}

TEST(ProblemTest, QuotesWhateverStandsInAFile) {
  EXPECT_EQ(Quoted("a\"b\\\n\x1b[31m"), "\"a\\\"b\\\\\\n\\x1b[31m\"");
  EXPECT_EQ(Quoted(std::string(70, 'x')), "\"" + std::string(60, 'x') + "…\"");
  EXPECT_EQ(Quoted(std::string(59, 'x') + "äö"), "\"" + std::string(59, 'x') + "ä…\"");
}

TEST(ProblemTest, WritesPaths) {
  EXPECT_EQ(JoinPath("", "name"), "name");
  EXPECT_EQ(JoinPath(IndexPath("method", 2), "fault"), "method[2].fault");
  EXPECT_EQ(KeyPath("targets", "cache"), "targets.cache");
  EXPECT_EQ(KeyPath("targets", "a b"), "targets[\"a b\"]");
}

TEST(QuantityTest, ReadsSizesToTheLastByte) {
  const std::pair<const char*, std::uint64_t> good[] = {
      {"4096", 4096},
      {"0", 0},
      {"1B", 1},
      {"512MiB", 512ULL << 20},
      {"10GiB", 10ULL << 30},
      {"1.5GB", 1'500'000'000},
      {"0.5KiB", 512},
      {"1.000000000000001PB", 1'000'000'000'000'001},
      {" 2 TiB ", 2ULL << 40},
      {"3kb", 3000},
      {"3KB", 3000},
      {"4mib", 4ULL << 20},
      {"9007199254740993", 9'007'199'254'740'993},  // no double holds it
  };
  for (const auto& [text, bytes] : good) {
    const auto parsed = ParseBytes(text);
    ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.status();
    EXPECT_EQ(*parsed, bytes) << text;
  }
  for (const char* bad :
       {"", "B", "-1", "+1", "1e3", "1.B", ".5KiB", "1..5KiB", "0x10", "nan", "inf", "1 2",
        "10MBit", "1MiBs", "0.3B", "1.0001kB", "8192PiB", "99999999999999999999999B", "١"}) {
    EXPECT_FALSE(ParseBytes(bad).ok()) << bad;
  }
  EXPECT_EQ(ParseBytes("512M").status().message(), "did you mean 512MiB or 512MB?");
  EXPECT_EQ(ParseBytes("4k").status().message(), "did you mean 4KiB or 4kB?");
}

TEST(QuantityTest, SizesSurviveBothWays) {
  for (const char* text :
       {"0B", "1B", "4095B", "4KiB", "1kB", "512MiB", "10GiB", "1500MB", "16TiB", "1PiB", "64PB"}) {
    EXPECT_EQ(FormatBytes(*ParseBytes(text)), text);
  }
  for (std::uint64_t bytes = 1; bytes < (1ULL << 62); bytes = bytes * 3 + 1) {
    EXPECT_EQ(*ParseBytes(FormatBytes(bytes)), bytes);
  }
}

TEST(QuantityTest, ReadsRatesWithTheirUnit) {
  const std::pair<const char*, std::uint64_t> good[] = {
      {"10Mbit", 10'000'000}, {"1.5Gbit", 1'500'000'000}, {"800kbit", 800'000},
      {"8000bit", 8000},      {"10mbit/s", 10'000'000},   {"100 Gbit/s", 100'000'000'000},
  };
  for (const auto& [text, bits] : good) {
    const auto parsed = ParseRate(text);
    ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.status();
    EXPECT_EQ(*parsed, bits) << text;
  }
  // What is bytes to one tool and bits to another is not guessed.
  for (const char* bad : {"", "Mbit", "-1Mbit", "1e6bit", "10mbps", "10Mb", "10MB", "10MB/s",
                          "10/s", "0.5bit", "1.23456789kbit", "nan"}) {
    EXPECT_FALSE(ParseRate(bad).ok()) << bad;
  }
  EXPECT_EQ(ParseRate("10").status().message(),
            "allowed: a rate with its unit, such as 10Mbit, 10Gbit or 10kbit");
  for (const char* text : {"0bit", "8kbit", "10Mbit", "1500Mbit", "1Gbit", "12345bit"}) {
    EXPECT_EQ(FormatRate(*ParseRate(text)), text);
  }
}

}  // namespace
}  // namespace firedrill
