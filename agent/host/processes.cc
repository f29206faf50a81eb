// SPDX-License-Identifier: Apache-2.0
#include "agent/host/processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr std::uint32_t kKernelThread = 0x00200000;  // PF_KTHREAD, linux/sched.h

std::string Folder(const Host& host, int pid) { return fmt::format("{}/{}", host.proc(), pid); }

// A file's first bytes by a single read, for files that the kernel gives in one piece; 0 if it
// cannot be read. Every process of the host is asked in this way, just before a kill.
std::size_t ReadOnce(const std::string& path, char* block, std::size_t size) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const ssize_t got = file.valid() ? read(file.get(), block, size) : 0;
  return got > 0 ? static_cast<std::size_t>(got) : 0;
}

// Names of a folder's entries; empty if it cannot be read.
std::vector<std::string> Names(const std::string& folder) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(folder.c_str()), &closedir);
  if (!dir) return names;
  while (const dirent* entry = readdir(dir.get())) names.emplace_back(entry->d_name);
  return names;
}

}  // namespace

absl::StatusOr<Process> ReadProcess(const Host& host, int pid) {
  const std::string folder = Folder(host, pid);
  const auto stat = Host::Read(folder + "/stat", 4096);
  if (!stat.ok()) return absl::NotFoundError(fmt::format("no process has pid {}", pid));
  // "pid (name) S parent …": the name may hold blanks and parentheses, so look for the last one.
  const std::size_t open = stat->find('('), close = stat->rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) {
    return absl::DataLossError(folder + "/stat is not as proc(5) says");
  }
  const std::vector<absl::string_view> fields =
      absl::StrSplit(absl::string_view(*stat).substr(close + 1), ' ', absl::SkipEmpty());
  Process process;
  process.pid = pid;
  process.name = stat->substr(open + 1, close - open - 1);
  std::uint32_t flags = 0;
  // Fields 3, 4, 9 and 22 of proc(5); here the first is number 3.
  if (fields.size() < 20 || !absl::SimpleAtoi(fields[1], &process.parent) ||
      !absl::SimpleAtoi(fields[6], &flags) || !absl::SimpleAtoi(fields[19], &process.start_time)) {
    return absl::DataLossError(folder + "/stat is not as proc(5) says");
  }
  process.state = fields[0].front();
  process.kernel_thread = (flags & kKernelThread) != 0;
  process.command_line = ReadCommandLine(host, pid);
  return process;
}

absl::StatusOr<std::vector<int>> ListPids(const Host& host) {
  std::vector<int> pids;
  for (const std::string& name : Names(host.proc())) {
    int pid = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (parsed.ec == std::errc() && *parsed.ptr == '\0' && pid > 0) pids.push_back(pid);
  }
  if (pids.empty()) {
    return absl::FailedPreconditionError(host.proc() + " shows no processes; is it mounted?");
  }
  std::sort(pids.begin(), pids.end());
  return pids;
}

std::string ReadName(const Host& host, int pid) {
  char name[64];
  std::string text(name, ReadOnce(Folder(host, pid) + "/comm", name, sizeof name));
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::string ReadCommandLine(const Host& host, int pid) {
  const std::string file = Folder(host, pid) + "/cmdline";
  char block[4096];
  std::string words(block, ReadOnce(file, block, sizeof block));
  if (words.size() == sizeof block) words = Host::Read(file, 128 << 10).value_or("");
  while (!words.empty() && words.back() == '\0') words.pop_back();
  std::replace(words.begin(), words.end(), '\0', ' ');
  return words;
}

absl::StatusOr<std::vector<Process>> ListProcesses(const Host& host) {
  ASSIGN_OR_RETURN(const std::vector<int> pids, ListPids(host));
  std::vector<Process> processes;
  for (const int pid : pids) {
    if (auto process = ReadProcess(host, pid); process.ok()) {
      processes.push_back(*std::move(process));
    }
  }
  return processes;
}

absl::StatusOr<std::vector<std::string>> ReadCgroups(const Host& host, int pid) {
  ASSIGN_OR_RETURN(const std::string text, Host::Read(Folder(host, pid) + "/cgroup"));
  std::vector<std::string> paths;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    // hierarchy:controllers:path
    const std::vector<absl::string_view> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    // What is removed while somebody is still in it.
    if (parts.size() == 3) paths.emplace_back(absl::StripSuffix(parts[2], " (deleted)"));
  }
  return paths;
}

