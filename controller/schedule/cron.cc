// SPDX-License-Identifier: Apache-2.0
#include "controller/schedule/cron.h"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/time/civil_time.h"
#include "proto/support/status_macros.h"

namespace firedrill::controller {
namespace {

// The calendar repeats itself after 400 years, and in that time every date falls on every weekday.
constexpr int kDaysToSearch = 400 * 366;
constexpr std::size_t kLongestText = 1000;

struct FieldSpec {
  const char* name;
  int first;
  int last;
  std::vector<std::string> names;  // of `first`, `first` + 1, …
};

absl::Status Wrong(const FieldSpec& field, std::string_view found, std::string_view why) {
  return absl::InvalidArgumentError(fmt::format(
      "cron {} field \"{}\": {}; allowed: {} to {}{}", field.name, found, why, field.first,
      field.last,
      field.names.empty() ? "" : " or " + field.names.front() + " to " + field.names.back()));
}

std::optional<int> ParseValue(const FieldSpec& field, std::string_view text) {
  int value = 0;
  if (!text.empty() && absl::ascii_isdigit(text.front()) &&
      absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &value)) {
    return value;
  }
  const std::string lower = absl::AsciiStrToLower(absl::string_view(text.data(), text.size()));
  for (std::size_t i = 0; i < field.names.size(); ++i) {
    if (lower == field.names[i]) return field.first + static_cast<int>(i);
  }
  return std::nullopt;
}

// One of the parts between commas: *, a, a-b, each with an optional /step.
template <typename Bits>
absl::Status ParsePart(const FieldSpec& field, const std::string& part, Bits& bits) {
  int step = 1;
  const std::size_t slash = part.find('/');
  std::string range = part.substr(0, slash);
  if (slash != std::string::npos) {
    const std::string text = part.substr(slash + 1);
    if (!absl::SimpleAtoi(text, &step) || step < 1 || step > field.last) {
      return Wrong(field, part, fmt::format("the step after / must be 1 to {}", field.last));
    }
  }
  int from = field.first;
  int to = field.last;
  if (range != "*") {
    const std::size_t dash = range.find('-');
    const std::optional<int> low = ParseValue(field, range.substr(0, dash));
    if (!low) return Wrong(field, part, "not a value");
    from = *low;
    to = slash == std::string::npos ? from : field.last;
    if (dash != std::string::npos) {
      const std::optional<int> high = ParseValue(field, range.substr(dash + 1));
      if (!high) return Wrong(field, part, "not a range");
      to = *high;
      if (to < from) return Wrong(field, part, "the range ends before it begins");
    }
  }
  if (from < field.first || from > field.last || to > field.last) {
    return Wrong(field, part, "out of range");
  }
  for (int value = from; value <= to; value += step) bits.set(static_cast<std::size_t>(value));
  return absl::OkStatus();
}

template <typename Bits>
absl::Status ParseField(const FieldSpec& field, const std::string& text, Bits& bits) {
  const std::vector<std::string> parts = absl::StrSplit(text, ',');
  for (const std::string& part : parts) RETURN_IF_ERROR(ParsePart(field, part, bits));
  return absl::OkStatus();
}

const std::vector<std::string>& MonthNames() {
  static const std::vector<std::string> names = {"jan", "feb", "mar", "apr", "may", "jun",
                                                 "jul", "aug", "sep", "oct", "nov", "dec"};
  return names;
}

const std::vector<std::string>& WeekdayNames() {
  static const std::vector<std::string> names = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
  return names;
}

SystemTime ToSystem(absl::Time time) { return SystemTime(Nanoseconds(absl::ToUnixNanos(time))); }

}  // namespace

