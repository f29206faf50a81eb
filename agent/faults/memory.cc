// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "agent/faults/marks.h"
#include "agent/faults/memory_holder.h"
#include "agent/host/cgroups.h"
#include "agent/host/descriptor.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"
#include "proto/support/time.h"

namespace firedrill::agent {
namespace {

constexpr std::uint64_t kDefaultFloor = 128ULL << 20;
constexpr const char* kFirstToDie = "1000";  // oom_score_adj, proc(5): always selected
// An apply waits so long for all of it; the leash of a worker is longer.
constexpr Nanoseconds kToTake = std::chrono::milliseconds(500);

std::string MarkOfHolder(const std::string& injection_id) { return MarkOf("fdmemo", injection_id); }

// "Name:   1234 kB" of a file such as /proc/meminfo, in bytes.
absl::StatusOr<std::uint64_t> ReadKilobytes(const std::string& file, absl::string_view name) {
  ASSIGN_OR_RETURN(const std::string text, Host::Read(file, 64 << 10));
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!absl::StartsWith(line, name) || line.size() <= name.size() || line[name.size()] != ':') {
      continue;
    }
    absl::string_view number = absl::StripAsciiWhitespace(line.substr(name.size() + 1));
    if (absl::EndsWith(number, " kB")) number.remove_suffix(3);
    std::uint64_t kilobytes = 0;
    if (absl::SimpleAtoi(number, &kilobytes)) return kilobytes << 10;
  }
  return absl::UnimplementedError(
      fmt::format("{} does not show {}; it needs Linux 3.14", file, std::string(name)));
}

// Of the host, or if that is less, of the cgroup.
absl::StatusOr<std::uint64_t> Available(const Host& host, const std::optional<Cgroup>& cgroup) {
  ASSIGN_OR_RETURN(std::uint64_t available,
                   ReadKilobytes(host.proc() + "/meminfo", "MemAvailable"));
  if (!cgroup) return available;
  ASSIGN_OR_RETURN(const auto room, MemoryRoom(*cgroup));
  return room ? std::min(available, room->room) : available;
}

// The OOM killer is to choose this process before any other; read back.
absl::Status VolunteerToDie(const Host& host) {
  const std::string file = host.proc() + "/self/oom_score_adj";
  const Descriptor fd(open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || write(fd.get(), kFirstToDie, 4) != 4) {
    return absl::ErrnoToStatus(errno, "make the worker the OOM killer's first choice: " + file);
  }
  ASSIGN_OR_RETURN(const std::string now, Host::Read(file, 64));
  if (absl::StripAsciiWhitespace(now) == kFirstToDie) return absl::OkStatus();
  return absl::InternalError(
      fmt::format("{} shows {} after {} was written", file, now, kFirstToDie));
}

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

absl::Status MemorySupported(const Host& host) { return Available(host, std::nullopt).status(); }

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
  ASSIGN_OR_RETURN(const std::uint64_t available, Available(host, cgroup));
  MemoryOptions options;
  options.floor = memory.has_floor() ? memory.floor() : kDefaultFloor;
  options.bytes = memory.bytes();
  if (memory.percent() > 0) {
    options.bytes = static_cast<std::uint64_t>(static_cast<double>(available) *
                                               std::min(memory.percent(), 100.0) / 100);
  }
  if (memory.has_ramp()) options.ramp = FromProto(memory.ramp());
  options.thread_name = MarkOfHolder(request.id);
  options.available = [&host, cgroup] { return Available(host, cgroup); };
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
