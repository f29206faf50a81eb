// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "agent/traffic/attachment.h"
#include "agent/traffic/delay_line.h"
#include "agent/traffic/dns_names.h"
#include "agent/traffic/match.h"
#include "agent/traffic/names.h"
#include "agent/traffic/netlink.h"
#include "agent/traffic/owned_sockets.h"
#include "agent/traffic/prefix_table.h"
#include "agent/traffic/programs.h"
#include "agent/traffic/rule_spec.h"
#include "agent/traffic/tap.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

class Journal;
class TrafficEngine;

struct TrafficOptions {
  Journal* journal = nullptr;  ///< Needed where there are no TCX links; must outlive the engine.
  std::optional<AttachMode> mode;                     ///< Absent: what the kernel can.
  Nanoseconds first_lease = std::chrono::seconds(2);  ///< Until the first Renew.
  DelayLineLimits limits;
  Nanoseconds resolve_every = kResolveEvery;  ///< Names of hosts.
};

/// What a rule has done. Packets are the wire's: a super-packet (TSO, GRO) counts as its segments.
struct TrafficRuleStats {
  fd_stats rule{};
  fd_dns_stats dns{};
  fd_totals totals{};   ///< Of all rules of the engine.
  DelayLineStats line;  ///< Of all rules of the engine, the wire line's included.
  std::optional<std::size_t> name_addresses;   ///< Followed; absent: the rule names no hosts.
  std::optional<std::size_t> owner_processes;  ///< Chosen now; absent: the rule has no owner.
  std::uint64_t owner_processes_missed = 0;    ///< Of all rules: the table had no room for them.
  std::uint64_t line_dropped = 0;  ///< By the devices in front of the lines: too slow a reader.
};

/// A rule in force. Destroying it takes the rule out. Thread-safe.
class TrafficRule {
 public:
  TrafficRule(TrafficEngine& engine, std::uint32_t slot) : engine_(engine), slot_(slot) {}
  ~TrafficRule();
  TrafficRule(const TrafficRule&) = delete;
  TrafficRule& operator=(const TrafficRule&) = delete;

  /// Takes the rule out, gives back at once what it holds, and looks whether it is out. The
  /// counters stay readable. Idempotent.
  absl::Status Remove();
  /// OK if the kernel still shows the rule on its device; an error after Remove.
  absl::Status Verify() const;
  /// From now on these ends are protected instead of those of before. On an error both are.
  absl::Status Protect(const std::vector<ProtectedEndpoint>& endpoints);
  /// After Remove: what it had done by then.
  absl::StatusOr<TrafficRuleStats> Stats() const;

 private:
  TrafficEngine& engine_;
  const std::uint32_t slot_;
  mutable absl::Mutex mutex_;
  std::optional<absl::StatusOr<TrafficRuleStats>> last_ ABSL_GUARDED_BY(mutex_);
};

/// All traffic faults of a host: one set of programs, of which a rule is data. It must live in the
/// network namespace in which it was made, and longer than its rules. Thread-safe.
///
/// Packets that a rule delays, or decides about one by one as the wire has them, take the way
/// through a private device of the engine's (DelayLine), made with the first such rule.
///
/// On loopback a packet is both sent and received; it is taken once, if it matches as either of
/// those that the direction asks for.
class TrafficEngine {
 public:
  /// UNIMPLEMENTED names what the kernel lacks.
  static absl::StatusOr<std::unique_ptr<TrafficEngine>> Create(const TrafficOptions& options);
  /// Takes all rules out; gives back what is held.
  ~TrafficEngine();

  /// The rule is in force, as the kernel shows, when this returns; on an error nothing has changed.
  /// INVALID_ARGUMENT: a field. NOT_FOUND: device or route. RESOURCE_EXHAUSTED: over FD_MAX_RULES
  /// rules, FD_MAX_PREFIXES addresses, FD_MAX_HOOKS devices or FD_MAX_PROTECTED endpoints.
  absl::StatusOr<std::unique_ptr<TrafficRule>> AddRule(const TrafficRuleSpec& spec);

