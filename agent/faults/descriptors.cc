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

// What is to become of one process; nothing is changed. NOT_FOUND: it has ended meanwhile.
absl::StatusOr<Limited> Plan(const Process& process, std::uint64_t leave, const Host& host) {
  ASSIGN_OR_RETURN(ProcessHandle handle, ProcessHandle::Open(host, process));
  ASSIGN_OR_RETURN(const rlimit before, ReadDescriptorLimit(process));
  RETURN_IF_ERROR(SetDescriptorLimit(process, before));  // changes nothing; asks whether it may
  ASSIGN_OR_RETURN(std::set<rlim_t> open, OpenBelow(host, process, before.rlim_cur));
  if (FreeBelow(open, before.rlim_cur) <= leave) {
    return absl::FailedPreconditionError(
        fmt::format("{} can open only {} further descriptors already (its limit is {})",
                    NameOf(process), FreeBelow(open, before.rlim_cur), before.rlim_cur));
  }
  FormerLimit former = Remember(host, process, before, LimitThatLeaves(open, leave));
  return Limited{std::move(handle), std::move(former)};
}

std::vector<FormerLimit> FormersOf(const std::vector<Limited>& limited) {
  std::vector<FormerLimit> formers;
  for (const Limited& one : limited) formers.push_back(one.former);
  return formers;
}

// Lowers the limit as planned and recorded, and reads it back. NOT_FOUND: there is nothing to
// limit.
absl::Status Lower(const Limited& planned) {
  const Process& process = planned.handle.process();
  RETURN_IF_ERROR(SetDescriptorLimit(process, {planned.former.ours, planned.former.hard}));
  ASSIGN_OR_RETURN(const rlimit now, ReadDescriptorLimit(process));
  if (now.rlim_cur == planned.former.ours && !planned.handle.Ended()) return absl::OkStatus();
  return absl::NotFoundError(NameOf(process) + " ended meanwhile, or set its limit itself");
}

class DescriptorsFault : public ActiveFault {
 public:
  // All that were recorded are given back at the end; `limited` are those whose limit was lowered.
  DescriptorsFault(const Host& host, std::size_t found, std::vector<FormerLimit> recorded)
      : host_(host), found_(found), recorded_(std::move(recorded)) {}
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

  // The record is left for the agent: it reads every limit back, and forgets it.
  absl::Status Revert() override {
    absl::MutexLock lock(&mutex_);
    return GiveBack(host_, recorded_);
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
  const std::vector<FormerLimit> recorded_;
  mutable absl::Mutex mutex_;
  mutable std::vector<Limited> limited_ ABSL_GUARDED_BY(mutex_);
  mutable std::optional<SteadyTime> looked_at_ ABSL_GUARDED_BY(mutex_);
  mutable Impact impact_ ABSL_GUARDED_BY(mutex_);
};

using Name = std::pair<int, std::uint64_t>;  // pid and start time

// Whose limit a record of the journal holds.
std::set<Name> LimitedBy(const UndoRecord& record) {
  std::set<Name> limited;
  if (record.kind != kRlimitRecord || !record.same_boot) return limited;
  const auto formers = FromValues(record.values);
  if (!formers.ok()) return limited;
  for (const FormerLimit& former : *formers) limited.emplace(former.pid, former.start_time);
  return limited;
}

// A second injection on the same process would take the first one's limit for its own.
absl::Status CheckUntouched(const std::vector<Process>& chosen, const Journal::Contents& journal) {
  std::set<Name> limited;
  for (const UndoRecord& record : journal.records) limited.merge(LimitedBy(record));
  for (const Process& process : chosen) {
    if (!limited.contains({process.pid, process.start_time})) continue;
    return absl::FailedPreconditionError(
        fmt::format("{} has a descriptor limit of another injection", NameOf(process)));
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
  RETURN_IF_ERROR(CheckUntouched(chosen, journal));
  std::vector<Limited> planned;
  for (const Process& process : chosen) {
    auto plan = Plan(process, wanted.leave(), context.host);
    if (absl::IsNotFound(plan.status())) continue;
    if (!plan.ok()) return plan.status();
    planned.push_back(*std::move(plan));
  }
  if (planned.empty()) {
    return absl::NotFoundError("every process that was chosen has ended meanwhile");
  }
  std::vector<FormerLimit> formers = FormersOf(planned);
  std::map<std::string, std::string> values = ToValues(formers);
  values[kInjectionOfRecord] = request.id;
  const auto shares = [&](const UndoRecord& other) {
    const std::set<Name> limited = LimitedBy(other);
    return std::any_of(formers.begin(), formers.end(), [&](const FormerLimit& former) {
      return limited.contains({former.pid, former.start_time});
    });
  };
  RETURN_IF_ERROR(context.journal
                      .RecordAlone(kRlimitRecord, values, shares,
                                   "one of the chosen processes has a descriptor limit of another "
                                   "injection")
                      .status());
  // From here on its end gives all of them back.
  auto fault = std::make_unique<DescriptorsFault>(context.host, found.size(), std::move(formers));
  for (Limited& plan : planned) {
    const absl::Status lowered = Lower(plan);
    if (absl::IsNotFound(lowered)) continue;
    RETURN_IF_ERROR(lowered);
    fault->Add(std::move(plan));
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
  ASSIGN_OR_RETURN(const std::vector<FormerLimit> formers, FromValues(record.values));
  return GiveBack(host, formers);
}

}  // namespace firedrill::agent