bool InCgroup(const std::vector<std::string>& cgroups, const std::string& path) {
  std::string wanted = path;
  // As it is mounted: /sys/fs/cgroup/PATH (v2), …/unified/PATH, …/CONTROLLER/PATH (v1).
  constexpr absl::string_view kMounted = "/sys/fs/cgroup/";
  const bool mounted = absl::StartsWith(wanted, kMounted);
  if (mounted) wanted.erase(0, kMounted.size() - 1);
  while (wanted.size() > 1 && wanted.back() == '/') wanted.pop_back();
  if (!absl::StartsWith(wanted, "/")) wanted = "/" + wanted;
  const auto holds = [&](const std::string& path) {
    return std::any_of(cgroups.begin(), cgroups.end(), [&](const std::string& cgroup) {
      return cgroup == path || path == "/" || absl::StartsWith(cgroup, path + "/");
    });
  };
  if (holds(wanted)) return true;
  const std::size_t below = mounted ? wanted.find('/', 1) : std::string::npos;
  return below != std::string::npos && holds(wanted.substr(below));
}

bool InSystemdUnit(const std::vector<std::string>& cgroups, const std::string& unit) {
  const std::string wanted = unit.find('.') == std::string::npos ? unit + ".service" : unit;
  return std::any_of(cgroups.begin(), cgroups.end(), [&](const std::string& cgroup) {
    return absl::StrContains(cgroup + "/", "/" + wanted + "/");
  });
}

const std::set<std::string>& ListeningSockets::Inodes(int pid) {
  const std::string folder = Folder(host_, pid);
  std::error_code error;
  const std::string ns = std::filesystem::read_symlink(folder + "/ns/net", error);
  for (const auto& [known, inodes] : by_namespace_) {
    if (known == ns) return inodes;
  }
  std::set<std::string> inodes;
  for (const char* table : {"tcp", "tcp6", "udp", "udp6"}) {
    const auto text = Host::Read(folder + "/net/" + table, 16 << 20);
    if (!text.ok()) continue;
    // TCP_LISTEN; a bound UDP socket is in TCP_CLOSE, a connected one in TCP_ESTABLISHED.
    const std::vector<absl::string_view> states = table[0] == 't'
                                                      ? std::vector<absl::string_view>{"0A"}
                                                      : std::vector<absl::string_view>{"07", "01"};
    for (const absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
      // "sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode …"
      const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
      if (fields.size() < 10) continue;
      const std::size_t colon = fields[1].rfind(':');
      std::uint32_t port = 0;
      if (colon == absl::string_view::npos ||
          !absl::SimpleHexAtoi(fields[1].substr(colon + 1), &port) ||
          static_cast<int>(port) != port_ ||
          std::find(states.begin(), states.end(), fields[3]) == states.end()) {
        continue;
      }
      inodes.insert(fmt::format("socket:[{}]", std::string(fields[9])));
    }
  }
  by_namespace_.emplace_back(ns, std::move(inodes));
  return by_namespace_.back().second;
}

bool ListeningSockets::HeldBy(int pid) {
  const std::set<std::string>& inodes = Inodes(pid);
  if (inodes.empty()) return false;
  const std::string folder = Folder(host_, pid) + "/fd";
  for (const std::string& name : Names(folder)) {
    std::error_code error;
    const std::string target = std::filesystem::read_symlink(folder + "/" + name, error);
    if (!error && inodes.contains(target)) return true;
  }
  return false;
}

ProcessHandle::ProcessHandle(Process process, Descriptor fd)
    : process_(std::move(process)), fd_(std::move(fd)) {}

absl::StatusOr<ProcessHandle> ProcessHandle::Open(const Host& host, const Process& process) {
  Descriptor fd(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
  if (!fd.valid() && errno == ESRCH) {
    return absl::NotFoundError(fmt::format("process {} ended meanwhile", process.pid));
  }
  if (!fd.valid()) return absl::ErrnoToStatus(errno, fmt::format("hold process {}", process.pid));
  // The descriptor holds whoever has the pid now: is that still the one that was meant?
  ASSIGN_OR_RETURN(const Process now, ReadProcess(host, process.pid));
  if (now.start_time != process.start_time) {
    return absl::NotFoundError(fmt::format("process {} ended meanwhile", process.pid));
  }
  return ProcessHandle(process, std::move(fd));
}

absl::Status ProcessHandle::Signal(int signal) const {
  if (syscall(SYS_pidfd_send_signal, fd_.get(), signal, nullptr, 0) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(
      errno, fmt::format("send signal {} to {} (pid {})", signal, process_.name, process_.pid));
}

bool ProcessHandle::Ended() const {
  pollfd fd{fd_.get(), POLLIN, 0};
  return poll(&fd, 1, 0) == 1 && fd.revents != 0;
}

}  // namespace firedrill::agent
