// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "agent/host/descriptor.h"
#include "agent/traffic/owned_processes.h"

struct owned_sockets_bpf;
struct bpf_link;

namespace firedrill::agent {

/// Marks in the kernel the sockets of chosen processes, so that a classifier can tell whose packet
/// it sees: those that are open now, new ones before they can send anything, connections that a
/// marked socket accepts. All is gone with this object, or this process. Thread-safe.
class OwnedSockets {
 public:
  /// `marks` is the descriptor of a map such as fd_sockets of bpf/sockets.bpf.h: a socket's mark
  /// has a bit for each choice. UNIMPLEMENTED names what the kernel lacks.
  static absl::StatusOr<std::unique_ptr<OwnedSockets>> Start(int marks);
  ~OwnedSockets();

  /// As OwnedProcesses::Add; the sockets of those found are marked when this returns.
  /// FAILED_PRECONDITION: all of them live in other network namespaces than this thread.
  absl::Status Add(std::uint32_t slot, const v1::ProcessSelector& selector,
                   const std::set<int>& spared);
  /// No socket is marked by `slot` any more.
  absl::Status Remove(std::uint32_t slot);

  const OwnedProcesses& processes() const { return *processes_; }

 private:
  OwnedSockets() = default;
  absl::Status Load(int marks);
  void Mark() ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Mutex mutex_;  // one reader of the kernel's lists at a time
  owned_sockets_bpf* skeleton_ = nullptr;
  bpf_link* create_ = nullptr;
  bpf_link* mark_ = nullptr;
  bpf_link* forget_ = nullptr;
  std::unique_ptr<OwnedProcesses> processes_;  // its thread marks: the first to go
};

/// OK if this kernel can tell a packet's owner; tries.
absl::Status ProbeOwnedSockets();

}  // namespace firedrill::agent
