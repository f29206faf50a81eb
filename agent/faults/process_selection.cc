// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/process_selection.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <re2/re2.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr std::size_t kMostNamed = 5;                 // untouchable processes that an error names
constexpr absl::string_view kDeleted = " (deleted)";  // proc(5), exe

std::string Describe(const v1::ProcessSelector& selector) {
  std::vector<std::string> parts;
  if (!selector.name().empty()) parts.push_back(fmt::format("name '{}'", selector.name()));
  if (!selector.command_line().empty()) {
    parts.push_back(fmt::format("command line like '{}'", selector.command_line()));
  }
  if (selector.pid() != 0) parts.push_back(fmt::format("pid {}", selector.pid()));
  if (selector.listening_port() != 0) {
    parts.push_back(fmt::format("listening port {}", selector.listening_port()));
  }
  if (!selector.cgroup().empty()) parts.push_back(fmt::format("cgroup {}", selector.cgroup()));
  if (!selector.systemd_unit().empty()) {
    parts.push_back(fmt::format("systemd unit {}", selector.systemd_unit()));
  }
  return fmt::format("{}", fmt::join(parts, " and "));
}

// The file that a process runs, also if it was replaced on disk since; empty if it is not to be
// seen.
std::string ProgramOf(const Host& host, int pid) {
  std::error_code error;
  std::string program =
      std::filesystem::read_symlink(fmt::format("{}/{}/exe", host.proc(), pid), error).string();
  if (absl::EndsWith(program, kDeleted)) program.resize(program.size() - kDeleted.size());
  return program;
}

// A worker that the agent has started just now, of which this process has not been told yet.
bool IsNewWorker(const Host& host, const Process& process, const std::set<int>& spared) {
  if (!spared.contains(process.parent)) return false;
  const std::string ours = ProgramOf(host, getpid());
  return !ours.empty() && ProgramOf(host, process.pid) == ours;
}

bool IsEmpty(const v1::ProcessSelector& selector) { return Describe(selector).empty(); }

}  // namespace

ProcessMatcher::ProcessMatcher(const Host& host, const v1::ProcessSelector& selector)
    : host_(&host), selector_(&selector) {
  if (selector.listening_port() != 0) {
    sockets_ =
        std::make_unique<ListeningSockets>(host, static_cast<int>(selector.listening_port()));
  }
  if (!selector.command_line().empty()) {
    RE2::Options options;
    options.set_log_errors(false);
    regex_ = std::make_unique<RE2>(selector.command_line(), options);
  }
}
ProcessMatcher::ProcessMatcher(ProcessMatcher&&) noexcept = default;
ProcessMatcher::~ProcessMatcher() = default;

absl::StatusOr<ProcessMatcher> ProcessMatcher::Make(const Host& host,
                                                    const v1::ProcessSelector& selector) {
  ProcessMatcher matcher(host, selector);
  if (matcher.regex_ && !matcher.regex_->ok()) {
    return absl::InvalidArgumentError("command_line: " + matcher.regex_->error());
  }
  return matcher;
}

// Cheap questions first: sockets and cgroups are read only of processes that passed the others.
bool ProcessMatcher::Matches(int pid) {
  if (selector_->pid() != 0 && pid != static_cast<int>(selector_->pid())) return false;
  if (!selector_->name().empty() && ReadName(*host_, pid) != selector_->name()) return false;
  if (regex_ && !RE2::PartialMatch(ReadCommandLine(*host_, pid), *regex_)) return false;
  if (!selector_->cgroup().empty() || !selector_->systemd_unit().empty()) {
    const auto cgroups = ReadCgroups(*host_, pid);
    if (!cgroups.ok()) return false;
    if (!selector_->cgroup().empty() && !InCgroup(*cgroups, selector_->cgroup())) return false;
    if (!selector_->systemd_unit().empty() && !InSystemdUnit(*cgroups, selector_->systemd_unit())) {
      return false;
    }
  }
  return !sockets_ || sockets_->HeldBy(pid);
}

std::set<int> WithAncestors(const Host& host, const std::set<int>& spared) {
  std::set<int> all = {1};
  for (int pid : spared) {
    while (pid > 0 && all.insert(pid).second) {
      const auto process = ReadProcess(host, pid);
      pid = process.ok() ? process->parent : 0;
    }
  }
  return all;
}

absl::StatusOr<std::vector<Process>> SelectProcesses(const Host& host,
                                                     const v1::ProcessSelector& selector,
                                                     const std::set<int>& spared,
                                                     const v1::ProcessSelector& exclude) {
  const std::string what = Describe(selector);
  if (what.empty()) return absl::InvalidArgumentError("processes: say which ones");
  ASSIGN_OR_RETURN(ProcessMatcher matcher, ProcessMatcher::Make(host, selector));
  std::unique_ptr<ProcessMatcher> excluded;
  if (!IsEmpty(exclude)) {
    ASSIGN_OR_RETURN(ProcessMatcher made, ProcessMatcher::Make(host, exclude));
    excluded = std::make_unique<ProcessMatcher>(std::move(made));
  }
  std::vector<int> pids = {static_cast<int>(selector.pid())};
  if (selector.pid() == 0) {
    ASSIGN_OR_RETURN(pids, ListPids(host));
  }
  std::set<int> untouchable;
  std::vector<Process> found;
  std::vector<std::string> refused;
  bool left_out = false;
  for (const int pid : pids) {
    if (!matcher.Matches(pid)) continue;
    const auto process = ReadProcess(host, pid);
    if (!process.ok() || process->state == 'Z' || process->state == 'X') continue;
    if (untouchable.empty()) untouchable = WithAncestors(host, spared);
    if (process->kernel_thread || untouchable.contains(pid) ||
        IsNewWorker(host, *process, spared)) {
      if (refused.size() < kMostNamed) {
        refused.push_back(fmt::format("{} (pid {})", process->name, pid));
      }
      continue;
    }
    if (excluded && excluded->Matches(pid)) {
      left_out = true;
      continue;
    }
    found.push_back(*process);
  }
  if (!found.empty()) return found;
  if (left_out) {
    return absl::NotFoundError(
        fmt::format("every process with {} is excluded ({})", what, Describe(exclude)));
  }
  if (refused.empty()) return absl::NotFoundError(fmt::format("no process with {}", what));
  return absl::NotFoundError(fmt::format(
      "the only processes with {} are never touched: {}; pid 1, kernel threads, the agent, its "
      "workers and its ancestors are spared",
      what, fmt::join(refused, ", ")));
}

std::vector<Process> Pick(std::vector<Process> processes, const v1::Amount& amount,
                          std::mt19937_64& random, v1::Pick order) {
  std::size_t count = 1;
  switch (amount.amount_case()) {
    case v1::Amount::kCount:
      count = amount.count();
      break;
    case v1::Amount::kPercent:
      count = static_cast<std::size_t>(
          std::ceil(static_cast<double>(processes.size()) * amount.percent() / 100));
      break;
    case v1::Amount::kAll:
      count = processes.size();
      break;
    case v1::Amount::AMOUNT_NOT_SET:
      break;
  }
  const auto older = [](const Process& a, const Process& b) {
    return std::pair(a.start_time, a.pid) < std::pair(b.start_time, b.pid);
  };
  if (order == v1::PICK_OLDEST) {
    std::sort(processes.begin(), processes.end(), older);
  } else if (order == v1::PICK_NEWEST) {
    std::sort(processes.rbegin(), processes.rend(), older);
  } else {
    std::shuffle(processes.begin(), processes.end(), random);
  }
  if (processes.size() > count) processes.resize(count);
  return processes;
}

}  // namespace firedrill::agent
