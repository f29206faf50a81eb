// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "proto/support/time.h"

namespace firedrill {
namespace {

using namespace std::chrono_literals;

TEST(FormatDurationTest, KeepsThreeDigitsUnderAMinute) {
  EXPECT_EQ(FormatDuration(0s), "0s");
  EXPECT_EQ(FormatDuration(40us), "40µs");
  EXPECT_EQ(FormatDuration(1500us), "1.5ms");
  EXPECT_EQ(FormatDuration(999'600us), "1s");
  EXPECT_EQ(FormatDuration(2'350'400us), "2.35s");
  EXPECT_EQ(FormatDuration(12'040ms), "12s");
  EXPECT_EQ(FormatDuration(-150ms), "-150ms");
}

TEST(FormatDurationTest, CountsMinutesAndHours) {
  EXPECT_EQ(FormatDuration(59'960ms), "1m");
  EXPECT_EQ(FormatDuration(90s), "1m30s");
  EXPECT_EQ(FormatDuration(1h + 30min), "1h30m");
  EXPECT_EQ(FormatDuration(25h + 1s), "25h1s");
}

TEST(FormatTimeTest, IsRfc3339InUtc) {
  EXPECT_EQ(FormatTime(SystemTime(1'800'000'000'250ms)), "2027-01-15T08:00:00.250Z");
}

TEST(TimestampTest, SurvivesTheWireOnBothSidesOfTheEpoch) {
  for (const Nanoseconds ns :
       {Nanoseconds(1), Nanoseconds(-1), Nanoseconds(1'800'000'000'123'456'789),
        Nanoseconds(-1'000'000'001)}) {
    const google::protobuf::Timestamp proto = ToProto(SystemTime(ns));
    EXPECT_GE(proto.nanos(), 0);
    EXPECT_EQ(FromProto(proto).time_since_epoch(), ns);
  }
}

TEST(DurationTest, OfTheWireIsClampedRatherThanWrapped) {
  google::protobuf::Duration proto;
  proto.set_seconds(315'576'000'000);  // The most that protobuf allows: 10,000 years.
  EXPECT_EQ(FromProto(proto), Nanoseconds::max());
  proto.set_seconds(-315'576'000'000);
  EXPECT_EQ(FromProto(proto), Nanoseconds::min());
}

}  // namespace
}  // namespace firedrill
