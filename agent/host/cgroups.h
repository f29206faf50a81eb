// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace firedrill::agent {

class Host;

/// A control group in the hierarchy of one controller: v1 has one for each (or some together), v2
/// one for all. See cgroups(7).
struct Cgroup {
  std::string controller;  ///< cpu, memory, pids, …
  std::string path;    ///< From the hierarchy's root, as /proc/PID/cgroup and ReadCgroups spell it.
  std::string folder;  ///< Where it is mounted.
  std::string top;     ///< The folder of the topmost cgroup that is mounted.
  bool v2 = false;
};

/// Finds a cgroup by its path. NOT_FOUND says in which hierarchy it is not, and what to do;
/// UNIMPLEMENTED that no hierarchy with this controller, nor v2, is mounted.
absl::StatusOr<Cgroup> FindCgroup(const Host& host, const std::string& controller,
                                  const std::string& path);

/// The cgroup that process `pid` is in. Errors as FindCgroup.
absl::StatusOr<Cgroup> CgroupOf(const Host& host, const std::string& controller, int pid);

enum class Joining { kProcess, kThread };

/// Moves the calling process, or (v1 only) the calling thread, into `cgroup`, and reads back that
/// it is there. What it starts later is there, too; its end is the undo.
absl::Status JoinCgroup(const Host& host, const Cgroup& cgroup, Joining joining);

/// The folders from `cgroup` to the topmost one: limits of each hold.
std::vector<std::string> FoldersUpwards(const Cgroup& cgroup);

/// A file with one number; none if it says "max" (v2), or if there is no such file: without it
/// there is no limit on this level.
absl::StatusOr<std::optional<std::uint64_t>> ReadCgroupLimit(const std::string& file);

/// A file with lines "name number", such as memory.stat and cpu.stat.
absl::StatusOr<std::map<std::string, std::uint64_t>> ReadCgroupTable(const std::string& file);

/// How much of a limited thing may still be taken below `cgroup`; none if no level limits it.
struct CgroupRoom {
  std::uint64_t limit = 0;  ///< Of the tightest level.
  std::uint64_t room = 0;   ///< What it leaves.
  std::string folder;       ///< That level's.
};

/// Of memory, in bytes: what the kernel would give up of the page cache counts as free, as it does
/// in MemAvailable.
absl::StatusOr<std::optional<CgroupRoom>> MemoryRoom(const Cgroup& cgroup);
/// Of processes and threads.
absl::StatusOr<std::optional<CgroupRoom>> PidsRoom(const Cgroup& cgroup);

}  // namespace firedrill::agent
