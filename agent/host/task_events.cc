// SPDX-License-Identifier: Apache-2.0
#include "agent/host/task_events.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "agent/host/libbpf_log.h"
#include "bpf/process.h"
#include "bpf/process_exit.skel.h"
#include "bpf/process_start.skel.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

absl::Status Missing(int error, const char* what) {
  if (error == EPERM || error == EACCES) {
    return absl::PermissionDeniedError(
        fmt::format("{}: {}; run the agent as root, or give its systemd unit "
                    "AmbientCapabilities=CAP_BPF CAP_PERFMON",
                    what, std::strerror(error)));
  }
  return absl::UnimplementedError(
      fmt::format("{}: {}; it needs Linux 5.8 or newer with CONFIG_BPF_EVENTS and "
                  "CONFIG_DEBUG_INFO_BTF (/sys/kernel/btf/vmlinux)",
                  what, std::strerror(error)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<TaskEvents>> TaskEvents::Open(What what) {
  std::unique_ptr<TaskEvents> events(new TaskEvents());
  RETURN_IF_ERROR(events->Load(what));
  return events;
}

absl::Status TaskEvents::Load(What what) {
  const LibbpfLog log;  // what libbpf would print says the status
  struct stat own {};
  if (stat("/proc/self/ns/pid", &own) != 0) {
    return absl::ErrnoToStatus(errno, "look at the own pid namespace");
  }
  exits_ = process_exit_bpf__open();
  if (exits_ == nullptr) return Missing(errno, "watch the ends of processes");
  exits_->rodata->fd_namespace_device = own.st_dev;
  exits_->rodata->fd_namespace_inode = own.st_ino;
  int result = process_exit_bpf__load(exits_);
  if (result == 0) result = process_exit_bpf__attach(exits_);
  if (result != 0) return Missing(-result, "watch the ends of processes");
  ring_ = ring_buffer__new(bpf_map__fd(exits_->maps.fd_exit_ring), Collect, this, nullptr);
  if (ring_ == nullptr) return Missing(errno, "read the ends of processes");
  if (what == What::kExits) return absl::OkStatus();
  starts_ = process_start_bpf__open();
  if (starts_ == nullptr) return Missing(errno, "watch the beginnings of processes");
  starts_->rodata->fd_pid_namespace = static_cast<__u32>(own.st_ino);
  result = process_start_bpf__load(starts_);
  if (result == 0) result = process_start_bpf__attach(starts_);
  if (result == 0) {
    result = ring_buffer__add(ring_, bpf_map__fd(starts_->maps.fd_start_ring), Collect, this);
  }
  return result == 0 ? absl::OkStatus() : Missing(-result, "watch the beginnings of processes");
}

TaskEvents::~TaskEvents() {
  ring_buffer__free(ring_);
  process_start_bpf__destroy(starts_);
  process_exit_bpf__destroy(exits_);
}

absl::Status TaskEvents::WatchExit(int pid) {
  const __u32 key = static_cast<__u32>(pid), value = 1;
  const int result =
      bpf_map_update_elem(bpf_map__fd(exits_->maps.fd_task_watched), &key, &value, BPF_ANY);
  if (result == 0) return absl::OkStatus();
  if (result == -E2BIG) {
    return absl::ResourceExhaustedError(
        fmt::format("{} processes are watched already", FD_TASK_WATCHED));
  }
  return absl::ErrnoToStatus(-result, fmt::format("watch the end of process {}", pid));
}

int TaskEvents::fd() const { return ring_buffer__epoll_fd(ring_); }

int TaskEvents::Collect(void* self, void* data, std::size_t size) {
  if (size < sizeof(fd_task_event)) return 0;
  const auto& event = *static_cast<const fd_task_event*>(data);
  auto& events = *static_cast<TaskEvents*>(self);
  events.mutex_.AssertHeld();
  events.taken_.push_back({event.kind == FD_TASK_FORK   ? TaskEvent::Kind::kFork
                           : event.kind == FD_TASK_EXEC ? TaskEvent::Kind::kExec
                                                        : TaskEvent::Kind::kExit,
                           SteadyTime(Nanoseconds(static_cast<std::int64_t>(event.at_ns))),
                           static_cast<int>(event.pid), static_cast<int>(event.parent),
                           std::string(event.name, strnlen(event.name, sizeof(event.name)))});
  return 0;
}

std::vector<TaskEvent> TaskEvents::Take() {
  absl::MutexLock lock(&mutex_);
  // Polled rather than merely consumed: an epoll that has told must be asked to tell anew.
  ring_buffer__poll(ring_, 0);
  ring_buffer__consume(ring_);
  // Two rings, and processors that overtake each other.
  std::stable_sort(taken_.begin(), taken_.end(),
                   [](const TaskEvent& a, const TaskEvent& b) { return a.at < b.at; });
  return std::exchange(taken_, {});
}

std::uint64_t TaskEvents::lost() const {
  return __atomic_load_n(&exits_->bss->fd_task_lost, __ATOMIC_RELAXED) +
         (starts_ == nullptr ? 0 : __atomic_load_n(&starts_->bss->fd_task_lost, __ATOMIC_RELAXED));
}

WallInstant OnWallClock(const Clock& clock, SteadyTime at) {
  // The closest of some readings: between two of one a busy host may give the processor to others.
  constexpr int kReadings = 4;
  constexpr Nanoseconds kClose = std::chrono::microseconds(5);
  std::optional<WallInstant> best;
  for (int reading = 0; reading < kReadings && (!best || best->uncertainty > kClose); ++reading) {
    const SteadyTime before = clock.Steady();
    const SystemTime wall = clock.System();
    const SteadyTime after = clock.Steady();
    const Nanoseconds between = after - before;
    const Nanoseconds uncertainty = between / 2 + Nanoseconds(1);
    if (best && uncertainty >= best->uncertainty) continue;
    best = WallInstant{wall - ((before + between / 2) - at), uncertainty};
  }
  return *best;
}

}  // namespace firedrill::agent
