// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/available_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "agent/host/descriptor.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr const char* kFirstToDie = "1000";  // oom_score_adj, proc(5): always selected

// What the kernel and the C library keep for a thread, rounded up: a stack of 16 KiB in the kernel,
// what describes it, and the pages of its own stack that it touches.
constexpr std::uint64_t kMemoryOfOne = 48 << 10;
constexpr std::uint64_t kFloor = 128ULL << 20;  // of the host's available memory; never taken

}  // namespace

absl::StatusOr<std::uint64_t> ReadKilobytes(const std::string& file, absl::string_view name) {
  ASSIGN_OR_RETURN(const std::string text, Host::Read(file, 64 << 10));
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!absl::StartsWith(line, name) || line.size() <= name.size() || line[name.size()] != ':') {
      continue;
    }
    absl::string_view number = absl::StripAsciiWhitespace(line.substr(name.size() + 1));
    if (absl::EndsWith(number, " kB")) number.remove_suffix(3);
    std::uint64_t kilobytes = 0;
    if (absl::SimpleAtoi(number, &kilobytes)) return kilobytes << 10;
  }
  return absl::UnimplementedError(
      fmt::format("{} does not show {}; it needs Linux 3.14", file, std::string(name)));
}

absl::StatusOr<std::uint64_t> AvailableMemory(const Host& host,
                                              const std::optional<Cgroup>& cgroup) {
  ASSIGN_OR_RETURN(std::uint64_t available,
                   ReadKilobytes(host.proc() + "/meminfo", "MemAvailable"));
  if (!cgroup) return available;
  ASSIGN_OR_RETURN(const auto room, MemoryRoom(*cgroup));
  return room ? std::min(available, room->room) : available;
}

absl::Status VolunteerToDie(const Host& host) {
  const std::string file = host.proc() + "/self/oom_score_adj";
  const Descriptor fd(open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || write(fd.get(), kFirstToDie, 4) != 4) {
    return absl::ErrnoToStatus(errno, "make the worker the OOM killer's first choice: " + file);
  }
  ASSIGN_OR_RETURN(const std::string now, Host::Read(file, 64));
  if (absl::StripAsciiWhitespace(now) == kFirstToDie) return absl::OkStatus();
  return absl::InternalError(
      fmt::format("{} shows {} after {} was written", file, now, kFirstToDie));
}

absl::Status CheckMemoryForThreads(const Host& host, std::uint64_t threads) {
  const std::uint64_t need = threads * kMemoryOfOne;
  ASSIGN_OR_RETURN(const std::uint64_t available, AvailableMemory(host, std::nullopt));
  constexpr double kMiB = 1 << 20;
  if (available < need + kFloor) {
    return absl::FailedPreconditionError(fmt::format(
        "holding {} pids takes {:.0f} MiB of memory or so, and of the {:.0f} MiB that are "
        "available {:.0f} MiB must stay: name a cgroup, or let more of them free (leave)",
        threads, static_cast<double>(need) / kMiB, static_cast<double>(available) / kMiB,
        static_cast<double>(kFloor) / kMiB));
  }
  // Where the worker is by now: with v2 in the cgroup that is meant, else still in its own.
  const auto own = CgroupOf(host, "memory", getpid());
  if (!own.ok()) return absl::OkStatus();  // nothing but the host limits it
  ASSIGN_OR_RETURN(const auto room, MemoryRoom(*own));
  if (!room || room->room >= need) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "holding {} pids takes {:.0f} MiB of memory or so, and the memory limit of {} leaves {:.0f} "
      "MiB: raise it, or let more of them free (leave)",
      threads, static_cast<double>(need) / kMiB, room->folder,
      static_cast<double>(room->room) / kMiB));
}

}  // namespace firedrill::agent
