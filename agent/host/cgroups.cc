// SPDX-License-Identifier: Apache-2.0
#include "agent/host/cgroups.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "agent/host/descriptor.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

using absl::string_view;
using Room = absl::StatusOr<std::optional<CgroupRoom>>;

struct Mount {
  std::string root;  // of the hierarchy, as far as it is mounted there
  std::string folder;
  bool v2 = false;
};

bool Lists(string_view list, string_view word) {
  const std::vector<string_view> words = absl::StrSplit(list, ',');
  return std::find(words.begin(), words.end(), word) != words.end();
}

// The v1 hierarchy that has the controller; else v2.
absl::StatusOr<Mount> FindMount(const Host& host, const std::string& controller) {
  ASSIGN_OR_RETURN(const std::string text, Host::Read(host.proc() + "/self/mountinfo", 8 << 20));
  std::optional<Mount> v2;
  for (const string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    // id parent major:minor root folder options … - type source super-options; see proc(5).
    const std::vector<string_view> halves = absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    if (halves.size() != 2) continue;
    const std::vector<string_view> left = absl::StrSplit(halves[0], ' ');
    const std::vector<string_view> right = absl::StrSplit(halves[1], ' ');
    if (left.size() < 5 || right.size() < 3) continue;
    Mount mount{std::string(left[3]), std::string(left[4]), right[0] == "cgroup2"};
    if (mount.v2 && !v2) v2 = mount;
    if (right[0] == "cgroup" && Lists(right[2], controller)) return mount;
  }
  if (v2) return *v2;
  return absl::UnimplementedError(fmt::format(
      "no cgroup hierarchy with the controller {} is mounted; mount cgroup v2 at /sys/fs/cgroup",
      controller));
}

// The path in the hierarchy of `controller` that a /proc/…/cgroup file shows.
absl::StatusOr<std::string> PathIn(const std::string& file, const std::string& controller,
                                   bool v2) {
  ASSIGN_OR_RETURN(const std::string text, Host::Read(file));
  for (const string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<string_view> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    if (v2 ? parts[0] == "0" && parts[1].empty() : Lists(parts[1], controller)) {
      return std::string(parts[2]);
    }
  }
  return absl::NotFoundError(
      fmt::format("{} names no cgroup of the controller {}", file, controller));
}

std::string Kind(const Cgroup& cgroup) {
  return cgroup.v2 ? "cgroup v2" : fmt::format("the v1 hierarchy of {}", cgroup.controller);
}

// Why the kernel would not let us in, and what helps.
std::string WhyNot(const Cgroup& cgroup, int error) {
  switch (error) {
    case EBUSY:
      return "it has cgroups below it that divide its limits; name one at the end of the tree";
    case EOPNOTSUPP:
      return "it is a threaded cgroup; name the one above it";
    case EACCES:
    case EPERM:
    case EROFS:
      return "run the agent as root, with a writable " + cgroup.top;
    default:
      return std::strerror(error);
  }
}

}  // namespace

absl::StatusOr<Cgroup> FindCgroup(const Host& host, const std::string& controller,
                                  const std::string& path) {
  std::string wanted = absl::StartsWith(path, "/") ? path : "/" + path;
  while (wanted.size() > 1 && wanted.back() == '/') wanted.pop_back();
  if (absl::StrContains(wanted + "/", "/../")) {
    return absl::InvalidArgumentError(
        fmt::format("cgroup {}: a path from the cgroup root has no .. in it", path));
  }
  ASSIGN_OR_RETURN(const Mount mount, FindMount(host, controller));
  Cgroup cgroup{controller, wanted, mount.folder, mount.folder, mount.v2};
  // A container may see only its part of the tree, under the tree's own names.
  std::string below = wanted;
  if (mount.root != "/" && (below == mount.root || absl::StartsWith(below, mount.root + "/"))) {
    below.erase(0, mount.root.size());
  }
  if (below != "/") cgroup.folder += below;
  struct stat found {};
  if (stat((cgroup.folder + "/cgroup.procs").c_str(), &found) == 0) return cgroup;
  std::string error = fmt::format("there is no cgroup {} in {} (looked for {})", wanted,
                                  Kind(cgroup), cgroup.folder);
  if (!cgroup.v2) {
    error += fmt::format("; systemd makes one there only for units with accounting or limits of {}",
                         controller);
  }
  return absl::NotFoundError(error);
}

absl::StatusOr<Cgroup> CgroupOf(const Host& host, const std::string& controller, int pid) {
  ASSIGN_OR_RETURN(const Mount mount, FindMount(host, controller));
  ASSIGN_OR_RETURN(const std::string path,
                   PathIn(fmt::format("{}/{}/cgroup", host.proc(), pid), controller, mount.v2));
  return FindCgroup(host, controller, path);
}

