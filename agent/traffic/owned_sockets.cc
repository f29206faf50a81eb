// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/owned_sockets.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "agent/host/libbpf_log.h"
#include "bpf/owned_sockets.skel.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

absl::Status Error(int error, const std::string& action) {
  const std::string text =
      fmt::format("{}: {}. {}", action, std::strerror(error), LibbpfLog::Text());
  if (error == EPERM || error == EACCES) return absl::PermissionDeniedError(text);
  return absl::UnimplementedError(text);
}

// Reads an iterator to its end: the program behind it sees every element.
absl::Status Run(bpf_link* iterator, const char* action) {
  const Descriptor fd(bpf_iter_create(bpf_link__fd(iterator)));
  if (!fd.valid()) return absl::ErrnoToStatus(-fd.get(), action);
  char buffer[64];
  ssize_t got;
  do {
    got = read(fd.get(), buffer, sizeof(buffer));
  } while (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)));
  return got < 0 ? absl::ErrnoToStatus(errno, action) : absl::OkStatus();
}

std::uint64_t NetNamespaceOf(const std::string& process) {
  struct stat info {};
  return stat(("/proc/" + process + "/ns/net").c_str(), &info) == 0 ? info.st_ino : 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<OwnedSockets>> OwnedSockets::Start(int marks) {
  std::unique_ptr<OwnedSockets> sockets(new OwnedSockets);
  ASSIGN_OR_RETURN(sockets->processes_,
                   OwnedProcesses::Start([object = sockets.get()] { object->Mark(); }));
  RETURN_IF_ERROR(sockets->Load(marks));
  return sockets;
}

absl::Status OwnedSockets::Load(int marks) {
  ASSIGN_OR_RETURN(const std::string root, UnifiedCgroupRoot());
  const Descriptor cgroup(open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup.valid()) return absl::ErrnoToStatus(errno, "open " + root);
  LibbpfLog log;
  absl::MutexLock lock(&mutex_);
  skeleton_ = owned_sockets_bpf__open();
  if (skeleton_ == nullptr) return Error(errno, "open the programs that mark sockets");
  int result = bpf_map__reuse_fd(skeleton_->maps.fd_sockets, marks);
  if (result == 0) {
    result = bpf_map__reuse_fd(skeleton_->maps.fd_processes, processes_->processes_map());
  }
  if (result == 0) {
    result = bpf_map__reuse_fd(skeleton_->maps.fd_cgroups, processes_->cgroups_map());
  }
  if (result == 0) result = owned_sockets_bpf__load(skeleton_);
  if (result < 0) {
    return Error(-result,
                 "load the programs that mark sockets (they need CONFIG_DEBUG_INFO_BTF, "
                 "CONFIG_CGROUP_BPF, Linux 5.11 or newer)");
  }
  create_ = bpf_program__attach_cgroup(skeleton_->progs.fd_sock_create, cgroup.get());
  if (create_ == nullptr) return Error(errno, "attach to the cgroup hook for new sockets, " + root);
  mark_ = bpf_program__attach_iter(skeleton_->progs.fd_mark, nullptr);
  if (mark_ == nullptr) return Error(errno, "list open sockets by BPF");
  bpf_iter_link_info info{};
  info.map.map_fd = static_cast<__u32>(marks);
  bpf_iter_attach_opts options{};
  options.sz = sizeof(options);
  options.link_info = &info;
  options.link_info_len = sizeof(info);
  forget_ = bpf_program__attach_iter(skeleton_->progs.fd_forget, &options);
  if (forget_ == nullptr) return Error(errno, "list marked sockets by BPF");
  return absl::OkStatus();
}

OwnedSockets::~OwnedSockets() {
  processes_ = nullptr;
  for (bpf_link* link : {create_, mark_, forget_}) {
    if (link != nullptr) bpf_link__destroy(link);
  }
  owned_sockets_bpf__destroy(skeleton_);
}

absl::Status OwnedSockets::Add(std::uint32_t slot, const v1::ProcessSelector& selector,
                               const std::set<int>& spared) {
  RETURN_IF_ERROR(Remove(slot));
  ASSIGN_OR_RETURN(const std::vector<Process> found, processes_->Add(slot, selector, spared));
  const std::uint64_t own = NetNamespaceOf("thread-self");
  bool here = false;
  for (const Process& process : found) {
    const std::uint64_t space = NetNamespaceOf(std::to_string(process.pid));
    here |= space == own || space == 0;
  }
  if (!here) {
    processes_->Remove(slot);
    return absl::FailedPreconditionError(fmt::format(
        "{} (pid {}) lives in another network namespace, such as a container's: its packets have "
        "no owner on this host's devices; choose by address or port, or run an agent in there",
        found.front().name, found.front().pid));
  }
  absl::MutexLock lock(&mutex_);
  return Run(mark_, "mark the sockets of the chosen processes");
}

absl::Status OwnedSockets::Remove(std::uint32_t slot) {
  processes_->Remove(slot);
  absl::MutexLock lock(&mutex_);
  skeleton_->bss->forget = std::uint64_t{1} << slot;
  return Run(forget_, "take the marks from sockets");
}

void OwnedSockets::Mark() {
  absl::MutexLock lock(&mutex_);
  if (mark_ != nullptr) Run(mark_, "mark sockets").IgnoreError();  // The next news tries again.
}

absl::Status ProbeOwnedSockets() {
  owned_sockets_bpf* skeleton = nullptr;
  {
    LibbpfLog log;
    skeleton = owned_sockets_bpf__open_and_load();
    if (skeleton == nullptr) {
      return Error(errno,
                   "load the programs that mark sockets (they need CONFIG_DEBUG_INFO_BTF, "
                   "CONFIG_CGROUP_BPF, Linux 5.11 or newer)");
    }
  }
  const absl::Status status = OwnedSockets::Start(bpf_map__fd(skeleton->maps.fd_sockets)).status();
  owned_sockets_bpf__destroy(skeleton);
  return status;
}

}  // namespace firedrill::agent
