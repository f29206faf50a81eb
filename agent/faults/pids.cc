// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/pids.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "agent/faults/available_memory.h"
#include "agent/faults/marks.h"
#include "agent/faults/pid_holder.h"
#include "agent/host/cgroups.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr std::uint64_t kLeaveOnHost = 64;
// With fewer nobody could log in and look, and the agent could not start another worker.
constexpr std::uint64_t kLeastOnHost = 16;
// Once the numbers have gone round, the kernel gives none below this anew: RESERVED_PIDS, pid.c.
constexpr std::uint64_t kNeverAgain = 300;
constexpr Nanoseconds kToHold = std::chrono::seconds(1);
constexpr Nanoseconds kForOtherWorkers = std::chrono::seconds(2);

std::string MarkOfHolder(const std::string& injection_id) { return MarkOf("fdpids", injection_id); }

absl::StatusOr<std::uint64_t> ReadNumber(const std::string& file) {
  ASSIGN_OR_RETURN(const auto number, ReadCgroupLimit(file));
  if (number) return *number;
  return absl::UnimplementedError(fmt::format("the kernel does not show {}", file));
}

// Processes and threads of the host, as the kernel counts them.
absl::StatusOr<std::uint64_t> Running(const Host& host) {
  // "load load load running/all last-pid", proc(5).
  ASSIGN_OR_RETURN(const std::string text, Host::Read(host.proc() + "/loadavg", 256));
  const std::vector<absl::string_view> fields = absl::StrSplit(text, ' ');
  const std::vector<absl::string_view> counts =
      absl::StrSplit(fields.size() > 3 ? fields[3] : absl::string_view(), '/');
  std::uint64_t all = 0;
  if (counts.size() == 2 && absl::SimpleAtoi(counts[1], &all)) return all;
  return absl::UnimplementedError(host.proc() + "/loadavg does not count the threads");
}

// How many more the host would grant: pid_max and threads-max, and limits on the agent's own
// cgroups, which hold for the worker.
absl::StatusOr<std::uint64_t> FreeOnHost(const Host& host) {
  ASSIGN_OR_RETURN(const std::uint64_t running, Running(host));
  ASSIGN_OR_RETURN(const std::uint64_t pids, ReadNumber(host.proc() + "/sys/kernel/pid_max"));
  ASSIGN_OR_RETURN(const std::uint64_t threads,
                   ReadNumber(host.proc() + "/sys/kernel/threads-max"));
  const std::uint64_t most = std::min(pids - std::min(pids, kNeverAgain), threads);
  return most - std::min(most, running);
}

absl::StatusOr<std::uint64_t> FreeIn(const Cgroup& cgroup) {
  ASSIGN_OR_RETURN(const auto room, PidsRoom(cgroup));
  if (room) return room->room;
  return absl::FailedPreconditionError(
      fmt::format("cgroup {} has no limit of pids any more, and none above it", cgroup.path));
}

// Starts of processes and threads that the cgroup's limit has refused since it was made. None from
// a kernel or a hierarchy that does not count them.
std::optional<std::uint64_t> Refused(const Cgroup& cgroup) {
  auto table = ReadCgroupTable(cgroup.folder + "/pids.events");
  if (!table.ok() || !table->contains("max")) return std::nullopt;
  return (*table)["max"];
}

class PidsFault : public ActiveFault {
 public:
  PidsFault(std::uint64_t leave, std::size_t family, std::optional<Cgroup> cgroup,
            std::unique_ptr<PidHolder> holder)
      : leave_(leave), family_(family), cgroup_(std::move(cgroup)), holder_(std::move(holder)) {
    if (cgroup_) refused_before_ = Refused(*cgroup_);
  }

