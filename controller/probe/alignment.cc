// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/alignment.h"

#include <algorithm>

namespace firedrill::controller {
namespace {

constexpr Nanoseconds kKept = std::chrono::minutes(1);
constexpr Nanoseconds kHalfMillisecond = std::chrono::microseconds(500);
constexpr int kDriftPpm = 200;  // of two clocks against each other; disciplined ones do better

}  // namespace

Nanoseconds ClockAligner::Widened(const Exchange& exchange, SteadyTime now) {
  return exchange.alignment.uncertainty + (now - exchange.at) * kDriftPpm / 1'000'000;
}

ClockAligner::Result ClockAligner::Add(SystemTime sent, SystemTime received, std::int64_t server_ms,
                                       SteadyTime now) {
  // A wall clock that was stepped back between the two would give a negative round trip.
  const Nanoseconds half = std::max(Nanoseconds(0), (received - sent) / 2);
  const SystemTime server = SystemTime(std::chrono::milliseconds(server_ms)) + kHalfMillisecond;
  const Exchange fresh{now, {sent + half - server, half + kHalfMillisecond}};
  Result result;
  // After an outage the last offset that was given is all there is to compare with.
  if (given_) {
    const Nanoseconds apart = std::chrono::abs(given_->alignment.offset - fresh.alignment.offset);
    result.jumped = apart > Widened(*given_, now) + fresh.alignment.uncertainty;
  }
  while (!exchanges_.empty() && now - exchanges_.front().at > kKept) exchanges_.pop_front();
  for (const Exchange& old : exchanges_) {
    const Nanoseconds apart = std::chrono::abs(old.alignment.offset - fresh.alignment.offset);
    if (apart > Widened(old, now) + fresh.alignment.uncertainty) result.jumped = true;
  }
  if (result.jumped) exchanges_.clear();
  exchanges_.push_back(fresh);
  const auto best = std::min_element(exchanges_.begin(), exchanges_.end(),
                                     [now](const Exchange& left, const Exchange& right) {
                                       return Widened(left, now) < Widened(right, now);
                                     });
  result.alignment = {best->alignment.offset, Widened(*best, now)};
  if (given_) {
    const Nanoseconds given = given_->alignment.offset;
    const Nanoseconds apart = std::chrono::abs(given - best->alignment.offset);
    if (apart <= result.alignment.uncertainty) {
      result.alignment = {given, result.alignment.uncertainty + apart};
    }
  }
  given_ = Exchange{now, result.alignment};
  return result;
}

}  // namespace firedrill::controller
