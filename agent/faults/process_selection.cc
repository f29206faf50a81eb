// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/process_selection.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "agent/host/host.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr std::size_t kMostNamed = 5;  // untouchable processes that an error names

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

// `spared` and everything above them.
std::set<int> WithAncestors(const std::vector<Process>& processes, const std::set<int>& spared) {
  std::map<int, int> parents;
  for (const Process& process : processes) parents[process.pid] = process.parent;
  std::set<int> all = {1};
  for (int pid : spared) {
    while (pid > 0 && all.insert(pid).second) {
      const auto found = parents.find(pid);
      pid = found == parents.end() ? 0 : found->second;
    }
  }
  return all;
}

class Matcher {
 public:
  Matcher(const Host& host, const v1::ProcessSelector& selector)
      : host_(host),
        selector_(selector),
        sockets_(host, static_cast<int>(selector.listening_port())) {
    if (!selector.command_line().empty()) {
      RE2::Options options;
      options.set_log_errors(false);
      regex_ = std::make_unique<RE2>(selector.command_line(), options);
    }
  }

  absl::Status Check() const {
    if (!regex_ || regex_->ok()) return absl::OkStatus();
    return absl::InvalidArgumentError("command_line: " + regex_->error());
  }

  // Cheap questions first: sockets and cgroups are read only of processes that passed the others.
  bool Matches(const Process& process) {
    if (!selector_.name().empty() && process.name != selector_.name()) return false;
    if (selector_.pid() != 0 && process.pid != static_cast<int>(selector_.pid())) return false;
    if (regex_ && !RE2::PartialMatch(process.command_line, *regex_)) return false;
    if (!selector_.cgroup().empty() || !selector_.systemd_unit().empty()) {
      const auto cgroups = ReadCgroups(host_, process.pid);
      if (!cgroups.ok()) return false;
      if (!selector_.cgroup().empty() && !InCgroup(*cgroups, selector_.cgroup())) return false;
      if (!selector_.systemd_unit().empty() && !InSystemdUnit(*cgroups, selector_.systemd_unit())) {
        return false;
      }
    }
    return selector_.listening_port() == 0 || sockets_.HeldBy(process.pid);
  }

 private:
  const Host& host_;
  const v1::ProcessSelector& selector_;
  ListeningSockets sockets_;
  std::unique_ptr<RE2> regex_;
};

}  // namespace

absl::StatusOr<std::vector<Process>> SelectProcesses(const Host& host,
                                                     const v1::ProcessSelector& selector,
                                                     const std::set<int>& spared) {
  const std::string what = Describe(selector);
  if (what.empty()) return absl::InvalidArgumentError("processes: say which ones");
  Matcher matcher(host, selector);
  RETURN_IF_ERROR(matcher.Check());
  ASSIGN_OR_RETURN(const std::vector<Process> all, ListProcesses(host));
  const std::set<int> untouchable = WithAncestors(all, spared);
  std::vector<Process> found;
  std::vector<std::string> refused;
  for (const Process& process : all) {
    if (process.state == 'Z' || !matcher.Matches(process)) continue;
    if (process.kernel_thread || untouchable.contains(process.pid)) {
      if (refused.size() < kMostNamed) {
        refused.push_back(fmt::format("{} (pid {})", process.name, process.pid));
      }
      continue;
    }
    found.push_back(process);
  }
  if (!found.empty()) return found;
  if (refused.empty()) return absl::NotFoundError(fmt::format("no process with {}", what));
  return absl::NotFoundError(fmt::format(
      "the only processes with {} are never touched: {}; pid 1, kernel threads, the agent, its "
      "workers and its ancestors are spared",
      what, fmt::join(refused, ", ")));
}

std::vector<Process> Pick(std::vector<Process> processes, const v1::Amount& amount,
                          std::mt19937_64& random) {
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
  std::shuffle(processes.begin(), processes.end(), random);
  if (processes.size() > count) processes.resize(count);
  return processes;
}

}  // namespace firedrill::agent
