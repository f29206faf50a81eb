// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/descriptor_limits.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

// Even reading another user's limit takes the right to set it.
absl::Status Call(const Process& process, const rlimit* set, rlimit* get) {
  if (prlimit(process.pid, RLIMIT_NOFILE, set, get) == 0) return absl::OkStatus();
  if (errno == ESRCH) return absl::NotFoundError(NameOf(process) + " ended meanwhile");
  if (errno == EPERM) {
    return absl::PermissionDeniedError(fmt::format(
        "the kernel does not let the agent change the descriptor limit of {}: it belongs to "
        "another user and the agent lacks CAP_SYS_RESOURCE; give its systemd unit "
        "AmbientCapabilities=CAP_SYS_RESOURCE, or its container the capability",
        NameOf(process)));
  }
  return absl::ErrnoToStatus(
      errno, fmt::format("{} the descriptor limit of {}", set ? "set" : "read", NameOf(process)));
}

std::uint64_t TicksSinceBoot() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  const auto hertz = static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK));
  return static_cast<std::uint64_t>(now.tv_sec) * hertz +
         static_cast<std::uint64_t>(now.tv_nsec) * hertz / 1'000'000'000;
}

std::string CgroupsOf(const Host& host, int pid) {
  const auto cgroups = ReadCgroups(host, pid);
  return cgroups.ok() ? absl::StrJoin(*cgroups, " ") : "";
}

// Gives a limit back if it is (still) ours, and reads it back.
absl::Status Restore(const Process& process, const FormerLimit& former) {
  const auto now = ReadDescriptorLimit(process);
  if (absl::IsNotFound(now.status())) return absl::OkStatus();
  if (!now.ok()) return now.status();
  if (now->rlim_cur != former.ours) return absl::OkStatus();
  const rlimit wanted{std::min(former.before, now->rlim_max), now->rlim_max};
  const absl::Status set = SetDescriptorLimit(process, wanted);
  if (absl::IsNotFound(set)) return absl::OkStatus();
  RETURN_IF_ERROR(set);
  const auto after = ReadDescriptorLimit(process);
  if (absl::IsNotFound(after.status())) return absl::OkStatus();
  if (!after.ok()) return after.status();
  if (after->rlim_cur == wanted.rlim_cur) return absl::OkStatus();
  return absl::InternalError(
      fmt::format("the kernel shows a descriptor limit of {} for {} after {} was set",
                  after->rlim_cur, NameOf(process), wanted.rlim_cur));
}

}  // namespace

FormerLimit Remember(const Host& host, const Process& process, const rlimit& before, rlim_t ours) {
  return {process.pid,     process.start_time,          TicksSinceBoot(), before.rlim_cur, ours,
          before.rlim_max, CgroupsOf(host, process.pid)};
}

std::string NameOf(const Process& process) {
  return fmt::format("{} (pid {})", process.name, process.pid);
}

absl::StatusOr<rlimit> ReadDescriptorLimit(const Process& process) {
  rlimit limit{};
  RETURN_IF_ERROR(Call(process, nullptr, &limit));
  return limit;
}

absl::Status SetDescriptorLimit(const Process& process, const rlimit& limit) {
  return Call(process, &limit, nullptr);
}

// The numbers of the open descriptors below `below`.
absl::StatusOr<std::set<rlim_t>> OpenBelow(const Host& host, const Process& process, rlim_t below) {
  std::set<rlim_t> open;
  std::error_code error;
  const std::string folder = fmt::format("{}/{}/fd", host.proc(), process.pid);
  for (std::filesystem::directory_iterator i(folder, error), end; !error && i != end;
       i.increment(error)) {
    std::uint64_t number = 0;
    if (!absl::SimpleAtoi(i->path().filename().string(), &number)) continue;
    // proc(5) does not promise it, but the kernel lists them in order.
    if (number >= below) break;
    open.insert(number);
  }
  if (!error) return open;
  if (error.value() == ENOENT || error.value() == ESRCH) {
    return absl::NotFoundError(NameOf(process) + " ended meanwhile");
  }
  return absl::ErrnoToStatus(error.value(), "read " + folder);
}

// A new descriptor gets the lowest free number, and must be below the limit: the limit that leaves
// so many free numbers.
rlim_t LimitThatLeaves(const std::set<rlim_t>& open, std::uint64_t leave) {
  rlim_t number = 0;
  for (std::uint64_t free = 0;; ++number) {
    if (open.contains(number)) continue;
    if (free == leave) return number;
    ++free;
  }
}

