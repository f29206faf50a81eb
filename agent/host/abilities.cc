// SPDX-License-Identifier: Apache-2.0
#include "agent/host/abilities.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "agent/host/descriptor.h"
#include "agent/host/host.h"
#include "agent/host/task_events.h"

namespace firedrill::agent {
namespace {

HostAbility Yes(const char* name, std::string how) { return {name, true, std::move(how)}; }
HostAbility No(const char* name, std::string why) { return {name, false, std::move(why)}; }

HostAbility Capability(const Host& host, const char* name, int capability, const char* purpose) {
  if (HasCapability(host, capability)) return Yes(name, fmt::format("held; {}", purpose));
  return No(name, fmt::format("missing, {}: run the agent as root, or give its systemd unit "
                              "AmbientCapabilities=CAP_{}",
                              purpose, [&] {
                                std::string upper(name + 4);
                                for (char& c : upper) c = static_cast<char>(std::toupper(c));
                                return upper;
                              }()));
}

HostAbility TaskInstants() {
  const auto events = TaskEvents::Open(TaskEvents::What::kExitsAndStarts);
  if (events.ok()) return Yes("task_events", "tracepoints of fork, exec and exit tell");
  return No("task_events", std::string(events.status().message()));
}

HostAbility Pidfd() {
  const Descriptor fd(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  if (fd.valid()) return Yes("pidfd", "pidfd_open works");
  return No("pidfd", fmt::format("pidfd_open: {}; it needs Linux 5.3 and a seccomp filter that "
                                 "allows it",
                                 std::strerror(errno)));
}

HostAbility Tun() {
  const Descriptor fd(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  if (fd.valid()) return Yes("tun", "/dev/net/tun opens");
  return No("tun", fmt::format("/dev/net/tun: {}; load the kernel's module tun, or give the agent "
                               "the device",
                               std::strerror(errno)));
}

HostAbility Tcx(const Host& host) {
  if (host.Kernel() >= KernelVersion{6, 6}) {
    return Yes("tcx", fmt::format("Linux {}", host.KernelRelease()));
  }
  return No("tcx",
            fmt::format("Linux {} is older than 6.6; clsact filters and the undo journal are "
                        "used instead",
                        host.KernelRelease()));
}

HostAbility Cpu(const Host& host) {
  const auto cores = host.AllowedCores();
  if (!cores.empty()) return Yes("cpu", fmt::format("{} cores may be used", cores.size()));
  return No("cpu", "the kernel does not say which cores the agent may run on");
}

HostAbility Cgroup2(const Host& host) {
  for (const char* mount : {"/fs/cgroup", "/fs/cgroup/unified"}) {
    if (access((host.sys() + mount + "/cgroup.procs").c_str(), R_OK) == 0) {
      return Yes("cgroup2", host.sys() + mount);
    }
  }
  return No("cgroup2", "no cgroup v2 is mounted below " + host.sys() + "/fs/cgroup");
}

// A right over the machine itself, which a container does not have even with the capability.
HostAbility OverMachine(const Host& host, const char* name, int capability, const char* kind,
                        const char* purpose) {
  HostAbility ability = Capability(host, name, capability, purpose);
  const absl::Status first = CheckFirstNamespace(host, kind);
  if (!ability.available || first.ok()) return ability;
  return No(name, std::string(first.message()));
}

}  // namespace

bool HasCapability(const Host& host, int capability) {
  const auto status = Host::Read(host.proc() + "/self/status");
  if (!status.ok()) return false;
  const std::size_t at = status->find("CapEff:\t");
  std::uint64_t bits = 0;
  return at != std::string::npos &&
         absl::SimpleHexAtoi(absl::string_view(*status).substr(at + 8, 16), &bits) &&
         (bits >> capability & 1) != 0;
}

absl::Status CheckFirstNamespace(const Host& host, const std::string& kind) {
  // include/linux/proc_ns.h: the first namespaces have fixed numbers.
  const std::string first = kind == "user" ? "user:[4026531837]" : "pid:[4026531836]";
  std::error_code error;
  const std::string own = std::filesystem::read_symlink(host.proc() + "/self/ns/" + kind, error);
  if (!error && own == first) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("the agent is in a {} namespace of its own (a container): run it on the host "
                  "itself",
                  kind));
}

std::vector<HostAbility> ProbeAbilities(const Host& host) {
  return {Cpu(host),
          Pidfd(),
          TaskInstants(),
          Tcx(host),
          Tun(),
          Cgroup2(host),
          Capability(host, "cap_net_admin", CAP_NET_ADMIN, "for traffic faults"),
          Capability(host, "cap_bpf", CAP_BPF, "for traffic faults"),
          Capability(host, "cap_kill", CAP_KILL, "for signals to other users' processes"),
          Capability(host, "cap_sys_nice", CAP_SYS_NICE, "so that the agent keeps up under load"),
          OverMachine(host, "cap_sys_time", CAP_SYS_TIME, "user", "for steps of the clock"),
          OverMachine(host, "cap_sys_boot", CAP_SYS_BOOT, "pid", "for restarts of the host")};
}

}  // namespace firedrill::agent
