// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "controller/schedule/cron.h"

namespace firedrill::controller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::TimeZone Zone(std::string_view name) {
  absl::StatusOr<absl::TimeZone> zone = ParseTimeZone(name);
  EXPECT_TRUE(zone.ok()) << zone.status();
  return *zone;
}

// The next `count` times after `from` (RFC 3339), written in `zone`.
std::vector<std::string> Times(std::string_view cron_text, std::string_view zone_name,
                               const std::string& from, int count) {
  absl::StatusOr<Cron> cron = ParseCron(cron_text);
  EXPECT_TRUE(cron.ok()) << cron.status();
  absl::Time start;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, from, &start, &error)) << error;
  const absl::TimeZone zone = Zone(zone_name);
  SystemTime at(Nanoseconds(absl::ToUnixNanos(start)));
  std::vector<std::string> times;
  for (int i = 0; i < count; ++i) {
    at = cron->Next(at, zone);
    times.push_back(absl::FormatTime("%Y-%m-%d %H:%M%Ez",
                                     absl::FromUnixNanos(at.time_since_epoch().count()), zone));
  }
  return times;
}

TEST(CronTest, RunsOnTheNamedWeekday) {
  EXPECT_THAT(Times("0 10 * * tue", "Europe/Berlin", "2026-11-22T16:00:00Z", 2),
              ElementsAre("2026-11-24 10:00+01:00", "2026-12-01 10:00+01:00"));
}

TEST(CronTest, IsStrictlyLaterThanTheInstantAskedFrom) {
  EXPECT_THAT(Times("30 8 * * *", "UTC", "2026-05-01T08:30:00Z", 1),
              ElementsAre("2026-05-02 08:30+00:00"));
  EXPECT_THAT(Times("30 8 * * *", "UTC", "2026-05-01T08:29:59.999Z", 1),
              ElementsAre("2026-05-01 08:30+00:00"));
}

TEST(CronTest, RunsAMinuteThatTheClockJumpsOverAtTheJump) {
  EXPECT_THAT(Times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2),
              ElementsAre("2026-03-29 03:00+02:00", "2026-03-30 02:30+02:00"));
}

TEST(CronTest, RunsAMinuteThatComesTwiceOnce) {
  EXPECT_THAT(Times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
              ElementsAre("2026-10-25 02:30+02:00", "2026-10-26 02:30+01:00"));
}

