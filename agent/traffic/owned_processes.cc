// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/owned_processes.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "agent/faults/process_selection.h"
#include "agent/host/libbpf_log.h"
#include "bpf/owned_processes.skel.h"
#include "bpf/owner.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr Nanoseconds kLook = std::chrono::milliseconds(100);       // whether processes were born
constexpr Nanoseconds kScanEvery = std::chrono::milliseconds(300);  // at most, while they are
constexpr Nanoseconds kScanAnyway = std::chrono::seconds(10);
constexpr int kShareOfTime = 20;  // a scan takes at most one in so many of a core's seconds
constexpr int kRounds = 5;        // until a tree that grows under our eyes is whole
// PROC_PID_INIT_INO of linux/proc_ns.h: the inode number of the initial pid namespace.
constexpr std::uint64_t kInitialPidNamespace = 0xEFFFFFFC;

std::uint64_t Inode(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? info.st_ino : 0;
}

std::vector<std::uint32_t> Keys(int map) {
  std::vector<std::uint32_t> keys;
  std::uint32_t key = 0;
  for (int result = bpf_map_get_next_key(map, nullptr, &key);
       result == 0 && keys.size() < FD_MAX_OWNED_PROCESSES;
       result = bpf_map_get_next_key(map, &key, &key)) {
    keys.push_back(key);
  }
  return keys;
}

// The state of a process is that of its main thread, which may end before the others do.
bool IsDead(const Process& process) {
  if (process.state != 'Z') return false;
  std::error_code error;
  int threads = 0;
  std::filesystem::directory_iterator at(fmt::format("/proc/{}/task", process.pid), error);
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) ++threads;
  return threads <= 1;
}

fd_process_name ToName(const std::string& text) {
  fd_process_name name{};
  std::memcpy(name.comm, text.data(), std::min(text.size(), sizeof(name.comm) - 1));
  return name;
}

bool OnlyName(const v1::ProcessSelector& selector) {
  v1::ProcessSelector rest = selector;
  rest.clear_name();
  return !selector.name().empty() && rest.ByteSizeLong() == 0;
}

bool OnlyCgroup(const v1::ProcessSelector& selector) {
  v1::ProcessSelector rest = selector;
  rest.clear_cgroup();
  return !selector.cgroup().empty() && rest.ByteSizeLong() == 0;
}

bool OnlyUnit(const v1::ProcessSelector& selector) {
  v1::ProcessSelector rest = selector;
  rest.clear_systemd_unit();
  return !selector.systemd_unit().empty() && rest.ByteSizeLong() == 0;
}

// "/system.slice/redis.service/worker" up to the unit; empty if it is not in it.
std::string UnitsPart(const std::string& cgroup, const std::string& unit) {
  const std::string wanted =
      "/" + (unit.find('.') == std::string::npos ? unit + ".service" : unit) + "/";
  const std::size_t at = (cgroup + "/").find(wanted);
  return at == std::string::npos ? "" : cgroup.substr(0, at + wanted.size() - 1);
}

}  // namespace

absl::StatusOr<std::string> UnifiedCgroupRoot() {
  std::ifstream mounts("/proc/self/mounts");
  std::string line;
  while (std::getline(mounts, line)) {
    std::istringstream fields(line);
    std::string source, folder, type;
    if (fields >> source >> folder >> type && type == "cgroup2") return folder;
  }
  return absl::UnimplementedError(
      "no cgroup v2 is mounted: the kernel reports new sockets to its hooks only; mount one, such "
      "as "
      "mount -t cgroup2 none /sys/fs/cgroup/unified");
}

absl::StatusOr<std::unique_ptr<OwnedProcesses>> OwnedProcesses::Start(
    std::function<void()> on_news) {
  if (Inode("/proc/self/ns/pid") != kInitialPidNamespace) {
    return absl::FailedPreconditionError(
        "choosing by process needs the host's own process numbers, and this agent runs in a pid "
        "namespace of its own: give its container the host's (docker: --pid=host, Kubernetes: "
        "hostPID)");
  }
  libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
  LibbpfLog log;
  owned_processes_bpf* skeleton = owned_processes_bpf__open_and_load();
  int error = errno;
  std::unique_ptr<OwnedProcesses> owned;
  if (skeleton != nullptr) {
    owned.reset(new OwnedProcesses(skeleton, std::move(on_news)));
    error = -owned_processes_bpf__attach(skeleton);
    if (error == 0) {
      owned->thread_ = std::thread([object = owned.get()] { object->Watch(); });
      return owned;
    }
  }
  if (error == EPERM || error == EACCES) {
    return absl::PermissionDeniedError(
        fmt::format("follow processes in the kernel: {}; needs root, or CAP_BPF with CAP_PERFMON. "
                    "{}",
                    std::strerror(error), LibbpfLog::Text()));
  }
  return absl::UnimplementedError(
      fmt::format("follow processes in the kernel: {}; this kernel lacks BTF or traced scheduler "
                  "events (CONFIG_DEBUG_INFO_BTF, Linux 5.11 or newer). {}",
                  std::strerror(error), LibbpfLog::Text()));
}

