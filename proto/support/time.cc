// SPDX-License-Identifier: Apache-2.0
#include "proto/support/time.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>

#include "absl/time/time.h"

namespace firedrill {
namespace {

constexpr std::int64_t kBillion = 1'000'000'000;

std::int64_t ToNanoseconds(std::int64_t seconds, std::int32_t nanos) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / kBillion - 1;
  if (seconds > kMost) return std::numeric_limits<std::int64_t>::max();
  if (seconds < -kMost) return std::numeric_limits<std::int64_t>::min();
  return seconds * kBillion + nanos;
}

// 2.35 rather than 2.350, 12 rather than 12.0.
std::string ThreeDigits(double value) {
  const int decimals = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  std::string text = fmt::format("{:.{}f}", value, decimals);
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text;
}

}  // namespace

SystemTime FromProto(const google::protobuf::Timestamp& timestamp) {
  return SystemTime(Nanoseconds(ToNanoseconds(timestamp.seconds(), timestamp.nanos())));
}

google::protobuf::Timestamp ToProto(SystemTime time) {
  const std::int64_t ns = time.time_since_epoch().count();
  google::protobuf::Timestamp timestamp;
  // A timestamp's nanos always count forward, before 1970 too.
  timestamp.set_seconds(ns / kBillion - (ns % kBillion < 0 ? 1 : 0));
  timestamp.set_nanos(static_cast<std::int32_t>((ns % kBillion + kBillion) % kBillion));
  return timestamp;
}

Nanoseconds FromProto(const google::protobuf::Duration& duration) {
  return Nanoseconds(ToNanoseconds(duration.seconds(), duration.nanos()));
}

google::protobuf::Duration ToProto(Nanoseconds duration) {
  google::protobuf::Duration proto;
  proto.set_seconds(duration.count() / kBillion);
  proto.set_nanos(static_cast<std::int32_t>(duration.count() % kBillion));
  return proto;
}

double Seconds(Nanoseconds duration) { return static_cast<double>(duration.count()) / 1e9; }

std::string FormatDuration(Nanoseconds duration) {
  if (duration.count() < 0) return "-" + FormatDuration(-duration);
  const double seconds = Seconds(duration);
  if (duration.count() == 0) return "0s";
  if (seconds < 999.5e-6) return ThreeDigits(seconds * 1e6) + "µs";
  if (seconds < 999.5e-3) return ThreeDigits(seconds * 1e3) + "ms";
  if (seconds < 59.95) return ThreeDigits(seconds) + "s";
  const std::int64_t whole = std::llround(seconds);
  std::string text;
  if (whole >= 3600) text += fmt::format("{}h", whole / 3600);
  if (whole % 3600 >= 60) text += fmt::format("{}m", whole % 3600 / 60);
  if (whole % 60 > 0) text += fmt::format("{}s", whole % 60);
  return text;
}

std::string FormatTime(SystemTime time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ",
                          absl::FromUnixNanos(time.time_since_epoch().count()),
                          absl::UTCTimeZone());
}

}  // namespace firedrill
