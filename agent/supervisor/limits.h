// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "agent/faults/fault.h"
#include "firedrill/v1/agent_link.pb.h"

namespace firedrill::agent {

/// What this host's owner permits. Not thread-safe.
class Limits {
 public:
  /// `live_cap`: so many faults may live at once. `allowed`: names of the kinds that cannot be
  /// reverted and are permitted all the same. `abilities`: what the host can do, as its hello says.
  /// `allowed_files`: patterns of the files that config_change may edit.
  Limits(int live_cap, std::set<std::string> allowed, std::vector<v1::Ability> abilities = {},
         std::vector<std::string> allowed_files = {})
      : live_cap_(live_cap),
        allowed_(std::move(allowed)),
        abilities_(std::move(abilities)),
        allowed_files_(std::move(allowed_files)) {}

  /// Whether one more may begin beside `live` others. INVALID_ARGUMENT: the rule book's breaches;
  /// PERMISSION_DENIED: not allowed by name; UNIMPLEMENTED: what its parameters need of the host is
  /// not there; RESOURCE_EXHAUSTED: the cap, which is counted.
  absl::Status Admit(const v1::Fault& fault, std::optional<Nanoseconds> duration, int live);

  /// The same for a preview beside `live` other previews. It touches nothing: it needs no
  /// permission and does not count against the cap, though there may not be more of them than that.
  /// It always has a duration.
  absl::Status AdmitPreview(const v1::Fault& fault, std::optional<Nanoseconds> duration,
                            int live) const;

  /// UNIMPLEMENTED, with the ability's name and why it is missing, if a field or a value of the
  /// fault needs what this host lacks. What the kind itself needs is FaultKind::supported's.
  absl::Status CheckNeeds(const v1::Fault& fault) const;

  /// PERMISSION_DENIED, with what to do about it, for a kind that needs to be allowed and is not.
  absl::Status CheckAllowed(v1::Fault::KindCase kind) const;

  int live_cap() const { return live_cap_; }
  /// Refused because of the cap so far.
  std::uint64_t over_cap() const { return over_cap_; }

 private:
  const int live_cap_;
  const std::set<std::string> allowed_;
  const std::vector<v1::Ability> abilities_;
  const std::vector<std::string> allowed_files_;
  std::uint64_t over_cap_ = 0;
};

}  // namespace firedrill::agent
