// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/marks.h"

#include <fmt/format.h>
#include <pthread.h>

#include <cstdint>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "agent/host/host.h"
#include "agent/host/processes.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

bool IsMark(const std::string& name) {
  constexpr std::size_t kHash = 8;
  const std::size_t dash = name.rfind('-');
  return absl::StartsWith(name, "fd") && dash != std::string::npos &&
         name.size() - dash - 1 == kHash &&
         name.find_first_not_of("0123456789abcdef", dash + 1) == std::string::npos;
}

}  // namespace

std::string MarkOf(const std::string& kind, const std::string& injection_id) {
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : injection_id) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return fmt::format("{}-{:08x}", kind, hash);
}

void MarkThread(const std::string& mark) { pthread_setname_np(pthread_self(), mark.c_str()); }

absl::Status VerifyNoMark(const Host& host, const std::string& mark) {
  ASSIGN_OR_RETURN(const std::vector<Process> processes, ListProcesses(host));
  for (const Process& process : processes) {
    // A process whose main thread has ended shows no command line, though other threads may run on.
    if (process.kernel_thread ||
        (!process.command_line.empty() && !absl::StrContains(process.command_line, "worker"))) {
      continue;
    }
    const std::string tasks = fmt::format("{}/{}/task", host.proc(), process.pid);
    std::error_code error;
    for (const auto& task : std::filesystem::directory_iterator(tasks, error)) {
      const auto comm = Host::Read(task.path() / "comm", 64);
      if (!comm.ok()) continue;
      if (absl::StartsWith(*comm, mark)) {
        return absl::FailedPreconditionError(
            fmt::format("process {} still has a thread {}", process.pid, mark));
      }
      // Workers of faults with marks hold one injection each: this one is another's, with perhaps
      // thousands of threads.
      if (IsMark(std::string(absl::StripAsciiWhitespace(*comm)))) break;
    }
  }
  return absl::OkStatus();
}

}  // namespace firedrill::agent
