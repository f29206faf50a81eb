// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/host/descriptor.h"
#include "agent/traffic/match.h"
#include "bpf/connection.h"
#include "proto/support/clock.h"

struct connection_bpf;

namespace firedrill::agent {

class Host;
class OwnedProcesses;

/// The programs at the root of cgroup v2 that let calls fail, and their tables. Loaded, they let
/// everything pass until they are attached and their lease runs. Destroying it takes them off;
/// so does the kernel when the process dies. Not thread-safe, Stats and Verify aside.
class ConnectionHooks {
 public:
  /// Loads the programs. `chosen`, which must outlive them, says by its choice 0 whose calls they
  /// take; null: everybody's. UNIMPLEMENTED names what the kernel lacks, PERMISSION_DENIED the
  /// right.
  static absl::StatusOr<std::unique_ptr<ConnectionHooks>> Load(const Host& host,
                                                               const OwnedProcesses* chosen);
  ~ConnectionHooks();

  /// Whether the kernel can give programs another error than EPERM (bpf_set_retval, Linux 5.18).
  static bool CanChooseError();

  /// Shared memory with the kernel: store with an atomic once attached. All zero at first, but for
  /// its owner.
  fd_connection& control() { return *control_; }

  /// Addresses and ports of the other end; empty: any.
  absl::Status SetEnds(const std::vector<Prefix>& addresses, const std::vector<PortRange>& ports);
  /// Ends for which no call fails, instead of those of before; on an error besides them.
  absl::Status SpareEnds(const std::vector<fd_connection_endpoint>& ends);
  /// From now on no call of the process fails.
  absl::Status SpareProcess(int pid, fd_connection_spared how);

  /// Spares what spared processes start, too.
  absl::Status FollowSpared();
  /// Puts the programs of these operations (bits of enum fd_connection_operation) in force and
  /// reads back that they are.
  absl::Status Attach(std::uint32_t operations);
  /// OK if the kernel shows every program in its place.
  absl::Status Verify() const;
  /// Takes them off. Idempotent; the counters stay readable.
  void Detach();

  absl::StatusOr<fd_connection_stats> Stats() const;  ///< Over all processors.

 private:
  // A program at its place; closing the descriptor takes it off.
  struct Link {
    Descriptor fd;
    bool of_cgroup = false;
  };
  explicit ConnectionHooks(connection_bpf* skeleton) : skeleton_(skeleton) {}
  absl::Status AttachProgram(int cgroup, int program, int type);

  connection_bpf* const skeleton_;
  fd_connection* control_ = nullptr;
  std::string cgroup_root_;
  std::vector<Link> links_;
  std::vector<fd_connection_endpoint> spared_ends_;
};

/// OK if the kernel has no programs of this injection any more. Any process may ask; asks again for
/// up to a second before it says no.
absl::Status VerifyConnectionHooksGone(const std::string& injection_id);

/// An end as the programs' tables have it.
fd_connection_endpoint ToConnectionEndpoint(const Prefix& address, std::uint16_t port);

}  // namespace firedrill::agent