OwnedProcesses::~OwnedProcesses() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
    stop_changed_.SignalAll();
  }
  if (thread_.joinable()) thread_.join();
  owned_processes_bpf__destroy(skeleton_);
}

int OwnedProcesses::processes_map() const { return bpf_map__fd(skeleton_->maps.fd_processes); }
int OwnedProcesses::cgroups_map() const { return bpf_map__fd(skeleton_->maps.fd_cgroups); }
std::uint64_t OwnedProcesses::Births() const {
  return __atomic_load_n(&skeleton_->bss->births, __ATOMIC_RELAXED);
}
std::uint64_t OwnedProcesses::missed() const {
  return __atomic_load_n(&skeleton_->bss->missed, __ATOMIC_RELAXED);
}

absl::StatusOr<std::vector<Process>> OwnedProcesses::Add(std::uint32_t slot,
                                                         const v1::ProcessSelector& selector,
                                                         const std::set<int>& spared) {
  absl::MutexLock lock(&mutex_);
  RemoveLocked(slot);
  ASSIGN_OR_RETURN(const std::vector<Process> all, ListProcesses(host_));
  ASSIGN_OR_RETURN(std::vector<Process> matched, SelectProcesses(host_, selector, spared));
  const fd_process alone{.rules = 0, .spared = 1};
  for (const int pid : spared) {
    const auto key = static_cast<std::uint32_t>(pid);
    if (!ReadProcess(host_, pid).ok()) continue;
    if (bpf_map_update_elem(processes_map(), &key, &alone, BPF_ANY) < 0) {
      return absl::ResourceExhaustedError("the table of chosen processes is full");
    }
  }
  Choice& choice = choices_[slot];
  choice = {.used = true, .selector = selector, .spared = spared, .later = true, .cgroups = {}};
  NameCgroups(slot, matched);
  WriteShortcuts();
  for (int round = 0; round < kRounds && Scan(); ++round) continue;
  if (choice.members == 0) {
    RemoveLocked(slot);
    return absl::NotFoundError("the chosen processes ended before the fault began");
  }
  // A number that was given anew is another process.
  choice.later = selector.pid() == 0;
  return matched;
}

void OwnedProcesses::Remove(std::uint32_t slot) {
  absl::MutexLock lock(&mutex_);
  RemoveLocked(slot);
}

void OwnedProcesses::RemoveLocked(std::uint32_t slot) {
  choices_[slot] = {};
  WriteShortcuts();
  const std::uint64_t bit = std::uint64_t{1} << slot;
  for (const std::uint32_t key : Keys(processes_map())) {
    fd_process process{};
    if (bpf_map_lookup_elem(processes_map(), &key, &process) < 0 || (process.rules & bit) == 0) {
      continue;
    }
    process.rules &= ~bit;
    if (process.rules == 0 && process.spared == 0) {
      bpf_map_delete_elem(processes_map(), &key);
    } else {
      bpf_map_update_elem(processes_map(), &key, &process, BPF_EXIST);
    }
  }
}

std::set<int> OwnedProcesses::Members(std::uint32_t slot) const {
  std::set<int> members;
  for (const std::uint32_t key : Keys(processes_map())) {
    fd_process process{};
    if (bpf_map_lookup_elem(processes_map(), &key, &process) == 0 && process.spared == 0 &&
        (process.rules >> slot & 1) != 0) {
      members.insert(static_cast<int>(key));
    }
  }
  return members;
}

std::size_t OwnedProcesses::MemberCount(std::uint32_t slot) const {
  absl::MutexLock lock(&mutex_);
  return choices_[slot].members;
}

bool OwnedProcesses::Scan() {
  const absl::StatusOr<std::vector<Process>> all = ListProcesses(host_);
  if (!all.ok()) return false;
  bool news = false;
  for (std::uint32_t slot = 0; slot < kMostChoices; ++slot) {
    const Choice& choice = choices_[slot];
    if (!choice.used || !choice.later) continue;
    const auto matched = SelectProcesses(host_, choice.selector, choice.spared);
    if (!matched.ok()) continue;  // It has ended; it may come back.
    NameCgroups(slot, *matched);
    std::set<int> roots;
    for (const Process& process : *matched) roots.insert(process.pid);
    news |= Join(slot, *all, roots);
  }
  WriteShortcuts();
  Prune(*all);
  for (std::uint32_t slot = 0; slot < kMostChoices; ++slot) {
    if (choices_[slot].used) choices_[slot].members = Members(slot).size();
  }
  return news;
}

bool OwnedProcesses::Join(std::uint32_t slot, const std::vector<Process>& all,
                          const std::set<int>& roots) {
  bool news = false;
  std::set<int> tree = roots;
  // A child may have a lower number than its parent: until a round adds nothing.
  for (bool grows = true; grows;) {
    grows = false;
    for (const Process& process : all) {
      if (tree.contains(process.parent)) grows |= tree.insert(process.pid).second;
    }
  }
  for (const Process& process : all) {
    if (tree.contains(process.pid) && !IsDead(process)) news |= Join(slot, process);
  }
  return news;
}

