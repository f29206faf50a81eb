// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "agent/faults/available_memory.h"
#include "agent/faults/marks.h"
#include "agent/faults/memory_holder.h"
#include "agent/host/cgroups.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"
#include "proto/support/time.h"

namespace firedrill::agent {
namespace {

constexpr std::uint64_t kDefaultFloor = 128ULL << 20;
// An apply waits so long for all of it; the leash of a worker is longer.
constexpr Nanoseconds kToTake = std::chrono::milliseconds(500);

std::string MarkOfHolder(const std::string& injection_id) { return MarkOf("fdmemo", injection_id); }

class MemoryFault : public ActiveFault {
 public:
  MemoryFault(const Host& host, std::uint64_t asked, std::uint64_t resident_before,
              std::unique_ptr<MemoryHolder> holder)
      : host_(host), asked_(asked), resident_before_(resident_before), holder_(std::move(holder)) {}

  absl::StatusOr<Impact> Observe() const override {
    const MemoryHolder::Figures figures = holder_->figures();
    if (!figures.broken.ok()) return figures.broken;
    Impact impact;
    impact.first = figures.first;
    impact.uncertainty = figures.first_took / 2;
    impact.events = figures.events;
    const std::string status = host_.proc() + "/self/status";
    // What the kernel shows, not what we believe.
    const std::uint64_t resident = ReadKilobytes(status, "RssAnon").value_or(0);
    const std::uint64_t swapped = ReadKilobytes(status, "VmSwap").value_or(0);
    impact.counters = {
        {"bytes_asked", static_cast<double>(asked_)},
        {"bytes_held", static_cast<double>(resident - std::min(resident, resident_before_))},
        {"bytes_swapped", static_cast<double>(swapped)},
        {"bytes_given_back", static_cast<double>(figures.given_back)},
        {"available_bytes", static_cast<double>(figures.available)}};
    return impact;
  }

  absl::Status Revert() override {
    holder_->Stop();
    return absl::OkStatus();
  }

 private:
  const Host& host_;
  const std::uint64_t asked_;
  const std::uint64_t resident_before_;
  const std::unique_ptr<MemoryHolder> holder_;
};

}  // namespace

absl::Status MemorySupported(const Host& host) {
  return AvailableMemory(host, std::nullopt).status();
}

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyMemory(const InjectionRequest& request,
                                                         WorkerContext& context) {
  const v1::Memory& memory = request.fault.memory();
  const Host& host = context.host;
  RETURN_IF_ERROR(VolunteerToDie(host));
  std::optional<Cgroup> cgroup;
  if (!memory.cgroup().empty()) {
    ASSIGN_OR_RETURN(cgroup, FindCgroup(host, "memory", memory.cgroup()));
    // Pages count for the cgroup of the process. It is the injection's own, and its end the undo.
    RETURN_IF_ERROR(JoinCgroup(host, *cgroup, Joining::kProcess));
  }
  ASSIGN_OR_RETURN(const std::uint64_t available, AvailableMemory(host, cgroup));
  MemoryOptions options;
  options.floor = memory.has_floor() ? memory.floor() : kDefaultFloor;
  options.bytes = memory.bytes();
  if (memory.percent() > 0) {
    options.bytes = static_cast<std::uint64_t>(static_cast<double>(available) *
                                               std::min(memory.percent(), 100.0) / 100);
  }
  if (memory.has_ramp()) options.ramp = FromProto(memory.ramp());
  options.thread_name = MarkOfHolder(request.id);
  options.available = [&host, cgroup] { return AvailableMemory(host, cgroup); };
  if (available <= options.floor) {
    return absl::FailedPreconditionError(fmt::format(
        "{:.1f} MiB are available{}, and the floor is {:.1f} MiB: there is nothing to take",
        static_cast<double>(available) / (1 << 20), cgroup ? " in cgroup " + cgroup->path : "",
        static_cast<double>(options.floor) / (1 << 20)));
  }
  const std::uint64_t asked = options.bytes;
  ASSIGN_OR_RETURN(const std::uint64_t before,
                   ReadKilobytes(host.proc() + "/self/status", "RssAnon"));
  auto holder = std::make_unique<MemoryHolder>(host, std::move(options));
  RETURN_IF_ERROR(holder->AwaitTaken(kToTake));
  return std::make_unique<MemoryFault>(host, asked, before, std::move(holder));
}

absl::Status VerifyMemoryGone(const InjectionRequest& request, const Host& host) {
  return VerifyNoMark(host, MarkOfHolder(request.id));
}

}  // namespace firedrill::agent
