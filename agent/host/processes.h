// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/host/descriptor.h"

namespace firedrill::agent {

class Host;

/// A process as /proc shows it at one instant. Pid and start time together name it for good.
struct Process {
  int pid = 0;
  int parent = 0;
  std::uint64_t start_time = 0;  ///< Clock ticks after boot.
  char state = '?';              ///< As in /proc/PID/stat: R, S, Z, …
  bool kernel_thread = false;
  std::string name;          ///< /proc/PID/comm, at most 15 bytes.
  std::string command_line;  ///< Arguments joined by blanks; empty for kernel threads.
};

/// NOT_FOUND if there is no such process (any more).
absl::StatusOr<Process> ReadProcess(const Host& host, int pid);

/// The numbers of the processes that this pid namespace shows, ascending.
/// FAILED_PRECONDITION if there are none.
absl::StatusOr<std::vector<int>> ListPids(const Host& host);

/// The short name alone, in full as the program set it, and the command line alone: for who asks
/// all processes. Empty if there is no such process (any more), or it has none.
std::string ReadName(const Host& host, int pid);
std::string ReadCommandLine(const Host& host, int pid);

/// Every process that this pid namespace shows, by pid. Those that vanish meanwhile are left out.
absl::StatusOr<std::vector<Process>> ListProcesses(const Host& host);

/// The process's cgroups, of every hierarchy, as paths from its root. NOT_FOUND as ReadProcess.
absl::StatusOr<std::vector<std::string>> ReadCgroups(const Host& host, int pid);

/// True if one of `cgroups` is `path` or below it.
bool InCgroup(const std::vector<std::string>& cgroups, const std::string& path);

/// True if one of `cgroups` lies in systemd unit `unit`; a name without a dot is a service's.
bool InSystemdUnit(const std::vector<std::string>& cgroups, const std::string& unit);

/// Whether the process holds a listening TCP socket or a bound UDP socket on `port`, in its own
/// network namespace. Processes share what was read for their namespace: make one for each scan.
/// Not thread-safe.
class ListeningSockets {
 public:
  ListeningSockets(const Host& host, int port) : host_(host), port_(port) {}
  bool HeldBy(int pid);

 private:
  const std::set<std::string>& Inodes(int pid);

  const Host& host_;
  const int port_;
  std::vector<std::pair<std::string, std::set<std::string>>> by_namespace_;
};

/// A process held by a descriptor: signals reach it or nobody, whatever becomes of its pid.
/// Not thread-safe.
class ProcessHandle {
 public:
  /// NOT_FOUND if `process` is no more, also if its pid belongs to another one by now.
  static absl::StatusOr<ProcessHandle> Open(const Host& host, const Process& process);

  const Process& process() const { return process_; }
  /// Readable once the process has ended.
  int fd() const { return fd_.get(); }
  /// NOT_FOUND if it has ended.
  absl::Status Signal(int signal) const;
  bool Ended() const;

 private:
  ProcessHandle(Process process, Descriptor fd);

  Process process_;
  Descriptor fd_;
};

}  // namespace firedrill::agent
