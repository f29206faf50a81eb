// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/owner.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <sstream>
#include <string>

namespace firedrill::agent {
namespace {

std::uint64_t Inode(const char* path) {
  struct stat info {};
  return stat(path, &info) == 0 ? info.st_ino : 0;
}

struct ProcessState {
  char state = ' ';
  std::uint64_t start_ticks = 0;
};

std::optional<ProcessState> ReadProcess(std::uint32_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  // The command's name, in parentheses, may contain anything: proc(5).
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 1));
  ProcessState process;
  fields >> process.state;
  constexpr int kFieldsBeforeStart = 18;  // ppid (4) to itrealvalue (21)
  std::string skipped;
  for (int field = 0; field < kFieldsBeforeStart; ++field) fields >> skipped;
  fields >> process.start_ticks;
  return fields ? std::optional(process) : std::nullopt;
}

}  // namespace

std::uint64_t HashInjection(std::string_view id) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char character : id) {
    hash ^= static_cast<unsigned char>(character);
    hash *= 0x100000001b3;
  }
  return hash == 0 ? 1 : hash;
}

void WriteOwner(fd_control& control) {
  control.net_namespace = Inode("/proc/thread-self/ns/net");
  control.pid_namespace = Inode("/proc/thread-self/ns/pid");
  control.owner_pid = static_cast<__u32>(getpid());
  const std::optional<ProcessState> self = ReadProcess(control.owner_pid);
  control.owner_start_ticks = self ? self->start_ticks : 0;
}

bool IsFromHere(const fd_control& control) {
  return control.net_namespace == Inode("/proc/thread-self/ns/net") &&
         control.pid_namespace == Inode("/proc/thread-self/ns/pid");
}

bool OwnerLives(const fd_control& control) {
  const std::optional<ProcessState> process = ReadProcess(control.owner_pid);
  return process && process->start_ticks == control.owner_start_ticks && process->state != 'Z' &&
         process->state != 'X';
}

}  // namespace firedrill::agent
