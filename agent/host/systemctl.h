// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

/// What a program said and how it ended.
struct SystemctlResult {
  int exit_code = 0;
  std::string output;  ///< Of both streams; the first 64 KiB.
};

/// Runs systemctl, found by PATH, without a shell; blocks the caller for at most `within`.
/// `wake`: a descriptor that ends the wait once it is readable; what systemd has begun goes on.
/// UNAVAILABLE: there is none. DEADLINE_EXCEEDED, CANCELLED (by `wake`): it was killed.
absl::StatusOr<SystemctlResult> RunSystemctl(const std::vector<std::string>& arguments,
                                             Nanoseconds within, int wake = -1);

/// Starts systemctl and lets it come to its own end, however long that takes: for what must happen
/// even if this host is too busy to wait for the answer. UNAVAILABLE: there is none.
absl::Status LaunchSystemctl(const std::vector<std::string>& arguments);

/// A systemd unit as systemd shows it; see org.freedesktop.systemd1(5).
struct UnitState {
  std::string id;          ///< With its suffix: redis-server.service.
  std::string load;        ///< loaded, not-found, masked, bad-setting, error
  std::string active;      ///< active, reloading, inactive, failed, activating, deactivating
  std::string sub;         ///< running, exited, dead, …
  std::string result;      ///< success, exit-code, timeout, …
  std::string invocation;  ///< New with each start; empty if it has never been started.
  std::string cgroup;      ///< From the root; empty while it has none.
  bool can_stop = true;
  std::vector<std::string> stops_with;  ///< Units that systemd stops together with this one.
  /// When it last became active, left that, and became inactive: microseconds of CLOCK_MONOTONIC;
  /// 0: never.
  std::uint64_t active_since_us = 0;
  std::uint64_t active_until_us = 0;
  std::uint64_t inactive_since_us = 0;

  bool is_active() const { return active == "active" || active == "reloading"; }
};

/// Reads what `systemctl show` prints: a block a unit. Pure.
std::vector<UnitState> ParseUnits(const std::string& text);

/// In the order of `units`. Units that do not exist have the load state not-found.
absl::StatusOr<std::vector<UnitState>> ShowUnits(const std::vector<std::string>& units,
                                                 Nanoseconds within);

/// OK if systemd is the first process and answers. UNIMPLEMENTED or UNAVAILABLE say what to do.
absl::Status TrySystemd();

}  // namespace firedrill::agent