  /// Nothing is touched from `until` on unless this is called again. Cheap.
  void Renew(SteadyTime until);

  /// The number of rules in force.
  int RuleCount() const;
  AttachMode mode() const { return attacher_.mode(); }

 private:
  friend class TrafficRule;
  struct Rule {
    bool used = false;
    TrafficMatch match;
    std::vector<NetworkDevice> devices;
    bool needs_lines = false;
    bool delays = false;  // of the packets in the delay line some may be its own
    std::vector<fd_endpoint> protect;
    std::unique_ptr<NameWatch> watch;
    std::uint64_t life = 0;  // Tells one rule of the slot from the next.
  };
  struct Hook {
    fd_device device{};
    std::unique_ptr<Attachment> attachment;
  };
  /// A private device, the program on it, and its reader; ended in the other order.
  struct Line {
    Tap tap;
    std::unique_ptr<Attachment> attachment;
    std::unique_ptr<DelayLine> reader;
  };
  using HookKey = std::pair<int, fd_direction>;

  TrafficEngine(const TrafficOptions& options, std::unique_ptr<TrafficPrograms> programs,
                Netlink netlink, AttachMode mode);

  absl::StatusOr<std::vector<NetworkDevice>> ChooseDevices(const TrafficRuleSpec& spec,
                                                           const TrafficMatch& match)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static absl::Status ResolveInto(TrafficMatch& match);
  void Watch(std::uint32_t slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddAddresses(std::uint32_t slot, std::uint64_t life, const std::set<Prefix>& found)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status MarkOwners(std::uint32_t slot, const TrafficRuleSpec& spec)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status UnmarkOwners(std::uint32_t slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static std::vector<std::pair<const NetworkDevice*, fd_direction>> HooksOf(const Rule& rule);
  absl::StatusOr<std::uint32_t> FreeSlot() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status StartLine(LineKind kind) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Install(std::uint32_t slot, const TrafficRuleSpec& spec)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status VerifyLine(LineKind kind) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status WriteTables(std::uint32_t slot, const fd_rule& rule)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteMasks(std::uint32_t slot, const TrafficEffect& effect)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status WritePrefixes() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ProtectEndpoints(const std::vector<fd_endpoint>& endpoints)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status UnprotectEndpoints(const std::vector<fd_endpoint>& endpoints)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AddToHook(std::uint32_t slot, const NetworkDevice& device, fd_direction direction)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status RemoveFromHooks(std::uint32_t slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status VerifyHooks(std::uint32_t slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Verify(std::uint32_t slot) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Protect(std::uint32_t slot, const std::vector<ProtectedEndpoint>& endpoints)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Remove(std::uint32_t slot) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status RemoveLocked(std::uint32_t slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<TrafficRuleStats> Stats(std::uint32_t slot) const ABSL_LOCKS_EXCLUDED(mutex_);

  const TrafficOptions options_;
  mutable absl::Mutex mutex_;
  // Destroyed from the last to the first: programs come off the user's devices before the line
  // ends.
  const std::unique_ptr<TrafficPrograms> programs_;
  mutable Netlink netlink_ ABSL_GUARDED_BY(mutex_);
  Attacher attacher_;
  std::unique_ptr<Line> delay_line_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Line> wire_line_ ABSL_GUARDED_BY(mutex_);
  std::map<HookKey, Hook> hooks_ ABSL_GUARDED_BY(mutex_);
  DnsNames dns_names_ ABSL_GUARDED_BY(mutex_);
  std::map<std::pair<AddressBytes, std::uint16_t>, int> protected_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<OwnedSockets> owners_ ABSL_GUARDED_BY(mutex_);  // While a rule asks for owners.
  std::uint64_t lives_ ABSL_GUARDED_BY(mutex_) = 0;
  std::array<Rule, FD_MAX_RULES> rules_ ABSL_GUARDED_BY(mutex_);
  std::uint32_t last_slot_ ABSL_GUARDED_BY(mutex_) = FD_MAX_RULES - 1;
};

}  // namespace firedrill::agent
