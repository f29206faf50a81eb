// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/host/systemctl.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

/// What an injection has stopped: a unit, and the active units that systemd stops along with it.
/// Remembered in the journal and, for whoever verifies the end, in a file below /run.
class StoppedUnits {
 public:
  /// Every unit's invocation when it was stopped, the chosen one's first in `order`.
  using Invocations = std::map<std::string, std::string>;

  StoppedUnits(std::string unit, Invocations invocations, const std::string& injection_id);
  /// DATA_LOSS if `values` are none of Values().
  static absl::StatusOr<StoppedUnits> FromValues(const std::map<std::string, std::string>& values);
  std::map<std::string, std::string> Values() const;

  const std::string& unit() const { return unit_; }
  const Invocations& invocations() const { return invocations_; }

  /// Says below /run that these are stopped.
  absl::Status Mark() const;
  absl::Status Unmark() const;
  /// The unit that injection `injection_id` has stopped and not started again; empty if none.
  static std::string MarkedUnit(const std::string& injection_id);

  /// Stops them, without waiting.
  absl::Status Stop(Nanoseconds within) const;
  /// Starts those that nobody has started since, and waits for at most `within` until they are
  /// active. OK as well while they are still about to start. FAILED_PRECONDITION: one is masked or
  /// gone; ABORTED: one does not come up.
  absl::Status StartAgain(Nanoseconds within) const;

 private:
  std::string unit_;
  Invocations invocations_;
  std::string marker_;
};

/// The unit and all active ones that would be stopped with it. FAILED_PRECONDITION if they are too
/// many to be put back safely.
absl::StatusOr<std::vector<UnitState>> StopsTogether(const UnitState& unit, SteadyTime deadline);

}  // namespace firedrill::agent