TEST(CronTest, EveryHourFollowsElapsedTimeThroughClockChanges) {
  EXPECT_THAT(Times("30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", 4),
              ElementsAre("2026-10-25 02:30+02:00", "2026-10-25 02:30+01:00",
                          "2026-10-25 03:30+01:00", "2026-10-25 04:30+01:00"));
  EXPECT_THAT(
      Times("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3),
      ElementsAre("2026-03-29 01:30+01:00", "2026-03-29 03:30+02:00", "2026-03-29 04:30+02:00"));
}

TEST(CronTest, TakesTheJumpOnceWhenItIsAlsoATimeOfItsOwn) {
  EXPECT_THAT(Times("0,30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 2),
              ElementsAre("2026-03-29 03:00+02:00", "2026-03-29 03:30+02:00"));
}

TEST(CronTest, HandlesAZoneThatChangesAtMidnight) {
  // Beirut jumps from 00:00 to 01:00 on the last Sunday of March.
  EXPECT_THAT(Times("15 0 * * *", "Asia/Beirut", "2026-03-28T12:00:00Z", 2),
              ElementsAre("2026-03-29 01:00+03:00", "2026-03-30 00:15+03:00"));
}

TEST(CronTest, ReadsListsRangesStepsAndNames) {
  EXPECT_THAT(
      Times("*/20 9-10 1,15 jan-mar *", "UTC", "2026-01-15T09:30:00Z", 5),
      ElementsAre("2026-01-15 09:40+00:00", "2026-01-15 10:00+00:00", "2026-01-15 10:20+00:00",
                  "2026-01-15 10:40+00:00", "2026-02-01 09:00+00:00"));
  EXPECT_THAT(
      Times("0 12 * * MON-FRI/2", "UTC", "2026-11-22T00:00:00Z", 3),
      ElementsAre("2026-11-23 12:00+00:00", "2026-11-25 12:00+00:00", "2026-11-27 12:00+00:00"));
  EXPECT_THAT(
      Times("5/25 0 * * *", "UTC", "2026-11-22T00:00:00Z", 3),
      ElementsAre("2026-11-22 00:05+00:00", "2026-11-22 00:30+00:00", "2026-11-22 00:55+00:00"));
}

TEST(CronTest, SevenIsSunday) {
  EXPECT_THAT(Times("0 0 * * 7", "UTC", "2026-11-16T00:00:00Z", 1),
              ElementsAre("2026-11-22 00:00+00:00"));
}

TEST(CronTest, DayOrWeekdayIsEnoughWhenBothAreGiven) {
  EXPECT_THAT(
      Times("0 0 13 * fri", "UTC", "2026-11-12T00:00:00Z", 3),
      ElementsAre("2026-11-13 00:00+00:00", "2026-11-20 00:00+00:00", "2026-11-27 00:00+00:00"));
}

TEST(CronTest, FindsALeapDay) {
  EXPECT_THAT(Times("0 0 29 2 *", "UTC", "2026-11-12T00:00:00Z", 2),
              ElementsAre("2028-02-29 00:00+00:00", "2032-02-29 00:00+00:00"));
  EXPECT_THAT(Times("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1),
              ElementsAre("2104-02-29 00:00+00:00"));
}

TEST(CronTest, SaysWhatIsWrongWhereAndWhatIsAllowed) {
  struct Case {
    std::string_view text;
    std::string_view message;
  };
  const Case cases[] = {
      {"", "has 0 fields; it needs five: minute hour day month weekday"},
      {"0 10 * *", "has 4 fields"},
      {"60 * * * *", "cron minute field \"60\": out of range; allowed: 0 to 59"},
      {"* 24 * * *", "cron hour field \"24\": out of range"},
      {"* 30/7 * * *", "cron hour field \"30/7\": out of range"},
      {"* * 0 * *", "cron day field \"0\": out of range; allowed: 1 to 31"},
      {"* * * 13 *", "cron month field \"13\": out of range; allowed: 1 to 12 or jan to dec"},
      {"* * * * 8", "cron weekday field \"8\": out of range"},
      {"* * * * tuesday", "cron weekday field \"tuesday\": not a value"},
      {"5-1 * * * *", "the range ends before it begins"},
      {"*/0 * * * *", "the step after / must be 1 to 59"},
      {"*/-1 * * * *", "the step after / must be 1 to 59"},
      {"1, * * * *", "cron minute field \"\": not a value"},
      {"-1 * * * *", "not a value"},
      {"+1 * * * *", "not a value"},
      {"@daily", "has 1 fields"},
      {"0 0 31 2 *", "never happens"},
      {"0 0 30-31 2 */2", "never happens"},
  };
  for (const Case& c : cases) {
    const absl::StatusOr<Cron> cron = ParseCron(c.text);
    ASSERT_FALSE(cron.ok()) << c.text;
    EXPECT_EQ(cron.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(cron.status().message()), HasSubstr(std::string(c.message))) << c.text;
  }
  EXPECT_FALSE(ParseCron(std::string(2000, '1')).ok());
}

TEST(CronTest, KnowsTimeZonesByTheirIanaNames) {
  EXPECT_TRUE(ParseTimeZone("").ok());
  EXPECT_EQ(Zone("").name(), "UTC");
  const absl::StatusOr<absl::TimeZone> zone = ParseTimeZone("Mars/Olympus");
  ASSERT_FALSE(zone.ok());
  EXPECT_THAT(std::string(zone.status().message()), HasSubstr("\"Mars/Olympus\" is not known"));
}

}  // namespace
}  // namespace firedrill::controller
