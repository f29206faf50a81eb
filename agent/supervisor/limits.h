// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "agent/faults/fault.h"

namespace firedrill::agent {

/// What this host's owner permits. Not thread-safe.
class Limits {
 public:
  /// `live_cap`: so many faults may live at once. `allowed`: names of the kinds that cannot be
  /// reverted and are permitted all the same.
  Limits(int live_cap, std::set<std::string> allowed)
      : live_cap_(live_cap), allowed_(std::move(allowed)) {}

  /// Whether one more may begin beside `live` others. INVALID_ARGUMENT: the rule book's breaches;
  /// PERMISSION_DENIED: not allowed by name; RESOURCE_EXHAUSTED: the cap, which is counted.
  absl::Status Admit(const v1::Fault& fault, std::optional<Nanoseconds> duration, int live);

  /// PERMISSION_DENIED, with what to do about it, for a kind that needs to be allowed and is not.
  absl::Status CheckAllowed(v1::Fault::KindCase kind) const;

  int live_cap() const { return live_cap_; }
  /// Refused because of the cap so far.
  std::uint64_t over_cap() const { return over_cap_; }

 private:
  const int live_cap_;
  const std::set<std::string> allowed_;
  std::uint64_t over_cap_ = 0;
};

}  // namespace firedrill::agent
