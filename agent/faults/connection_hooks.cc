// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/connection_hooks.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "agent/host/descriptor.h"
#include "agent/host/host.h"
#include "agent/host/libbpf_log.h"
#include "agent/host/processes.h"
#include "agent/traffic/bpf_tables.h"
#include "agent/traffic/owned_processes.h"
#include "agent/traffic/owner.h"
#include "bpf/connection.skel.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr char kControlName[] = "fd_connection";
constexpr int kAttempts = 50;
constexpr int kBetweenAttemptsMs = 20;
constexpr int kFamilyBits = 8 * sizeof(fd_connection_prefix::family);

absl::Status ToStatus(int result, const char* action) {
  return result < 0 ? absl::ErrnoToStatus(-result, action) : absl::OkStatus();
}

absl::Status LoadError(int error) {
  if (error == EPERM || error == EACCES) {
    return absl::PermissionDeniedError(fmt::format(
        "load the programs for sockets' calls: {}; needs root, or CAP_BPF with CAP_NET_ADMIN and "
        "CAP_PERFMON. {}",
        std::strerror(error), LibbpfLog::Text()));
  }
  return absl::UnimplementedError(fmt::format(
      "load the programs for sockets' calls: {}; this kernel lacks cgroup hooks or its own BTF "
      "(CONFIG_CGROUP_BPF, CONFIG_DEBUG_INFO_BTF, Linux 5.15 or newer). {}",
      std::strerror(error), LibbpfLog::Text()));
}

absl::StatusOr<std::string> CgroupRoot(const Host& host) {
  for (const char* mount : {"/fs/cgroup", "/fs/cgroup/unified"}) {
    const std::string root = host.sys() + mount;
    if (access((root + "/cgroup.procs").c_str(), F_OK) == 0) return root;
  }
  return absl::UnimplementedError(
      fmt::format("no cgroup v2 is mounted below {}/fs/cgroup: mount it, also beside cgroup v1 "
                  "(mount -t cgroup2 none /sys/fs/cgroup/unified)",
                  host.sys()));
}

std::uint64_t PidNamespace() {
  struct stat info {};
  return stat("/proc/self/ns/pid", &info) == 0 ? info.st_ino : 0;
}

// The programs count processes as the initial pid namespace does; PROC_PID_INIT_INO.
absl::Status CheckPidNamespace() {
  constexpr std::uint64_t kInitial = 0xEFFFFFFC;
  if (PidNamespace() == kInitial) return absl::OkStatus();
  return absl::UnimplementedError(
      "the agent runs in a pid namespace of its own and cannot tell the kernel which processes to "
      "spare: run it in the host's (a container with --pid=host)");
}

// A table lives as long as a program that uses it, attached or not, or a descriptor of it.
absl::Status LookOnce(std::uint64_t injection, std::uint64_t pid_namespace) {
  ASSIGN_OR_RETURN(const std::vector<fd_connection> controls,
                   ReadBpfTables<fd_connection>(kControlName));
  for (const fd_connection& control : controls) {
    if (control.injection != injection || control.pid_namespace != pid_namespace) continue;
    return absl::FailedPreconditionError(fmt::format(
        "programs for sockets' calls of worker {} are still in the kernel", control.owner_pid));
  }
  return absl::OkStatus();
}

absl::Status CheckListing() {
  __u32 id = 0;
  const int result = bpf_map_get_next_id(0, &id);
  if (result != -EPERM && result != -EACCES) return absl::OkStatus();
  return absl::PermissionDeniedError(
      "the end of the fault could not be proven: listing the kernel's BPF tables needs root, or "
      "CAP_SYS_ADMIN");
}

}  // namespace

