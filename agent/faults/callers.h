// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "agent/faults/fault.h"

namespace firedrill::agent {

class Host;

/// Whose system calls a fault is meant for: everybody's, or those of chosen processes with their
/// descendants; never those of process 1, of kernel threads, of the agent's family and of what it
/// has started. Thread-safe.
class Callers {
 public:
  Callers(const Host& host, std::optional<v1::ProcessSelector> selector, const Protected& protect);

  /// Looks for the chosen processes (again): some may have come. NOT_FOUND if there is none now,
  /// and nobody is chosen then: who gets the number of one that is gone is somebody else.
  absl::Status Refresh();
  void Protect(const Protected& protect);

  /// Whether the fault is meant for thread `tid`, of which /proc must know.
  bool Include(int tid) const;

  bool chooses() const { return selector_.has_value(); }
  std::set<int> chosen() const;
  std::set<int> family() const;

 private:
  const Host& host_;
  const std::optional<v1::ProcessSelector> selector_;
  mutable absl::Mutex mutex_;
  std::set<int> chosen_ ABSL_GUARDED_BY(mutex_);
  std::set<int> family_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace firedrill::agent
