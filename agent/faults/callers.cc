// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/callers.h"

#include <fmt/format.h>

#include <charconv>
#include <string>
#include <utility>

#include "agent/faults/process_selection.h"
#include "agent/host/host.h"
#include "agent/host/processes.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr int kMostAncestors = 64;

// The number after `name` in /proc/PID/status; 0 if there is none.
int StatusNumber(const std::string& text, const char* name) {
  const std::size_t at = text.find(name);
  if (at == std::string::npos) return 0;
  std::size_t from = at + std::char_traits<char>::length(name);
  while (from < text.size() && (text[from] == '\t' || text[from] == ' ')) ++from;
  int number = 0;
  std::from_chars(text.data() + from, text.data() + text.size(), number);
  return number;
}

}  // namespace

Callers::Callers(const Host& host, std::optional<v1::ProcessSelector> selector,
                 const Protected& protect)
    : host_(host),
      selector_(std::move(selector)),
      family_(protect.family_pids.begin(), protect.family_pids.end()) {}

absl::Status Callers::Refresh() {
  if (!selector_) return absl::OkStatus();
  const auto found = SelectProcesses(host_, *selector_, family());
  // What could not be looked at may be as it was.
  if (!found.ok() && !absl::IsNotFound(found.status())) return found.status();
  absl::MutexLock lock(&mutex_);
  chosen_.clear();
  if (!found.ok()) return found.status();
  for (const Process& process : *found) chosen_.insert(process.pid);
  return absl::OkStatus();
}

void Callers::Protect(const Protected& protect) {
  absl::MutexLock lock(&mutex_);
  family_ = std::set<int>(protect.family_pids.begin(), protect.family_pids.end());
}

bool Callers::Include(int tid) const {
  const std::set<int> chosen = this->chosen();
  const std::set<int> family = this->family();
  bool found = !selector_.has_value();
  int pid = tid;
  for (int i = 0; i < kMostAncestors && pid > 0; ++i) {
    // Of a thread, too: its process and that process' parent.
    const auto status = Host::Read(fmt::format("{}/{}/status", host_.proc(), pid), 1024);
    if (!status.ok()) return i > 0 && found;  // an ancestor is gone, or is not to be seen
    const int process = StatusNumber(*status, "\nTgid:");
    if (family.contains(process)) return false;
    if (i == 0 && (process == 1 || process == 2)) return false;
    pid = StatusNumber(*status, "\nPPid:");
    if (pid == 2) return false;  // kthreadd's: a kernel thread
    found = found || chosen.contains(process);
  }
  return found;
}

std::set<int> Callers::chosen() const {
  absl::MutexLock lock(&mutex_);
  return chosen_;
}

std::set<int> Callers::family() const {
  absl::MutexLock lock(&mutex_);
  return family_;
}

}  // namespace firedrill::agent
