// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/comebacks.h"

#include <algorithm>

#include "agent/faults/process_selection.h"
#include "agent/host/host.h"
#include "agent/host/task_events.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMostCandidates = 1024;
constexpr Nanoseconds kForExec = milliseconds(1);  // between a fork's match and its report
constexpr Nanoseconds kFirstLook = milliseconds(2);
constexpr Nanoseconds kRarestLook = milliseconds(500);

}  // namespace

absl::Status Comebacks::Begin(const std::set<int>& spared) {
  candidates_.clear();
  known_.clear();
  scanned_at_ = host_.clock().Steady();
  const auto found = SelectProcesses(host_, selector_, spared, exclude_);
  if (absl::IsNotFound(found.status())) return absl::OkStatus();
  RETURN_IF_ERROR(found.status());
  for (const Process& process : *found) Know(process);
  return absl::OkStatus();
}

void Comebacks::Saw(const TaskEvent& event) {
  if (event.kind == TaskEvent::Kind::kExit) return;
  const bool executed = event.kind == TaskEvent::Kind::kExec;
  Candidate& candidate = candidates_[event.pid];
  const bool matched = executed && candidate.matched;
  candidate = {event.at, executed, matched, 0, event.at};
  if (candidates_.size() <= kMostCandidates) return;
  candidates_.erase(
      std::min_element(candidates_.begin(), candidates_.end(),
                       [](const auto& a, const auto& b) { return a.second.at < b.second.at; }));
}

std::vector<Comeback> Comebacks::Look(const std::set<int>& spared) {
  std::vector<Comeback> found;
  const SteadyTime now = host_.clock().Steady();
  const bool due = std::any_of(candidates_.begin(), candidates_.end(),
                               [&](const auto& c) { return c.second.next <= now; });
  if (!due) return found;
  // Anew for each look: a matcher reads sockets only once.
  auto matcher = ProcessMatcher::Make(host_, selector_);
  if (!matcher.ok()) return found;
  for (auto i = candidates_.begin(); i != candidates_.end();) {
    auto& [pid, candidate] = *i;
    if (candidate.next > now) {
      ++i;
      continue;
    }
    const auto process = ReadProcess(host_, pid);
    if (!process.ok() || process->state == 'Z' || process->state == 'X' ||
        known_.contains({pid, process->start_time})) {
      i = candidates_.erase(i);
      continue;
    }
    if (!matcher->Matches(pid)) {
      candidate.matched = false;
      candidate.next =
          now +
          std::min(kRarestLook, Nanoseconds(kFirstLook * (1 << std::min(candidate.looks, 8))));
      ++candidate.looks;
      ++i;
      continue;
    }
    // After a fork it may match because of an exec whose event has not been read yet.
    if (!candidate.executed && !candidate.matched && candidate.looks == 0) {
      candidate.matched = true;
      candidate.next = now + kForExec;
      ++i;
      continue;
    }
    // All that may not be touched, excluded ones among it, is asked in one place.
    v1::ProcessSelector alone = selector_;
    alone.set_pid(static_cast<std::uint32_t>(pid));
    if (SelectProcesses(host_, alone, spared, exclude_).ok() && Know(*process)) {
      found.push_back({*process, candidate.at, candidate.executed, /*from_kernel=*/true, {}});
    }
    i = candidates_.erase(i);
  }
  return found;
}

std::vector<Comeback> Comebacks::Scan(const std::set<int>& spared) {
  std::vector<Comeback> comebacks;
  const auto found = SelectProcesses(host_, selector_, spared, exclude_);
  const SteadyTime now = host_.clock().Steady();
  if (found.ok()) {
    for (const Process& process : *found) {
      if (Know(process)) comebacks.push_back({process, now, false, false, now - scanned_at_});
    }
  }
  scanned_at_ = now;
  return comebacks;
}

std::optional<SteadyTime> Comebacks::NextLook() const {
  std::optional<SteadyTime> next;
  for (const auto& [pid, candidate] : candidates_) {
    if (!next || candidate.next < *next) next = candidate.next;
  }
  return next;
}

}  // namespace firedrill::agent
