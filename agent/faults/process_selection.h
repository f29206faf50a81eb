// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/host/processes.h"
#include "firedrill/v1/fault.pb.h"

namespace re2 {
class RE2;
}  // namespace re2

namespace firedrill::agent {

class Host;

/// Whether a process is one that a selector means. It reads of /proc only what the selector asks
/// for. Not thread-safe.
class ProcessMatcher {
 public:
  /// `host` and `selector` must outlive it. INVALID_ARGUMENT for a regular expression that is none.
  static absl::StatusOr<ProcessMatcher> Make(const Host& host, const v1::ProcessSelector& selector);
  ProcessMatcher(ProcessMatcher&&) noexcept;
  ~ProcessMatcher();

  /// True if every given field matches. Sockets are read once for each network namespace: make one
  /// matcher for each scan where they count.
  bool Matches(int pid);

 private:
  ProcessMatcher(const Host& host, const v1::ProcessSelector& selector);

  const Host* host_;
  const v1::ProcessSelector* selector_;
  std::unique_ptr<ListeningSockets> sockets_;
  std::unique_ptr<re2::RE2> regex_;
};

/// The processes for which every given field of `selector` matches, without those that `exclude`
/// (if it has any field) matches, and those that are never touched: pid 1, kernel threads, zombies,
/// `spared`, the ancestors of these, and their children that run this very program: workers of
/// which the caller has not been told yet.
/// NOT_FOUND if there is none: it says what was looked for, and when only untouchable ones matched.
absl::StatusOr<std::vector<Process>> SelectProcesses(
    const Host& host, const v1::ProcessSelector& selector, const std::set<int>& spared,
    const v1::ProcessSelector& exclude = v1::ProcessSelector::default_instance());

/// `spared`, everything above them, and pid 1.
std::set<int> WithAncestors(const Host& host, const std::set<int>& spared);

/// So many of `processes` as `amount` says (absent: one), in that order: at random, those that
/// started first, or last. Of two that started in the same hundredth of a second the one with the
/// smaller pid counts as the older.
std::vector<Process> Pick(std::vector<Process> processes, const v1::Amount& amount,
                          std::mt19937_64& random, v1::Pick order = v1::PICK_RANDOM);

}  // namespace firedrill::agent