std::uint64_t FreeBelow(const std::set<rlim_t>& open, rlim_t limit) {
  return limit - std::min<rlim_t>(limit, open.size());
}

std::map<std::string, std::string> ToValues(const std::vector<FormerLimit>& formers) {
  std::map<std::string, std::string> values = {{"count", std::to_string(formers.size())}};
  for (std::size_t i = 0; i < formers.size(); ++i) {
    const FormerLimit& former = formers[i];
    const std::string number = std::to_string(i) + ".";
    values[number + "pid"] = std::to_string(former.pid);
    values[number + "start_time"] = std::to_string(former.start_time);
    values[number + "since"] = std::to_string(former.since);
    values[number + "before"] = std::to_string(former.before);
    values[number + "ours"] = std::to_string(former.ours);
    values[number + "hard"] = std::to_string(former.hard);
    values[number + "cgroups"] = former.cgroups;
  }
  return values;
}

absl::StatusOr<std::vector<FormerLimit>> FromValues(
    const std::map<std::string, std::string>& values) {
  const auto number = [&](const std::string& key, auto* out) {
    const auto found = values.find(key);
    return found != values.end() && absl::SimpleAtoi(found->second, out);
  };
  const absl::Status damaged =
      absl::DataLossError("the record names no processes and their limits");
  std::size_t count = 0;
  if (!number("count", &count)) return damaged;
  std::vector<FormerLimit> formers;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string key = std::to_string(i) + ".";
    FormerLimit former;
    const auto cgroups = values.find(key + "cgroups");
    if (!number(key + "pid", &former.pid) || !number(key + "start_time", &former.start_time) ||
        !number(key + "since", &former.since) || !number(key + "before", &former.before) ||
        !number(key + "ours", &former.ours) || !number(key + "hard", &former.hard) ||
        cgroups == values.end()) {
      return damaged;
    }
    former.cgroups = cgroups->second;
    formers.push_back(std::move(former));
  }
  return formers;
}

// A limit is inherited: also of the processes that the limited one has started meanwhile. Those
// whose parents have ended are known by their cgroup, if it is not one that everything is in.
absl::Status GiveBack(const Host& host, const std::vector<FormerLimit>& formers) {
  if (formers.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<Process> processes, ListProcesses(host));
  std::map<int, const FormerLimit*> by_pid;
  std::uint64_t earliest = formers.front().since;
  for (const FormerLimit& former : formers) {
    by_pid[former.pid] = &former;
    earliest = std::min(earliest, former.since);
  }
  std::map<int, int> parents;
  std::set<int> living;  // of the limited ones
  for (const Process& process : processes) {
    parents[process.pid] = process.parent;
    const auto limited = by_pid.find(process.pid);
    if (limited != by_pid.end() && limited->second->start_time == process.start_time) {
      living.insert(process.pid);
    }
  }
  const auto descends = [&](int pid, const FormerLimit& former) {
    while (pid > 1 && pid != former.pid) pid = parents.contains(pid) ? parents.at(pid) : 0;
    return pid == former.pid && living.contains(pid);
  };
  const auto inherited = [&](const Process& process, const rlimit& limit) -> const FormerLimit* {
    std::string cgroups;
    for (const FormerLimit& former : formers) {
      if (process.start_time < former.since || limit.rlim_cur != former.ours ||
          limit.rlim_max != former.hard) {
        continue;
      }
      if (descends(process.pid, former)) return &former;
      if (former.cgroups.find_first_not_of("/ ") == std::string::npos) continue;
      if (cgroups.empty()) cgroups = CgroupsOf(host, process.pid);
      if (cgroups == former.cgroups) return &former;
    }
    return nullptr;
  };
  absl::Status result = absl::OkStatus();
  for (const Process& process : processes) {
    if (process.state == 'Z' || process.kernel_thread) continue;
    if (living.contains(process.pid)) {
      result.Update(Restore(process, *by_pid.at(process.pid)));
    } else if (process.start_time >= earliest) {
      const auto limit = ReadDescriptorLimit(process);
      if (!limit.ok()) continue;
      if (const FormerLimit* former = inherited(process, *limit)) {
        result.Update(Restore(process, *former));
      }
    }
  }
  return result;
}

}  // namespace firedrill::agent