absl::StatusOr<std::unique_ptr<ConnectionHooks>> ConnectionHooks::Load(
    const Host& host, const OwnedProcesses* chosen) {
  ASSIGN_OR_RETURN(std::string root, CgroupRoot(host));
  RETURN_IF_ERROR(CheckPidNamespace());
  RETURN_IF_ERROR(CheckListing());
  libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
  const LibbpfLog log;
  connection_bpf* skeleton = connection_bpf__open();
  if (skeleton == nullptr) return LoadError(errno);
  std::unique_ptr<ConnectionHooks> hooks(new ConnectionHooks(skeleton));
  int result = 0;
  if (chosen != nullptr) {
    result = bpf_map__reuse_fd(skeleton->maps.fd_processes, chosen->processes_map());
    if (result == 0) {
      result = bpf_map__reuse_fd(skeleton->maps.fd_cgroups, chosen->cgroups_map());
    }
  }
  if (result == 0) result = connection_bpf__load(skeleton);
  if (result < 0) return LoadError(-result);
  hooks->cgroup_root_ = std::move(root);
  void* memory = mmap(nullptr, sizeof(fd_connection), PROT_READ | PROT_WRITE, MAP_SHARED,
                      bpf_map__fd(skeleton->maps.fd_connection), 0);
  if (memory == MAP_FAILED) {
    return absl::ErrnoToStatus(errno, "map the table for sockets' calls into memory");
  }
  hooks->control_ = static_cast<fd_connection*>(memory);
  ASSIGN_OR_RETURN(const Process self, ReadProcess(host, getpid()));
  hooks->control_->any_process = chosen == nullptr ? 1 : 0;
  hooks->control_->pid_namespace = PidNamespace();
  hooks->control_->owner_pid = static_cast<__u32>(self.pid);
  hooks->control_->owner_start_ticks = self.start_time;
  return hooks;
}

ConnectionHooks::~ConnectionHooks() {
  Detach();
  if (control_ != nullptr) munmap(control_, sizeof(fd_connection));
  connection_bpf__destroy(skeleton_);
}

bool ConnectionHooks::CanChooseError() {
  return libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval, nullptr) == 1;
}

absl::Status ConnectionHooks::SetEnds(const std::vector<Prefix>& addresses,
                                      const std::vector<PortRange>& ports) {
  const int map = bpf_map__fd(skeleton_->maps.fd_conn_prefix);
  const __u32 yes = 1;
  for (const Prefix& prefix : addresses) {
    const fd_connection_endpoint end = ToConnectionEndpoint(prefix, 0);
    fd_connection_prefix key{};
    key.bits = static_cast<__u32>(kFamilyBits + prefix.bits);
    key.family = end.family;
    std::memcpy(key.address, end.address, sizeof(key.address));
    RETURN_IF_ERROR(
        ToStatus(bpf_map_update_elem(map, &key, &yes, BPF_ANY), "write an address of a call"));
  }
  for (const PortRange& range : ports) {
    for (std::uint32_t port = range.first; port <= range.last; ++port) {
      control_->ports[port / 64] |= std::uint64_t{1} << (port % 64);
    }
  }
  control_->any_address = addresses.empty() ? 1 : 0;
  control_->any_port = ports.empty() ? 1 : 0;
  return absl::OkStatus();
}

absl::Status ConnectionHooks::SpareEnds(const std::vector<fd_connection_endpoint>& ends) {
  const int map = bpf_map__fd(skeleton_->maps.fd_conn_ends);
  const __u32 yes = 1;
  for (const fd_connection_endpoint& end : ends) {
    RETURN_IF_ERROR(
        ToStatus(bpf_map_update_elem(map, &end, &yes, BPF_ANY), "spare the agent's stream"));
  }
  const auto same = [](const fd_connection_endpoint& a, const fd_connection_endpoint& b) {
    return std::memcmp(&a, &b, sizeof(a)) == 0;
  };
  for (const fd_connection_endpoint& old : spared_ends_) {
    if (std::any_of(ends.begin(), ends.end(), [&](const auto& end) { return same(old, end); }))
      continue;
    bpf_map_delete_elem(map, &old);
  }
  spared_ends_ = ends;
  return absl::OkStatus();
}

absl::Status ConnectionHooks::SpareProcess(int pid, fd_connection_spared how) {
  const __u32 process = static_cast<__u32>(pid);
  const __u32 value = how;
  return ToStatus(
      bpf_map_update_elem(bpf_map__fd(skeleton_->maps.fd_conn_spared), &process, &value, BPF_ANY),
      "spare a process's calls");
}

absl::Status ConnectionHooks::FollowSpared() {
  for (const bpf_program* program :
       {skeleton_->progs.fd_conn_fork, skeleton_->progs.fd_conn_exit}) {
    const int link = bpf_raw_tracepoint_open(nullptr, bpf_program__fd(program));
    RETURN_IF_ERROR(ToStatus(link, "follow the host's processes (tp_btf)"));
    links_.push_back({Descriptor(link), /*of_cgroup=*/false});
  }
  return absl::OkStatus();
}

