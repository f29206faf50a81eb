// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/traffic/match.h"
#include "bpf/dns.h"
#include "bpf/traffic.h"

struct traffic_bpf;

namespace firedrill::agent {

/// The loaded traffic programs and their tables. Attaches nothing; destroying it frees them as soon
/// as nothing in the kernel uses them any more. Not thread-safe, `control` and counters aside.
class TrafficPrograms {
 public:
  /// UNIMPLEMENTED names what the kernel lacks; PERMISSION_DENIED the capability.
  static absl::StatusOr<std::unique_ptr<TrafficPrograms>> Load();
  ~TrafficPrograms();

  /// Shared memory with the kernel: store with an atomic, never copy over it.
  fd_control& control() { return *control_; }
  /// A program's descriptor.
  int egress() const;
  int ingress() const;
  int give_back() const;
  /// The table's descriptor, for DnsNames.
  int dns_names() const;
  /// The descriptor of the map of sockets' marks (OwnedSockets).
  int sockets_map() const;
  int wire() const;

  absl::Status SetRule(std::uint32_t slot, const fd_rule& rule);
  absl::StatusOr<fd_rule> Rule(std::uint32_t slot) const;
  /// Bits of `slot` for every port of `match`: set, or cleared.
  void MarkPorts(std::uint32_t slot, const TrafficMatch& match, bool set);
  /// Makes the kernel's tables equal to `table`, so that at no moment a rule that is in both the
  /// old and the new one is missed.
  absl::Status SetPrefixes(const std::map<Prefix, fd_masks>& table);
  /// A device without rules is removed.
  absl::Status SetDevice(const fd_hook& hook, const fd_device& device);
  absl::StatusOr<fd_device> Device(const fd_hook& hook) const;
  absl::Status Protect(const fd_endpoint& endpoint);
  absl::Status Unprotect(const fd_endpoint& endpoint);

  /// The rule's counters, and what it remembers from packet to packet.
  absl::Status ClearStats(std::uint32_t slot);
  absl::StatusOr<fd_stats> Stats(std::uint32_t slot) const;         ///< Over all processors.
  absl::StatusOr<fd_dns_stats> DnsStats(std::uint32_t slot) const;  ///< Over all processors.
  absl::StatusOr<fd_totals> Totals() const;                         ///< Over all processors.

 private:
  explicit TrafficPrograms(traffic_bpf* skeleton) : skeleton_(skeleton) {}
  absl::Status MapMemory();
  absl::Status FillJitter();
  void WriteNear(const fd_hook& hook);

  traffic_bpf* const skeleton_;
  fd_control* control_ = nullptr;
  fd_masks* ports_ = nullptr;
  fd_device* near_ = nullptr;
  std::map<std::pair<std::uint32_t, std::uint32_t>, fd_device> devices_;  // by index, direction
  std::map<Prefix, fd_masks> prefixes_;  // what the kernel's tables hold
};

/// The program's id, by which the kernel names it in links and filters.
absl::StatusOr<std::uint32_t> ProgramId(int program);

}  // namespace firedrill::agent