absl::StatusOr<Cron> ParseCron(std::string_view text) {
  if (text.size() > kLongestText) {
    return absl::InvalidArgumentError(
        fmt::format("cron: {} characters; at most {} are allowed", text.size(), kLongestText));
  }
  const std::vector<std::string> fields = absl::StrSplit(
      absl::string_view(text.data(), text.size()), absl::ByAnyChar(" \t"), absl::SkipEmpty());
  if (fields.size() != 5) {
    return absl::InvalidArgumentError(
        fmt::format("cron \"{}\" has {} fields; it needs five: minute hour day month weekday, for "
                    "example \"0 10 * * tue\"",
                    text, fields.size()));
  }
  Cron cron;
  RETURN_IF_ERROR(ParseField({"minute", 0, 59, {}}, fields[0], cron.minutes_));
  RETURN_IF_ERROR(ParseField({"hour", 0, 23, {}}, fields[1], cron.hours_));
  RETURN_IF_ERROR(ParseField({"day", 1, 31, {}}, fields[2], cron.days_));
  RETURN_IF_ERROR(ParseField({"month", 1, 12, MonthNames()}, fields[3], cron.months_));
  std::bitset<8> weekdays;
  RETURN_IF_ERROR(ParseField({"weekday", 0, 7, WeekdayNames()}, fields[4], weekdays));
  for (std::size_t day = 0; day < 8; ++day) {
    if (weekdays[day]) cron.weekdays_.set(day % 7);
  }
  cron.every_hour_ = fields[1].front() == '*';
  cron.any_day_ = fields[2].front() == '*';
  cron.any_weekday_ = fields[4].front() == '*';

  // A leap year has every day that there is.
  bool happens = false;
  for (absl::CivilDay day(2024, 1, 1); day.year() == 2024 && !happens; ++day) {
    happens =
        cron.months_[static_cast<std::size_t>(day.month())] &&
        (cron.days_[static_cast<std::size_t>(day.day())] || (!cron.any_day_ && !cron.any_weekday_));
  }
  if (!happens) {
    return absl::InvalidArgumentError(
        fmt::format("cron \"{}\" never happens: none of its months has such a day", text));
  }
  return cron;
}

absl::StatusOr<absl::TimeZone> ParseTimeZone(std::string_view name) {
  if (name.empty()) return absl::UTCTimeZone();
  absl::TimeZone zone;
  if (!absl::LoadTimeZone(absl::string_view(name.data(), name.size()), &zone)) {
    return absl::InvalidArgumentError(
        fmt::format("time zone \"{}\" is not known; allowed are IANA names such as Europe/Berlin "
                    "(package tzdata must be installed)",
                    name));
  }
  return zone;
}

bool Cron::MatchesDay(absl::CivilDay day) const {
  if (!months_[static_cast<std::size_t>(day.month())]) return false;
  const bool by_day = days_[static_cast<std::size_t>(day.day())];
  // absl counts from Monday.
  const auto weekday = (static_cast<std::size_t>(absl::GetWeekday(day)) + 1) % 7;
  const bool by_weekday = weekdays_[weekday];
  if (any_day_ || any_weekday_) return by_day && by_weekday;
  return by_day || by_weekday;
}

SystemTime Cron::Next(SystemTime after, const absl::TimeZone& zone) const {
  const absl::Time start = absl::FromUnixNanos(after.time_since_epoch().count());
  // The day before too: a clock that goes back over midnight repeats it.
  absl::CivilDay day = absl::ToCivilDay(start, zone) - 1;
  for (int searched = 0; searched < kDaysToSearch; ++searched, ++day) {
    if (!MatchesDay(day)) continue;
    absl::Time best = absl::InfiniteFuture();
    const auto offer = [&](absl::Time time) {
      if (time > start && time < best) best = time;
    };
    for (std::size_t hour = 0; hour < hours_.size(); ++hour) {
      if (!hours_[hour]) continue;
      for (std::size_t minute = 0; minute < minutes_.size(); ++minute) {
        if (!minutes_[minute]) continue;
        const absl::CivilSecond civil(day.year(), day.month(), day.day(), static_cast<int>(hour),
                                      static_cast<int>(minute), 0);
        const absl::TimeZone::TimeInfo info = zone.At(civil);
        switch (info.kind) {
          case absl::TimeZone::TimeInfo::UNIQUE:
            offer(info.pre);
            break;
          case absl::TimeZone::TimeInfo::SKIPPED:
            if (!every_hour_) offer(info.trans);
            break;
          case absl::TimeZone::TimeInfo::REPEATED:
            offer(info.pre);
            if (every_hour_) offer(info.post);
            break;
        }
      }
    }
    if (best != absl::InfiniteFuture()) return ToSystem(best);
  }
  return SystemTime::max();  // ParseCron lets nothing through that comes here.
}

}  // namespace firedrill::controller
