// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/host/processes.h"

namespace firedrill::agent {

class Host;

/// How many descriptors a process may have (RLIMIT_NOFILE): setting it, and giving it back.

/// For people: "redis-server (pid 12)".
std::string NameOf(const Process& process);

/// NOT_FOUND: it has ended. PERMISSION_DENIED: it is another user's; says what to do.
absl::StatusOr<rlimit> ReadDescriptorLimit(const Process& process);
absl::Status SetDescriptorLimit(const Process& process, const rlimit& limit);

/// The numbers of its open descriptors below `below`. NOT_FOUND as above.
absl::StatusOr<std::set<rlim_t>> OpenBelow(const Host& host, const Process& process, rlim_t below);
/// A new descriptor gets the lowest free number, and must be below the limit: the limit that leaves
/// so many free numbers.
rlim_t LimitThatLeaves(const std::set<rlim_t>& open, std::uint64_t leave);
/// Free numbers below `limit`; `open` are those below it that are not.
std::uint64_t FreeBelow(const std::set<rlim_t>& open, rlim_t limit);

/// Whose limit was set, and what it was.
struct FormerLimit {
  int pid = 0;
  std::uint64_t start_time = 0;  ///< Of the process, in clock ticks after boot.
  std::uint64_t since = 0;       ///< When its limit was set, in the same ticks.
  rlim_t before = 0;
  rlim_t ours = 0;
  rlim_t hard = 0;
  std::string cgroups;  ///< Of the process, joined.
};

/// What `process` is before its limit of `before` becomes `ours`.
FormerLimit Remember(const Host& host, const Process& process, const rlimit& before, rlim_t ours);
/// The values of a record of the journal, one for a whole injection. DATA_LOSS.
std::map<std::string, std::string> ToValues(const std::vector<FormerLimit>& formers);
absl::StatusOr<std::vector<FormerLimit>> FromValues(
    const std::map<std::string, std::string>& values);

/// Gives the limits back to the processes, and to those that they have started since, which
/// inherited them, and reads them back: all in one look through /proc. OK also for one that has
/// ended, or has by now a limit that is not ours.
absl::Status GiveBack(const Host& host, const std::vector<FormerLimit>& formers);

}  // namespace firedrill::agent
