// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

#include "proto/support/fault_rules.h"
#include "proto/support/field_rules.h"

namespace firedrill {
namespace {

using ::testing::ElementsAre;

// The rule book is only as good as what stands beside the fields.
TEST(FieldRulesTest, EveryFieldOfAFaultHasHelpAndLimits) {
  for (int i = 0; i < v1::Fault::descriptor()->field_count(); ++i) {
    const auto& kind = *v1::Fault::descriptor()->field(i);
    EXPECT_FALSE(FaultRulesOf(static_cast<v1::Fault::KindCase>(kind.number())).summary().empty())
        << kind.full_name();
    for (int j = 0; j < kind.message_type()->field_count(); ++j) {
      const auto& field = *kind.message_type()->field(j);
      EXPECT_FALSE(RulesOf(field).help().empty()) << field.full_name();
      const bool number = IsDuration(field) ||
                          field.cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_DOUBLE;
      if (number) {
        EXPECT_TRUE(RulesOf(field).has_minimum() && RulesOf(field).has_maximum())
            << field.full_name();
      }
    }
  }
}

TEST(FieldRulesTest, SpellsEnumsAsFilesDo) {
  EXPECT_THAT(EnumTexts(*v1::Direction_descriptor()), ElementsAre("egress", "ingress", "both"));
  EXPECT_THAT(EnumTexts(*v1::CpuMode_descriptor()), ElementsAre("add", "fill"));
}

TEST(FieldRulesTest, ChecksHostsPathsAndErrors) {
  const auto good = [](v1::Format format, const std::string& text) {
    return CheckFormat(format, text).ok();
  };
  for (const char* host : {"api.example.org", "db", "_sip._tcp.example.org", "a-b.c1", "7up.com"}) {
    EXPECT_TRUE(good(v1::FORMAT_HOST, host)) << host;
  }
  for (const std::string& host :
       {std::string(""), std::string("."), std::string("a..b"), std::string("a."),
        std::string("-a"), std::string("a-.b"), std::string("a b"), std::string("a/b"),
        std::string("*.a.org"), std::string(64, 'a'), std::string("a:b")}) {
    EXPECT_EQ(CheckFormat(v1::FORMAT_HOST, host).message(),
              "allowed: a name, such as api.example.org")
        << host;
  }
  for (const char* address : {"10.0.0.1", "2001:db8::1", "10.0.0.0/8"}) {
    EXPECT_EQ(CheckFormat(v1::FORMAT_HOST, address).message(),
              "allowed: a name, such as api.example.org; addresses have a field of their own")
        << address;
  }
  for (const char* path : {"/", "/a", "/a/b/", "/a.b/..c/...", "/with space"}) {
    EXPECT_TRUE(good(v1::FORMAT_PATH, path)) << path;
  }
  for (const std::string& path :
       {std::string(""), std::string("a"), std::string("./a"), std::string("/a/../b"),
        std::string("/."), std::string("/a//b"), std::string("//"), std::string("~/a"),
        "/" + std::string(256, 'a')}) {
    EXPECT_FALSE(good(v1::FORMAT_PATH, path)) << path;
  }
  for (const char* unit : {"redis", "postgresql@15-main.service", "dev-disk-by\\x2duuid.swap"}) {
    EXPECT_TRUE(good(v1::FORMAT_UNIT, unit)) << unit;
  }
  for (const char* unit : {"", "-x.service", ".service", "a b.service", "a/b.service", "a."}) {
    EXPECT_FALSE(good(v1::FORMAT_UNIT, unit)) << unit;
  }
  EXPECT_TRUE(good(v1::FORMAT_ERRNO, "ECONNREFUSED"));
  EXPECT_EQ(CheckFormat(v1::FORMAT_ERRNO, "ECONREFUSED").message(),
            "did you mean ECONNREFUSED? allowed: an error's name, such as EIO, ENOSPC or "
            "ECONNREFUSED");
  for (const char* error : {"", "5", "NOTHING", "OK"}) {
    EXPECT_FALSE(good(v1::FORMAT_ERRNO, error)) << error;
  }
}

TEST(FieldRulesTest, LimitsSpeakTheFieldsOwnUnit) {
  EXPECT_EQ(LimitsText(*v1::Memory::descriptor()->FindFieldByName("bytes")), "1MiB to 16TiB");
  EXPECT_EQ(LimitsText(*v1::Bandwidth::descriptor()->FindFieldByName("rate")), "8kbit to 100Gbit");
  v1::Fault fault;
  fault.mutable_bandwidth()->set_rate(1500);
  EXPECT_EQ(ValidateFault(fault).message(),
            "bandwidth.rate: found 1500bit; allowed: 8kbit to 100Gbit");
  fault.mutable_memory()->set_bytes(std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(ValidateFault(fault).message(),
            "memory.bytes: found 1.8446744073709552e+19 B; allowed: 1MiB to 16TiB");
}

TEST(FieldRulesTest, ChecksTimeZonesWithoutLoadingOtherFiles) {
  EXPECT_TRUE(CheckFormat(v1::FORMAT_TIME_ZONE, "Europe/Berlin").ok());
  EXPECT_TRUE(CheckFormat(v1::FORMAT_TIME_ZONE, "UTC").ok());
  for (const char* bad : {"", "Europe/Berlon", "/etc/localtime", "../etc/passwd", "localtime"}) {
    EXPECT_FALSE(CheckFormat(v1::FORMAT_TIME_ZONE, bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace firedrill
