// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "agent/host/host.h"
#include "agent/host/processes.h"
#include "firedrill/v1/process.pb.h"
#include "proto/support/clock.h"

struct owned_processes_bpf;

namespace firedrill::agent {

/// A table in the kernel of the processes that were chosen, by up to 64 choices, with all their
/// descendants. It stays true by itself: children inherit as they are forked, a program of a chosen
/// name or in a chosen cgroup joins as it is executed; what else comes to match (a service that was
/// restarted, by its command line or port) joins within half a second. BPF programs ask it by
/// bpf/owner.bpf.h. It is gone with this object, or this process. Thread-safe.
///
/// A process that stops matching stays chosen until it exits.
class OwnedProcesses {
 public:
  /// How many choices there can be.
  static constexpr std::uint32_t kMostChoices = 64;

  /// `on_news` is called on a thread of this object whenever processes came to match that no
  /// child's inheritance brought in. It may be null. UNIMPLEMENTED names what the kernel lacks;
  /// FAILED_PRECONDITION: this process is in a pid namespace of its own, so that its numbers are
  /// not the kernel's.
  static absl::StatusOr<std::unique_ptr<OwnedProcesses>> Start(std::function<void()> on_news);
  ~OwnedProcesses();

  /// Chooses, as choice number `slot`: those that match now, and those to come. Never chosen are
  /// `spared`, their descendants and ancestors, pid 1 and kernel threads. Those found now, without
  /// their descendants. NOT_FOUND: none matches now. An error leaves the choice empty.
  absl::StatusOr<std::vector<Process>> Add(std::uint32_t slot, const v1::ProcessSelector& selector,
                                           const std::set<int>& spared);
  /// Nobody is chosen by `slot` any more.
  void Remove(std::uint32_t slot);

  /// Descriptors of the maps of bpf/owner.bpf.h, for bpf_map__reuse_fd.
  int processes_map() const;
  int cgroups_map() const;

  /// Processes chosen by `slot` that live now.
  std::set<int> Members(std::uint32_t slot) const;
  /// How many they were when processes were last looked through. Cheap.
  std::size_t MemberCount(std::uint32_t slot) const;
  /// Chosen processes for which the table had no room.
  std::uint64_t missed() const;

 private:
  struct Choice {
    bool used = false;
    v1::ProcessSelector selector;
    std::set<int> spared;
    bool later = true;                // whether processes can come to match later
    std::set<std::uint64_t> cgroups;  // the choice is: everybody in these
    std::size_t members = 0;
  };

  OwnedProcesses(owned_processes_bpf* skeleton, std::function<void()> on_news)
      : skeleton_(skeleton), on_news_(std::move(on_news)) {}
  void Watch();
  /// Adds who matches now; true if somebody was new.
  bool Scan() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Join(std::uint32_t slot, const std::vector<Process>& all, const std::set<int>& roots)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Join(std::uint32_t slot, const Process& process) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Prune(const std::vector<Process>& all) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NameCgroups(std::uint32_t slot, const std::vector<Process>& matched)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteShortcuts() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RemoveLocked(std::uint32_t slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::uint64_t Births() const;

  owned_processes_bpf* const skeleton_;
  const std::function<void()> on_news_;
  const Host host_;
  mutable absl::Mutex mutex_;
  absl::CondVar stop_changed_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::array<Choice, kMostChoices> choices_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::uint64_t> names_ ABSL_GUARDED_BY(mutex_);  // as the kernel has them
  std::map<std::uint64_t, std::uint64_t> cgroups_
      ABSL_GUARDED_BY(mutex_);  // as the kernel has them
  std::thread thread_;
};

/// The folder where cgroup v2 is mounted; UNIMPLEMENTED says what to do where there is none.
absl::StatusOr<std::string> UnifiedCgroupRoot();

}  // namespace firedrill::agent
