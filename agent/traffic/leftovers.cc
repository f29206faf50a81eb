// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/leftovers.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <vector>

#include "agent/host/descriptor.h"
#include "agent/traffic/bpf_tables.h"
#include "agent/traffic/owner.h"
#include "agent/traffic/tap.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr char kControlName[] = "fd_control";
constexpr int kAttempts = 50;
constexpr int kBetweenAttemptsMs = 20;

// The control table of a traffic program; none for any other program.
absl::StatusOr<std::optional<fd_control>> ControlOfProgram(std::uint32_t program_id) {
  const int opened = bpf_prog_get_fd_by_id(program_id);
  if (opened == -ENOENT) return std::optional<fd_control>();
  if (opened < 0) return absl::ErrnoToStatus(-opened, "open one of the kernel's BPF programs");
  const Descriptor program(opened);
  constexpr __u32 kMostMaps = 32;
  __u32 maps[kMostMaps] = {};
  bpf_prog_info info{};
  info.nr_map_ids = kMostMaps;
  info.map_ids = reinterpret_cast<__u64>(maps);
  __u32 size = sizeof(info);
  const int result = bpf_obj_get_info_by_fd(program.get(), &info, &size);
  if (result < 0) return absl::ErrnoToStatus(-result, "ask what one of the BPF programs is");
  if (std::strncmp(info.name, "fd_", 3) != 0) return std::optional<fd_control>();
  for (__u32 map = 0; map < std::min(info.nr_map_ids, kMostMaps); ++map) {
    ASSIGN_OR_RETURN(const std::optional<fd_control> control,
                     ReadBpfTable<fd_control>(maps[map], kControlName));
    if (control) return control;
  }
  return std::optional<fd_control>();
}

absl::StatusOr<bool> IsDeadFilter(const BpfFilter& filter) {
  ASSIGN_OR_RETURN(const std::optional<fd_control> control, ControlOfProgram(filter.program_id));
  return control && IsFromHere(*control) && !OwnerLives(*control);
}

absl::Status LookForFilters(Netlink& netlink, const NetworkDevice& device) {
  ASSIGN_OR_RETURN(const std::vector<BpfFilter> filters, netlink.BpfFilters(device.index));
  for (const BpfFilter& filter : filters) {
    ASSIGN_OR_RETURN(const bool dead, IsDeadFilter(filter));
    if (!dead) continue;
    return absl::FailedPreconditionError(
        fmt::format("a traffic filter of a dead worker is left on {}", device.name));
  }
  return absl::OkStatus();
}

// A device named for a process that no longer exists.
bool IsDeadTap(const NetworkDevice& device) {
  if (!device.name.starts_with(kTapPrefix)) return false;
  const char* number = device.name.c_str() + std::strlen(kTapPrefix);
  int pid = 0;
  const auto [end, error] = std::from_chars(number, device.name.data() + device.name.size(), pid);
  return error == std::errc() && *end == 'x' && kill(pid, 0) < 0 && errno == ESRCH;
}

absl::Status LookOnce(std::uint64_t injection) {
  ASSIGN_OR_RETURN(Netlink netlink, Netlink::Open());
  ASSIGN_OR_RETURN(const std::vector<NetworkDevice> devices, netlink.Devices());
  for (const NetworkDevice& device : devices) {
    RETURN_IF_ERROR(LookForFilters(netlink, device));
    if (IsDeadTap(device)) {
      return absl::FailedPreconditionError(
          fmt::format("delay device {} of a dead worker is left", device.name));
    }
  }
  ASSIGN_OR_RETURN(const std::vector<fd_control> controls, ReadBpfTables<fd_control>(kControlName));
  for (const fd_control& control : controls) {
    if (!IsFromHere(control)) continue;
    if (!OwnerLives(control)) {
      return absl::FailedPreconditionError(fmt::format(
          "traffic programs of dead worker {} are still in the kernel", control.owner_pid));
    }
    for (int slot = 0; slot < FD_MAX_RULES; ++slot) {
      if (control.injection[slot] != injection || !(control.active >> slot & 1)) continue;
      return absl::FailedPreconditionError(
          fmt::format("its rule is still in force in the traffic worker {}", control.owner_pid));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status VerifyTrafficGone(const std::string& injection_id) {
  const std::uint64_t injection = HashInjection(injection_id);
  absl::Status status = LookOnce(injection);
  for (int attempt = 1; !status.ok() && attempt < kAttempts; ++attempt) {
    poll(nullptr, 0, kBetweenAttemptsMs);
    status = LookOnce(injection);
  }
  return status;
}

absl::Status ProbeVerification() {
  const absl::Status status = ReadBpfTables<fd_control>(kControlName).status();
  if (!absl::IsPermissionDenied(status)) return status;
  return absl::PermissionDeniedError(
      "the end of a traffic fault could not be proven: listing the kernel's BPF tables needs root, "
      "or CAP_SYS_ADMIN besides CAP_BPF and CAP_NET_ADMIN");
}

absl::Status RemoveDeadFilters(const NetworkDevice& device, Netlink& netlink) {
  ASSIGN_OR_RETURN(const std::vector<BpfFilter> filters, netlink.BpfFilters(device.index));
  for (const BpfFilter& filter : filters) {
    ASSIGN_OR_RETURN(const bool dead, IsDeadFilter(filter));
    if (dead) RETURN_IF_ERROR(netlink.DeleteFilter(filter));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> HasFiltersOf(int pid, const NetworkDevice& device, Netlink& netlink) {
  ASSIGN_OR_RETURN(const std::vector<BpfFilter> filters, netlink.BpfFilters(device.index));
  for (const BpfFilter& filter : filters) {
    ASSIGN_OR_RETURN(const std::optional<fd_control> control, ControlOfProgram(filter.program_id));
    if (control && control->owner_pid == static_cast<__u32>(pid) && IsFromHere(*control) &&
        OwnerLives(*control))
      return true;
  }
  return false;
}

absl::Status SweepTraffic() {
  ASSIGN_OR_RETURN(Netlink netlink, Netlink::Open());
  ASSIGN_OR_RETURN(const std::vector<NetworkDevice> devices, netlink.Devices());
  for (const NetworkDevice& device : devices) RETURN_IF_ERROR(RemoveDeadFilters(device, netlink));
  return absl::OkStatus();
}

}  // namespace firedrill::agent
