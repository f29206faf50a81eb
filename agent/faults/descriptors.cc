// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/descriptors.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "agent/faults/descriptor_limits.h"
#include "agent/faults/process_selection.h"
#include "agent/host/host.h"
#include "agent/host/processes.h"
#include "agent/journal/journal.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr Nanoseconds kLookEvery = std::chrono::milliseconds(100);
constexpr std::size_t kMostEvents = 100;

struct Limited {
  ProcessHandle handle;
  FormerLimit former;
  bool at_limit = false;
  bool exited = false;
};

std::map<std::string, std::string> ValuesOf(const FormerLimit& former, const Process& process,
                                            const std::string& injection) {
  std::map<std::string, std::string> values = ToValues(former);
  values["name"] = process.name;
  values[kInjectionOfRecord] = injection;
  return values;
}

// Lowers the limit of one process: recorded, set, read back.
absl::StatusOr<Limited> Limit(const Process& process, std::uint64_t leave,
                              const std::string& injection, WorkerContext& context) {
  ASSIGN_OR_RETURN(ProcessHandle handle, ProcessHandle::Open(context.host, process));
  ASSIGN_OR_RETURN(const rlimit before, ReadDescriptorLimit(process));
  RETURN_IF_ERROR(SetDescriptorLimit(process, before));  // changes nothing; asks whether it may
  ASSIGN_OR_RETURN(std::set<rlim_t> open, OpenBelow(context.host, process, before.rlim_cur));
  if (FreeBelow(open, before.rlim_cur) <= leave) {
    return absl::FailedPreconditionError(
        fmt::format("{} can open only {} further descriptors already (its limit is {})",
                    NameOf(process), FreeBelow(open, before.rlim_cur), before.rlim_cur));
  }
  FormerLimit former = Remember(context.host, process, before, LimitThatLeaves(open, leave));
  RETURN_IF_ERROR(
      context.journal.Record(kRlimitRecord, ValuesOf(former, process, injection)).status());
  RETURN_IF_ERROR(SetDescriptorLimit(process, {former.ours, former.hard}));
  Limited limited{std::move(handle), std::move(former)};
  const auto now = ReadDescriptorLimit(process);
  if (now.ok() && now->rlim_cur == limited.former.ours && !limited.handle.Ended()) return limited;
  RETURN_IF_ERROR(GiveBack(context.host, limited.former));
  RETURN_IF_ERROR(now.status());
  return absl::NotFoundError(NameOf(process) + " ended meanwhile, or set its limit itself");
}

class DescriptorsFault : public ActiveFault {
 public:
  DescriptorsFault(const Host& host, std::size_t found) : host_(host), found_(found) {}
  ~DescriptorsFault() override { DescriptorsFault::Revert().IgnoreError(); }

  void Add(Limited limited) {
    absl::MutexLock lock(&mutex_);
    limited_.push_back(std::move(limited));
  }
  std::size_t size() const {
    absl::MutexLock lock(&mutex_);
    return limited_.size();
  }

  absl::StatusOr<Impact> Observe() const override {
    absl::MutexLock lock(&mutex_);
    const SteadyTime now = host_.clock().Steady();
    if (!looked_at_ || now - *looked_at_ >= kLookEvery) Look(now);
    if (std::all_of(limited_.begin(), limited_.end(), [](const Limited& l) { return l.exited; })) {
      return absl::NotFoundError("every process with a lowered limit has ended");
    }
    return impact_;
  }

  // Records are left for the agent: it reads every limit back, and forgets them.
  absl::Status Revert() override {
    absl::MutexLock lock(&mutex_);
    absl::Status result = absl::OkStatus();
    for (const Limited& limited : limited_) result.Update(GiveBack(host_, limited.former));
    return result;
  }

