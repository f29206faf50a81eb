// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "proto/support/clock.h"

// Between std::chrono and the wire. A Timestamp or Duration out of int64 nanoseconds is clamped.
namespace firedrill {

SystemTime FromProto(const google::protobuf::Timestamp& timestamp);
google::protobuf::Timestamp ToProto(SystemTime time);
Nanoseconds FromProto(const google::protobuf::Duration& duration);
google::protobuf::Duration ToProto(Nanoseconds duration);

/// Seconds with a fraction, for metrics and JSON.
double Seconds(Nanoseconds duration);

/// For people: 1h30m, 45s, 2.35s, 150ms, 40µs, 0s. Keeps three significant digits under a minute.
std::string FormatDuration(Nanoseconds duration);

/// 2026-11-22T16:41:01.250Z: RFC 3339, UTC, milliseconds.
std::string FormatTime(SystemTime time);

}  // namespace firedrill