bool OwnedProcesses::Join(std::uint32_t slot, const Process& process) {
  const std::uint64_t bit = std::uint64_t{1} << slot;
  const auto key = static_cast<std::uint32_t>(process.pid);
  fd_process entry{};
  const bool known = bpf_map_lookup_elem(processes_map(), &key, &entry) == 0;
  if (known && (entry.spared != 0 || (entry.rules & bit) != 0)) return false;
  entry.rules |= bit;
  if (bpf_map_update_elem(processes_map(), &key, &entry, BPF_ANY) < 0) {
    __atomic_fetch_add(&skeleton_->bss->missed, 1, __ATOMIC_RELAXED);
    return false;
  }
  // Had it ended before it was in the table, its entry would stay for whoever gets the number.
  const absl::StatusOr<Process> now = ReadProcess(host_, process.pid);
  if (now.ok() && now->start_time == process.start_time && !IsDead(*now)) return true;
  bpf_map_delete_elem(processes_map(), &key);
  return false;
}

void OwnedProcesses::Prune(const std::vector<Process>& all) {
  std::set<int> living;
  for (const Process& process : all) {
    if (!IsDead(process)) living.insert(process.pid);
  }
  for (const std::uint32_t key : Keys(processes_map())) {
    if (living.contains(static_cast<int>(key))) continue;
    const absl::StatusOr<Process> now = ReadProcess(host_, static_cast<int>(key));
    if (!now.ok() || IsDead(*now)) bpf_map_delete_elem(processes_map(), &key);
  }
}

void OwnedProcesses::NameCgroups(std::uint32_t slot, const std::vector<Process>& matched) {
  Choice& choice = choices_[slot];
  const absl::StatusOr<std::string> root = UnifiedCgroupRoot();
  if (!root.ok()) return;
  std::set<std::string> paths;
  if (OnlyCgroup(choice.selector)) {
    paths.insert("/" + choice.selector.cgroup());
  } else if (OnlyUnit(choice.selector)) {
    for (const Process& process : matched) {
      const auto cgroups = ReadCgroups(host_, process.pid);
      if (!cgroups.ok()) continue;
      for (const std::string& cgroup : *cgroups) {
        paths.insert(UnitsPart(cgroup, choice.selector.systemd_unit()));
      }
    }
    paths.erase("");
  }
  choice.cgroups.clear();
  for (const std::string& path : paths) {
    // The inode number of its folder is a cgroup's id: kernfs, on 64-bit machines.
    if (const std::uint64_t id = Inode(*root + path); id > 1) choice.cgroups.insert(id);
  }
}

void OwnedProcesses::WriteShortcuts() {
  std::map<std::string, std::uint64_t> names;
  std::map<std::uint64_t, std::uint64_t> cgroups;
  for (std::uint32_t slot = 0; slot < kMostChoices; ++slot) {
    const Choice& choice = choices_[slot];
    if (!choice.used) continue;
    const std::uint64_t bit = std::uint64_t{1} << slot;
    if (OnlyName(choice.selector)) names[choice.selector.name()] |= bit;
    for (const std::uint64_t cgroup : choice.cgroups) cgroups[cgroup] |= bit;
  }
  const auto write = [](int map, const auto& wanted, auto& present, const auto& key_of) {
    for (const auto& [key, rules] : wanted) {
      const auto found = present.find(key);
      if (found != present.end() && found->second == rules) continue;
      const auto raw = key_of(key);
      bpf_map_update_elem(map, &raw, &rules, BPF_ANY);
    }
    for (const auto& entry : present) {
      if (wanted.find(entry.first) != wanted.end()) continue;
      const auto raw = key_of(entry.first);
      bpf_map_delete_elem(map, &raw);
    }
    present = wanted;
  };
  write(bpf_map__fd(skeleton_->maps.fd_names), names, names_, ToName);
  write(cgroups_map(), cgroups, cgroups_, [](std::uint64_t id) { return id; });
}

void OwnedProcesses::Watch() {
  const Clock& clock = Clock::Real();
  std::uint64_t seen = Births();
  SteadyTime next = clock.Steady();
  SteadyTime anyway = clock.Steady() + kScanAnyway;
  while (true) {
    bool news = false;
    {
      absl::MutexLock lock(&mutex_);
      if (stop_) return;
      stop_changed_.WaitWithTimeout(&mutex_, absl::FromChrono(kLook));
      if (stop_) return;
      const SteadyTime start = clock.Steady();
      const std::uint64_t births = Births();
      if (start < next || (births == seen && start < anyway)) continue;
      // What was born since may still have to take its name or bind its port: one more scan.
      const bool again = births != seen;
      seen = births;
      news = Scan();
      const SteadyTime end = clock.Steady();
      next = end + std::max<Nanoseconds>(kScanEvery, (end - start) * kShareOfTime);
      anyway = again ? next : end + kScanAnyway;
    }
    if (news && on_news_) on_news_();
  }
}

}  // namespace firedrill::agent