  absl::StatusOr<Impact> Observe() const override {
    const PidHolder::Figures figures = holder_->figures();
    if (!figures.broken.ok()) return figures.broken;
    Impact impact;
    impact.first = figures.first;
    impact.uncertainty = figures.first_within;
    impact.counters = {{"pids_held", static_cast<double>(figures.held)},
                       {"pids_free", static_cast<double>(figures.free)},
                       {"pids_left", static_cast<double>(leave_)}};
    if (refused_before_) {
      const std::uint64_t refused = Refused(*cgroup_).value_or(*refused_before_);
      impact.counters["starts_refused"] = static_cast<double>(refused - *refused_before_);
    }
    return impact;
  }

  // The agent has freed some of its own for another worker, which takes a moment to start.
  void Protect(const Protected& protect) override {
    if (protect.family_pids.size() > family_) holder_->Rest(kForOtherWorkers);
    family_ = protect.family_pids.size();
  }

  absl::Status Revert() override {
    holder_->Stop();
    return absl::OkStatus();
  }

 private:
  const std::uint64_t leave_;
  std::size_t family_;  // the agent and its workers
  const std::optional<Cgroup> cgroup_;
  std::optional<std::uint64_t> refused_before_;
  const std::unique_ptr<PidHolder> holder_;
};

}  // namespace

absl::Status PidsSupported(const Host& host) { return FreeOnHost(host).status(); }

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyPids(const InjectionRequest& request,
                                                       WorkerContext& context) {
  const v1::Pids& pids = request.fault.pids();
  const Host& host = context.host;
  RETURN_IF_ERROR(VolunteerToDie(host));
  PidOptions options;
  options.thread_name = MarkOfHolder(request.id);
  options.leave = pids.leave();
  std::optional<Cgroup> cgroup;
  if (pids.cgroup().empty()) {
    if (!pids.has_leave()) options.leave = kLeaveOnHost;
    if (options.leave < kLeastOnHost) {
      return absl::InvalidArgumentError(fmt::format(
          "pids.leave: found {}; allowed: at least {} on a whole host, or name a cgroup",
          options.leave, kLeastOnHost));
    }
    options.free = [&host] { return FreeOnHost(host); };
    // Limits of the agent's cgroups bind its worker before the host's do.
    if (const auto own = CgroupOf(host, "pids", getpid()); own.ok()) {
      ASSIGN_OR_RETURN(const auto room, PidsRoom(*own));
      ASSIGN_OR_RETURN(const std::uint64_t free, FreeOnHost(host));
      if (room && room->room < free - std::min(free, options.leave)) {
        return absl::FailedPreconditionError(fmt::format(
            "the agent itself may start only {} more processes and threads ({}/pids.max is {}): "
            "lift that limit (TasksMax=infinity in its systemd unit), or name a cgroup",
            room->room, room->folder, room->limit));
      }
    }
  } else {
    ASSIGN_OR_RETURN(cgroup, FindCgroup(host, "pids", pids.cgroup()));
    ASSIGN_OR_RETURN(const auto room, PidsRoom(*cgroup));
    if (!room) {
      return absl::FailedPreconditionError(fmt::format(
          "cgroup {} has no limit of pids to use up, and none above it: give it one (pids.max, "
          "TasksMax= in a systemd unit)",
          cgroup->path));
    }
    RETURN_IF_ERROR(JoinCgroup(host, *cgroup, Joining::kProcess));
    options.free = [cgroup] { return FreeIn(*cgroup); };
  }
  const std::uint64_t leave = options.leave;
  ASSIGN_OR_RETURN(const std::uint64_t free, options.free());
  RETURN_IF_ERROR(CheckMemoryForThreads(host, free - std::min(free, leave)));
  auto holder = std::make_unique<PidHolder>(host, std::move(options));
  RETURN_IF_ERROR(holder->AwaitHeld(kToHold));
  return std::make_unique<PidsFault>(leave, request.protect.family_pids.size(), std::move(cgroup),
                                     std::move(holder));
}

absl::Status VerifyPidsGone(const InjectionRequest& request, const Host& host) {
  return VerifyNoMark(host, MarkOfHolder(request.id));
}

}  // namespace firedrill::agent
