// SPDX-License-Identifier: Apache-2.0
#include "agent/files/file_hooks.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "agent/files/open_plain_file.h"
#include "agent/host/host.h"
#include "agent/host/libbpf_log.h"
#include "bpf/file.h"
#include "bpf/file.skel.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr Nanoseconds kLease = std::chrono::seconds(1);

// Whether the kernel asks BPF programs at all, as far as it says which modules it asks.
absl::Status CheckModules() {
  const auto modules = Host::Read("/sys/kernel/security/lsm", 4096);
  // Not to be seen where securityfs is not mounted, as in a container.
  if (!modules.ok() || modules->find("bpf") != std::string::npos) return absl::OkStatus();
  return absl::UnimplementedError(
      fmt::format("BPF is none of this kernel's active security modules ({0}): boot it with "
                  "lsm={0},bpf",
                  *modules));
}

absl::Status Lacking(int error) {
  return absl::UnimplementedError(fmt::format(
      "programs on the hooks of security modules do not load: {}; they need root (or "
      "CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN), CONFIG_BPF_LSM with bpf in the kernel's "
      "parameter lsm=, type information in /sys/kernel/btf/vmlinux, and no lockdown",
      std::strerror(error)));
}

std::uint64_t NowAfterBoot() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileHooks>> FileHooks::Load() {
  RETURN_IF_ERROR(CheckModules());
  libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
  const LibbpfLog log;  // what libbpf would print says the status
  errno = 0;
  file_bpf* skeleton = file_bpf__open_and_load();
  if (skeleton == nullptr) return Lacking(errno);
  std::unique_ptr<FileHooks> hooks(new FileHooks(skeleton));
  void* memory = mmap(nullptr, sizeof(fd_file_control), PROT_READ | PROT_WRITE, MAP_SHARED,
                      bpf_map__fd(skeleton->maps.fd_file_control), 0);
  if (memory == MAP_FAILED) return absl::ErrnoToStatus(errno, "map the file programs' memory");
  hooks->control_ = static_cast<fd_file_control*>(memory);
  const int attached = file_bpf__attach(skeleton);
  if (attached != 0) return Lacking(-attached);
  return hooks;
}

absl::Status FileHooks::Try() { return Load().status(); }

absl::StatusOr<std::unique_ptr<FileHooks>> FileHooks::Start(const FileHooksOptions& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<FileHooks> hooks, Load());
  RETURN_IF_ERROR(hooks->Learn(options.path));
  fd_file_control& control = *hooks->control_;
  control.threshold = options.share >= 1 ? FD_FILE_ALWAYS
                                         : static_cast<std::uint32_t>(options.share * 4294967296.0);
  control.error = -options.error;
  control.chosen_only = options.chosen_only ? 1 : 0;
  __atomic_store_n(&control.operations, options.operations, __ATOMIC_RELEASE);
  return hooks;
}

FileHooks::~FileHooks() {
  if (control_ != nullptr) {
    __atomic_store_n(&control_->operations, 0u, __ATOMIC_RELEASE);
    munmap(control_, sizeof(fd_file_control));
  }
  file_bpf__destroy(skeleton_);
}

// The programs take the inode's address from an open of ours: device numbers are not the same in
// the kernel and outside for every file system (btrfs).
absl::Status FileHooks::Learn(const std::string& path) {
  ASSIGN_OR_RETURN(const PlainFile found, PlainFile::Find(path));
  control_->target = 0;
  __atomic_store_n(&control_->learner, static_cast<__u32>(syscall(SYS_gettid)), __ATOMIC_RELEASE);
  absl::StatusOr<Descriptor> opened = found.Open();
  __atomic_store_n(&control_->learner, 0u, __ATOMIC_RELEASE);
  ASSIGN_OR_RETURN(target_, std::move(opened));
  if (__atomic_load_n(&control_->target, __ATOMIC_ACQUIRE) != 0) return absl::OkStatus();
  return absl::UnimplementedError(
      "the file programs do not see this process under its own pid: run the agent in the host's "
      "pid namespace");
}

absl::Status FileHooks::SetProcesses(const std::set<int>& chosen, const std::set<int>& spared) {
  const int map = bpf_map__fd(skeleton_->maps.fd_file_pids);
  std::set<int> now;
  for (const auto& [pids, mark] :
       {std::pair(&chosen, __u32{FD_FILE_CHOSEN}), std::pair(&spared, __u32{FD_FILE_SPARED})}) {
    for (const int pid : *pids) {
      const auto key = static_cast<__u32>(pid);
      const int result = bpf_map_update_elem(map, &key, &mark, BPF_ANY);
      if (result < 0)
        return absl::ErrnoToStatus(-result, "name the processes to the file programs");
      now.insert(pid);
    }
  }
  for (const int pid : marked_) {
    const auto key = static_cast<__u32>(pid);
    if (!now.contains(pid)) bpf_map_delete_elem(map, &key);
  }
  marked_ = std::move(now);
  return absl::OkStatus();
}

void FileHooks::Renew() {
  __atomic_store_n(&control_->expires_ns,
                   NowAfterBoot() + static_cast<std::uint64_t>(kLease.count()), __ATOMIC_RELEASE);
}

FileHooks::Figures FileHooks::figures() const {
  Figures figures;
  figures.matched = __atomic_load_n(&control_->matched, __ATOMIC_ACQUIRE);
  figures.failed = __atomic_load_n(&control_->failed, __ATOMIC_ACQUIRE);
  const std::uint64_t first = __atomic_load_n(&control_->first_ns, __ATOMIC_ACQUIRE);
  if (first != 0) figures.first_after_boot = Nanoseconds(first);
  return figures;
}

}  // namespace firedrill::agent