absl::Status JoinCgroup(const Host& host, const Cgroup& cgroup, Joining joining) {
  const bool thread = joining == Joining::kThread;
  if (thread && cgroup.v2) {
    return absl::FailedPreconditionError("a thread cannot enter a cgroup v2 by itself");
  }
  const std::string file = cgroup.folder + (thread ? "/tasks" : "/cgroup.procs");
  const Descriptor fd(open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || write(fd.get(), "0", 1) != 1) {
    const int error = errno;
    return absl::FailedPreconditionError(fmt::format(
        "cannot enter cgroup {} in {}: {}", cgroup.path, Kind(cgroup), WhyNot(cgroup, error)));
  }
  ASSIGN_OR_RETURN(const std::string now,
                   PathIn(host.proc() + (thread ? "/thread-self/cgroup" : "/self/cgroup"),
                          cgroup.controller, cgroup.v2));
  if (now == cgroup.path) return absl::OkStatus();
  return absl::InternalError(fmt::format("entered cgroup {} in {}, but the kernel shows {}",
                                         cgroup.path, Kind(cgroup), now));
}

std::vector<std::string> FoldersUpwards(const Cgroup& cgroup) {
  std::vector<std::string> folders;
  std::string folder = cgroup.folder;
  while (folder.size() > cgroup.top.size()) {
    folders.push_back(folder);
    folder.resize(folder.rfind('/'));
  }
  folders.push_back(cgroup.top);
  return folders;
}

absl::StatusOr<std::optional<std::uint64_t>> ReadCgroupLimit(const std::string& file) {
  const auto text = Host::Read(file, 64);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  if (!text.ok()) return text.status();
  const string_view word = absl::StripAsciiWhitespace(*text);
  if (word == "max") return std::nullopt;
  std::uint64_t number = 0;
  if (absl::SimpleAtoi(word, &number)) return number;
  return absl::DataLossError(fmt::format("{} holds no number", file));
}

absl::StatusOr<std::map<std::string, std::uint64_t>> ReadCgroupTable(const std::string& file) {
  ASSIGN_OR_RETURN(const std::string text, Host::Read(file));
  std::map<std::string, std::uint64_t> table;
  for (const string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    std::uint64_t number = 0;
    if (words.size() == 2 && absl::SimpleAtoi(words[1], &number)) {
      table[std::string(words[0])] = number;
    }
  }
  return table;
}

Room MemoryRoom(const Cgroup& cgroup) {
  const char* limit_file = cgroup.v2 ? "/memory.max" : "/memory.limit_in_bytes";
  const char* used_file = cgroup.v2 ? "/memory.current" : "/memory.usage_in_bytes";
  // v1 spells "no limit" as the largest number of pages.
  constexpr std::uint64_t kNoLimit = 1ULL << 62;
  std::optional<CgroupRoom> tightest;
  for (const std::string& folder : FoldersUpwards(cgroup)) {
    ASSIGN_OR_RETURN(const auto limit, ReadCgroupLimit(folder + limit_file));
    if (!limit || *limit >= kNoLimit) continue;
    ASSIGN_OR_RETURN(const auto used, ReadCgroupLimit(folder + used_file));
    std::uint64_t cache = 0;
    if (auto table = ReadCgroupTable(folder + "/memory.stat"); table.ok()) {
      // v1 counts a cgroup's own under the plain names, and all below it under total_….
      const std::string prefix = cgroup.v2 ? "" : "total_";
      cache = (*table)[prefix + "inactive_file"] + (*table)[prefix + "active_file"];
    }
    const std::uint64_t held = used.value_or(0) - std::min(cache, used.value_or(0));
    const std::uint64_t room = *limit - std::min(held, *limit);
    if (!tightest || room < tightest->room) tightest = CgroupRoom{*limit, room, folder};
  }
  return tightest;
}

Room PidsRoom(const Cgroup& cgroup) {
  std::optional<CgroupRoom> tightest;
  for (const std::string& folder : FoldersUpwards(cgroup)) {
    ASSIGN_OR_RETURN(const auto limit, ReadCgroupLimit(folder + "/pids.max"));
    if (!limit) continue;
    ASSIGN_OR_RETURN(const auto used, ReadCgroupLimit(folder + "/pids.current"));
    const std::uint64_t room = *limit - std::min(used.value_or(0), *limit);
    if (!tightest || room < tightest->room) tightest = CgroupRoom{*limit, room, folder};
  }
  return tightest;
}

}  // namespace firedrill::agent