absl::Status ConnectionHooks::AttachProgram(int cgroup, int program, int type) {
  const int link = bpf_link_create(program, cgroup, static_cast<bpf_attach_type>(type), nullptr);
  if (link == -EINVAL || link == -EOPNOTSUPP) {
    return absl::UnimplementedError(
        fmt::format("attach to the root of cgroup v2: {}; this kernel lacks links to cgroups "
                    "(CONFIG_CGROUP_BPF, Linux 5.7 or newer)",
                    std::strerror(-link)));
  }
  RETURN_IF_ERROR(ToStatus(link, "attach a program for sockets' calls to the root of cgroup v2"));
  links_.push_back({Descriptor(link), /*of_cgroup=*/true});
  return absl::OkStatus();
}

absl::Status ConnectionHooks::Attach(std::uint32_t operations) {
  const Descriptor cgroup(open(cgroup_root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup.valid()) return absl::ErrnoToStatus(errno, "open " + cgroup_root_);
  struct Place {
    fd_connection_operation operation;
    const bpf_program* program;
    bpf_attach_type type;
  };
  const auto& programs = skeleton_->progs;
  for (const Place& place :
       {Place{FD_CONNECTION_CONNECT, programs.fd_connect4, BPF_CGROUP_INET4_CONNECT},
        Place{FD_CONNECTION_CONNECT, programs.fd_connect6, BPF_CGROUP_INET6_CONNECT},
        Place{FD_CONNECTION_SEND, programs.fd_sendmsg4, BPF_CGROUP_UDP4_SENDMSG},
        Place{FD_CONNECTION_SEND, programs.fd_sendmsg6, BPF_CGROUP_UDP6_SENDMSG},
        Place{FD_CONNECTION_CREATE, programs.fd_sock_create, BPF_CGROUP_INET_SOCK_CREATE}}) {
    if ((operations & place.operation) == 0) continue;
    RETURN_IF_ERROR(AttachProgram(cgroup.get(), bpf_program__fd(place.program), place.type));
  }
  return Verify();
}

absl::Status ConnectionHooks::Verify() const {
  for (const Link& link : links_) {
    bpf_link_info info{};
    __u32 size = sizeof(info);
    RETURN_IF_ERROR(
        ToStatus(bpf_obj_get_info_by_fd(link.fd.get(), &info, &size), "read a link to a program"));
    if (!link.of_cgroup || info.cgroup.cgroup_id != 0) continue;
    return absl::FailedPreconditionError("somebody has taken a program off the root cgroup");
  }
  return absl::OkStatus();
}

void ConnectionHooks::Detach() {
  if (control_ != nullptr) __atomic_store_n(&control_->operations, 0, __ATOMIC_SEQ_CST);
  links_.clear();
}

absl::StatusOr<fd_connection_stats> ConnectionHooks::Stats() const {
  const int processors = libbpf_num_possible_cpus();
  if (processors < 0) return absl::ErrnoToStatus(-processors, "count processors");
  std::vector<fd_connection_stats> values(static_cast<std::size_t>(processors));
  const __u32 zero = 0;
  RETURN_IF_ERROR(ToStatus(
      bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.fd_conn_stats), &zero, values.data()),
      "read the counters of sockets' calls"));
  fd_connection_stats sum{};
  for (const fd_connection_stats& value : values) {
    sum.matched += value.matched;
    sum.failed += value.failed;
    if (value.first_failed_ns != 0 &&
        (sum.first_failed_ns == 0 || value.first_failed_ns < sum.first_failed_ns))
      sum.first_failed_ns = value.first_failed_ns;
  }
  return sum;
}

absl::Status VerifyConnectionHooksGone(const std::string& injection_id) {
  const std::uint64_t injection = HashInjection(injection_id);
  const std::uint64_t pid_namespace = PidNamespace();
  absl::Status status = LookOnce(injection, pid_namespace);
  for (int attempt = 1; !status.ok() && attempt < kAttempts; ++attempt) {
    poll(nullptr, 0, kBetweenAttemptsMs);
    status = LookOnce(injection, pid_namespace);
  }
  return status;
}

fd_connection_endpoint ToConnectionEndpoint(const Prefix& address, std::uint16_t port) {
  fd_connection_endpoint end{};
  end.family = address.ipv4 ? AF_INET : AF_INET6;
  end.port = port;
  if (address.ipv4) {
    std::memcpy(end.address, address.address.data() + 12, 4);
  } else {
    std::memcpy(end.address, address.address.data(), sizeof(end.address));
  }
  return end;
}

}  // namespace firedrill::agent