 private:
  void Look(SteadyTime now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const Nanoseconds half = looked_at_ ? (now - *looked_at_) / 2 : Nanoseconds(0);
    const SystemTime at = host_.clock().System() - half;
    int exited = 0, at_limit = 0;
    for (Limited& limited : limited_) {
      const Process& process = limited.handle.process();
      if (!limited.exited && limited.handle.Ended()) {
        limited.exited = true;
        Tell("exited", process, at, half);
      }
      exited += limited.exited ? 1 : 0;
      if (limited.exited) continue;
      const auto open = OpenBelow(host_, process, limited.former.ours);
      const bool full = open.ok() && FreeBelow(*open, limited.former.ours) == 0;
      if (full && !limited.at_limit) {
        Tell("at_limit", process, at, half);
        if (!impact_.first) {
          impact_.first = at;
          impact_.uncertainty = half;
        }
      }
      limited.at_limit = full;
      at_limit += full ? 1 : 0;
    }
    impact_.counters = {{"processes_found", static_cast<double>(found_)},
                        {"processes_limited", static_cast<double>(limited_.size())},
                        {"processes_at_limit", at_limit},
                        {"processes_exited", exited}};
    looked_at_ = now;
  }

  void Tell(const char* name, const Process& process, SystemTime at, Nanoseconds half) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (impact_.events.size() >= kMostEvents) return;
    ImpactEvent event;
    event.name = name;
    event.at = at;
    event.uncertainty = half;
    event.detail = NameOf(process);
    impact_.events.push_back(std::move(event));
  }

  const Host& host_;
  const std::size_t found_;
  mutable absl::Mutex mutex_;
  mutable std::vector<Limited> limited_ ABSL_GUARDED_BY(mutex_);
  mutable std::optional<SteadyTime> looked_at_ ABSL_GUARDED_BY(mutex_);
  mutable Impact impact_ ABSL_GUARDED_BY(mutex_);
};

// A second injection on the same process would take the first one's limit for its own.
absl::Status CheckUntouched(const Process& process, const Journal::Contents& journal) {
  for (const UndoRecord& record : journal.records) {
    if (record.kind != kRlimitRecord || !record.same_boot) continue;
    if (record.values.at("pid") == std::to_string(process.pid) &&
        record.values.at("start_time") == std::to_string(process.start_time)) {
      return absl::FailedPreconditionError(
          fmt::format("{} has a descriptor limit of another injection", NameOf(process)));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status DescriptorsSupported(const Host& host) {
  Process self;
  self.pid = getpid();
  self.name = "the agent";
  ASSIGN_OR_RETURN(const rlimit own, ReadDescriptorLimit(self));
  return OpenBelow(host, self, own.rlim_cur).status();
}

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyDescriptors(const InjectionRequest& request,
                                                              WorkerContext& context) {
  const v1::Descriptors& wanted = request.fault.descriptors();
  const std::set<int> spared(request.protect.family_pids.begin(),
                             request.protect.family_pids.end());
  ASSIGN_OR_RETURN(const std::vector<Process> found,
                   SelectProcesses(context.host, wanted.processes(), spared));
  std::mt19937_64 random(std::random_device{}());
  const std::vector<Process> chosen = Pick(found, wanted.pick(), random);
  ASSIGN_OR_RETURN(const Journal::Contents journal, context.journal.Read());
  for (const Process& process : chosen) RETURN_IF_ERROR(CheckUntouched(process, journal));
  auto fault = std::make_unique<DescriptorsFault>(context.host, found.size());
  for (const Process& process : chosen) {
    auto limited = Limit(process, wanted.leave(), request.id, context);
    if (absl::IsNotFound(limited.status())) continue;
    if (!limited.ok()) return limited.status();
    fault->Add(*std::move(limited));
  }
  if (fault->size() > 0) return fault;
  return absl::NotFoundError("every process that was chosen has ended meanwhile");
}

absl::Status VerifyDescriptorsGone(const InjectionRequest& request, const Host& host) {
  // Which processes they were, and what their limits were, is in the journal alone. The agent
  // undoes a worker's records when it is gone, reading each limit back, and calls no end proven
  // that has a record left: Verification::CheckGone.
  static_cast<void>(request);
  static_cast<void>(host);
  return absl::OkStatus();
}

absl::Status UndoRlimit(const UndoRecord& record, const Host& host) {
  if (!record.same_boot) return absl::OkStatus();
  ASSIGN_OR_RETURN(const FormerLimit former, FromValues(record.values));
  return GiveBack(host, former);
}

}  // namespace firedrill::agent
