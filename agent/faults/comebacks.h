// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "agent/host/processes.h"
#include "firedrill/v1/fault.pb.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

class Host;
struct TaskEvent;

/// A process that was not there before and is one of those that are looked for.
struct Comeback {
  Process process;
  /// When it began to be one: of the exec of the program that matches, or of the fork of a process
  /// that matches without one. CLOCK_MONOTONIC.
  SteadyTime at;
  bool executed = false;       ///< `at` is an exec's.
  bool from_kernel = false;    ///< Else it was found by looking.
  Nanoseconds uncertainty{0};  ///< ± of `at`; the kernel's are exact.
};

/// Finds processes that come to match a selector, from the kernel's events or, without them, by
/// looking at /proc. A process may come to match later than its exec (once it listens, once it has
/// renamed itself): it is looked at again, at growing intervals, and its exec still counts.
/// Not thread-safe.
class Comebacks {
 public:
  /// All must outlive it.
  Comebacks(const Host& host, const v1::ProcessSelector& selector,
            const v1::ProcessSelector& exclude)
      : host_(host), selector_(selector), exclude_(exclude) {}

  /// Every process that matches now is no comeback. Forgets what came before.
  absl::Status Begin(const std::set<int>& spared);

  /// A fork or an exec.
  void Saw(const TaskEvent& event);
  /// What has come since the last call; never any of `spared` and their ancestors.
  std::vector<Comeback> Look(const std::set<int>& spared);
  /// As Look, from /proc alone: for want of events.
  std::vector<Comeback> Scan(const std::set<int>& spared);
  /// When Look has something to do; absent: not before another event.
  std::optional<SteadyTime> NextLook() const;

 private:
  struct Candidate {
    SteadyTime at;
    bool executed = false;
    bool matched = false;  // after its fork: an exec may be on its way that explains it
    int looks = 0;
    SteadyTime next;
  };
  bool Know(const Process& process) {
    return known_.emplace(process.pid, process.start_time).second;
  }

  const Host& host_;
  const v1::ProcessSelector& selector_;
  const v1::ProcessSelector& exclude_;
  std::set<std::pair<int, std::uint64_t>> known_;
  std::map<int, Candidate> candidates_;
  SteadyTime scanned_at_;
};

}  // namespace firedrill::agent
