// SPDX-License-Identifier: Apache-2.0
#include "agent/supervisor/workers.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "agent/worker/channel.h"
#include "agent/worker/leash.h"
#include "agent/worker/worker.pb.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr Nanoseconds kLeashEvery = kHostLease / 4;
// With no worker nothing is due but to forget old injections.
constexpr Nanoseconds kLongestSleep = std::chrono::seconds(10);
// A new process may be slow to begin on a busy host. Before its first word it has done nothing, or
// the kernel's leash is on it.
constexpr Nanoseconds kToStart = std::chrono::seconds(10);
// While a process is on its way out its end is looked for this often.
constexpr Nanoseconds kLookForExit = std::chrono::milliseconds(5);

}  // namespace

absl::StatusOr<int> Workers::Acquire(bool traffic) {
  if (traffic) {
    for (const auto& [pid, entry] : workers_) {
      if (entry.traffic && !entry.leaving && !entry.closed && !entry.hung) return pid;
    }
  }
  ASSIGN_OR_RETURN(std::unique_ptr<WorkerProcess> process, spawner_.Spawn());
  const int pid = process->pid();
  Entry& entry = workers_[pid];
  entry.process = std::move(process);
  entry.heard_at = clock_.Steady();
  entry.traffic = traffic;
  for (auto& [other, e] : workers_) e.stale = true;
  return pid;
}

absl::Status Workers::Send(int pid, const wire::ToWorker& message) {
  const auto found = workers_.find(pid);
  if (found == workers_.end()) return absl::NotFoundError("the worker is gone");
  return found->second.process->Send(message);
}

void Workers::Dismiss(int pid) {
  const auto found = workers_.find(pid);
  if (found == workers_.end() || found->second.leaving) return;
  found->second.leaving = true;
  wire::ToWorker leave;
  leave.mutable_leave();
  if (!found->second.process->Send(leave).ok()) found->second.process->Kill();
}

void Workers::Kill(int pid) {
  if (const auto found = workers_.find(pid); found != workers_.end()) {
    found->second.process->Kill();
  }
}

void Workers::KillAll() {
  for (auto& [pid, entry] : workers_) entry.process->Kill();
}

std::vector<Workers::GoneWorker> Workers::Poll(const OnMessage& on_message) {
  const SteadyTime now = clock_.Steady();
  std::vector<GoneWorker> gone;
  std::vector<int> pids;
  for (const auto& [pid, entry] : workers_) pids.push_back(pid);
  for (const int pid : pids) {
    // on_message may add workers, never remove one.
    Entry& entry = workers_.at(pid);
    while (!entry.closed) {
      wire::FromWorker message;
      const auto got = entry.process->Receive(message);
      if (!got.ok()) entry.closed = true;
      if (!got.ok() || !*got) break;
      entry.heard_at = now;
      entry.heard = true;
      on_message(pid, message);
    }
    // Silent, or without a socket and yet alive: either way it has lost its leash.
    const Nanoseconds patience = entry.heard ? kHostLease : kToStart;
    if (!entry.hung && now - entry.heard_at > patience) {
      entry.hung = true;
      spdlog::warn("worker pid={} is silent; killing it", pid);
      entry.process->Kill();
    }
    if (entry.process->Gone()) {
      gone.push_back({pid, entry.hung, entry.process->HowItEnded()});
      continue;
    }
    RenewLeash(entry, now);
  }
  for (const GoneWorker& worker : gone) workers_.erase(worker.pid);
  if (!gone.empty()) {
    for (auto& [pid, entry] : workers_) entry.stale = true;
  }
  return gone;
}

void Workers::RenewLeashes() {
  const SteadyTime now = clock_.Steady();
  for (auto& [pid, entry] : workers_) RenewLeash(entry, now);
}

void Workers::RenewLeash(Entry& entry, SteadyTime now) {
  if (entry.closed || entry.leaving) return;
  if (!entry.stale && entry.leashed_at && now - *entry.leashed_at < kLeashEvery) return;
  wire::ToWorker message;
  message.mutable_leash()->set_sequence(++sequence_);
  if (entry.stale) *message.mutable_leash()->mutable_protect() = ToWire(protect());
  // A worker that does not read falls silent, too; one that is closed is found gone.
  if (entry.process->Send(message).ok()) entry.stale = false;
  entry.leashed_at = now;
}

void Workers::SetEndpoints(std::vector<Protected::Endpoint> endpoints) {
  endpoints_ = std::move(endpoints);
  for (auto& [pid, entry] : workers_) entry.stale = true;
}

Protected Workers::protect() const {
  Protected protect;
  protect.endpoints = endpoints_;
  protect.family_pids.push_back(getpid());
  for (const auto& [pid, entry] : workers_) protect.family_pids.push_back(pid);
  return protect;
}

std::vector<int> Workers::fds() const {
  std::vector<int> fds;
  for (const auto& [pid, entry] : workers_) {
    if (!entry.closed) fds.push_back(entry.process->fd());
  }
  return fds;
}

SteadyTime Workers::NextWake() const {
  const SteadyTime now = clock_.Steady();
  SteadyTime wake = now + kLongestSleep;
  for (const auto& [pid, entry] : workers_) {
    if (entry.leaving || entry.closed || entry.hung) {
      wake = std::min(wake, now + kLookForExit);
    } else if (entry.stale || !entry.leashed_at) {
      wake = now;
    } else {
      wake = std::min(wake, *entry.leashed_at + kLeashEvery);
    }
  }
  return wake;
}

}  // namespace firedrill::agent
