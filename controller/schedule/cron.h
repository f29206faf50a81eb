// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bitset>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// When something recurs: the five fields of cron(8), minute hour day month weekday. A value type.
///
/// Clock changes, as Vixie cron treats them: a minute that the clock jumps over runs at the jump
/// (02:30 in Berlin on 2026-03-29 at 03:00+02:00), one that comes twice runs the first time. An
/// hour field that starts with `*` follows elapsed time instead: nothing is made up, both hours
/// count.
class Cron {
 public:
  /// The first time strictly after `after`. Always exists: ParseCron refuses what never happens.
  SystemTime Next(SystemTime after, const absl::TimeZone& zone) const;

 private:
  friend absl::StatusOr<Cron> ParseCron(std::string_view text);

  bool MatchesDay(absl::CivilDay day) const;

  std::bitset<60> minutes_;
  std::bitset<24> hours_;
  std::bitset<32> days_;      // 1 to 31
  std::bitset<13> months_;    // 1 to 12
  std::bitset<7> weekdays_;   // 0 is Sunday
  bool every_hour_ = false;   // the hour field starts with *
  bool any_day_ = false;      // the day field starts with *
  bool any_weekday_ = false;  // the weekday field starts with *
};

/// Reads "minute hour day month weekday": numbers, ranges a-b, steps */n and a-b/n, lists with
/// commas, names jan-dec and sun-sat, 7 for Sunday. If both day and weekday are restricted, either
/// is enough, as cron does it. INVALID_ARGUMENT says which field, what was found and what is
/// allowed.
absl::StatusOr<Cron> ParseCron(std::string_view text);

/// An IANA zone; empty means UTC. INVALID_ARGUMENT names one that this machine does not know.
absl::StatusOr<absl::TimeZone> ParseTimeZone(std::string_view name);

}  // namespace firedrill::controller
