// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/traffic_fault.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "agent/host/host.h"
#include "agent/host/task_events.h"
#include "agent/traffic/leftovers.h"
#include "agent/traffic/tap.h"
#include "proto/support/status_macros.h"
#include "proto/support/time.h"

namespace firedrill::agent {
namespace {

absl::StatusOr<std::vector<ProtectedEndpoint>> ToEndpoints(const Protected& protect) {
  std::vector<ProtectedEndpoint> endpoints;
  for (const Protected::Endpoint& endpoint : protect.endpoints) {
    // A link-local address may name its device: fe80::1%eth0.
    const std::string address = endpoint.address.substr(0, endpoint.address.find('%'));
    ASSIGN_OR_RETURN(const Prefix prefix, ParsePrefix(address));
    if (endpoint.port < 1 || endpoint.port > 65535) {
      return absl::InvalidArgumentError(
          fmt::format("protected endpoint {}: port {} is not 1 to 65535", address, endpoint.port));
    }
    endpoints.push_back({prefix.address, static_cast<std::uint16_t>(endpoint.port)});
  }
  return endpoints;
}

// What has befallen packets, as in packets_dropped; null: nothing ever does.
const char* Befallen(fd_effect effect) {
  switch (effect) {
    case FD_LOSE:
      return "dropped";
    case FD_CORRUPT:
      return "corrupted";
    case FD_DUPLICATE:
      return "duplicated";
    case FD_SHAPE:
      return "limited";
    case FD_REORDER:
      return "held_back";
    case FD_DELAY:
      return "delayed";
    case FD_DNS:
      return "hit";
    case FD_COUNT:
    case FD_EFFECTS:
      break;
  }
  return nullptr;
}

double Number(std::uint64_t value) { return static_cast<double>(value); }

// The lines are there for all rules of the host; their losses must not be silent.
void AddLines(const TrafficRuleStats& stats, Impact& impact) {
  impact.counters["line_held_packets"] = Number(stats.line.held);
  impact.counters["line_delivered_packets"] = Number(stats.line.delivered);
  impact.counters["line_overflow_dropped_packets"] =
      Number(stats.line.overflowed + stats.line_dropped);
  impact.counters["line_stale_dropped_packets"] = Number(stats.line.stale);
  impact.counters["line_refused_dropped_packets"] =
      Number(stats.line.refused + stats.totals.not_returned);
  impact.counters["line_passed_undelayed_packets"] = Number(stats.totals.not_held);
  impact.counters["line_worst_lateness_us"] = Seconds(stats.line.worst_lateness) * 1e6;
}

// What the choice of packets met: what rules could not tell must not be silent either.
void AddSelection(const TrafficRuleStats& stats, Impact& impact) {
  impact.counters["all_rules_later_fragments_passed_packets"] =
      Number(stats.totals.later_fragments);
  impact.counters["all_rules_unread_passed_packets"] = Number(stats.totals.unread);
  if (stats.name_addresses) impact.counters["host_addresses"] = Number(*stats.name_addresses);
  if (!stats.owner_processes) return;
  impact.counters["owner_processes"] = Number(*stats.owner_processes);
  impact.counters["owner_processes_missed"] = Number(stats.owner_processes_missed);
  impact.counters["all_rules_ownerless_passed_packets"] = Number(stats.totals.ownerless);
}

void AddQueries(const fd_dns_stats& stats, Impact& impact) {
  impact.counters["queries_matched"] = Number(stats.queries_matched);
  impact.counters["queries_hit"] = Number(stats.queries_hit);
  impact.counters["dns_malformed_passed_packets"] = Number(stats.malformed_passed);
  impact.counters["dns_tcp_untouched_queries"] = Number(stats.tcp_queries_untouched);
}

struct Lines {
  std::uint64_t dropped = 0;
  Nanoseconds worst_lateness{0};
};

Lines LinesOf(const absl::StatusOr<TrafficRuleStats>& stats) {
  if (!stats.ok()) return {};
  return {stats->line.overflowed + stats->line.stale + stats->line_dropped,
          stats->line.worst_lateness};
}

// Says once that the lines have dropped packets, and once that they were late. Not thread-safe.
class OverloadWatch {
 public:
  OverloadWatch(const Lines& before, const Clock& clock)
      : before_(before), clock_(clock), looked_(clock.Steady()) {}

  void Look(const Lines& lines) {
    const SteadyTime now = clock_.Steady();
    if (!dropped_ && lines.dropped > before_.dropped) {
      dropped_ = true;
      Add(now, fmt::format("the lines that hold packets were full: {} of this host's were dropped",
                           lines.dropped - before_.dropped));
    }
    if (!late_ && lines.worst_lateness > std::max(kLate, before_.worst_lateness)) {
      late_ = true;
      Add(now, fmt::format("packets went on up to {:.1f} ms later than asked",
                           Seconds(lines.worst_lateness) * 1e3));
    }
    looked_ = now;
  }
  const std::vector<ImpactEvent>& events() const { return events_; }

 private:
  static constexpr Nanoseconds kLate = std::chrono::milliseconds(10);

  void Add(SteadyTime now, std::string detail) {
    events_.push_back({.name = "overloaded",
                       .at = clock_.System(),
                       .from_kernel = false,
                       .uncertainty = now - looked_,  // It was some time since the last look.
                       .detail = std::move(detail)});
  }

  const Lines before_;
  const Clock& clock_;
  SteadyTime looked_;
  bool dropped_ = false, late_ = false;
  std::vector<ImpactEvent> events_;
};

class TrafficFault : public ActiveFault {
 public:
  TrafficFault(std::shared_ptr<TrafficEngine> engine, std::unique_ptr<TrafficRule> rule,
               const TrafficEffect& effect, const Clock& clock)
      : engine_(std::move(engine)),
        rule_(std::move(rule)),
        kind_(KindOf(effect)),
        needs_lines_(NeedsLines(effect)),
        clock_(clock),
        overload_(LinesOf(rule_->Stats()), clock) {}

  absl::StatusOr<Impact> Observe() const override {
    {
      absl::MutexLock lock(&mutex_);
      RETURN_IF_ERROR(unprotected_);
    }
    if (!reverted_) RETURN_IF_ERROR(rule_->Verify());
    ASSIGN_OR_RETURN(const TrafficRuleStats stats, rule_->Stats());
    Impact impact;
    if (stats.rule.first_hit_ns != 0) {
      const WallInstant wall =
          OnWallClock(clock_, SteadyTime(Nanoseconds(stats.rule.first_hit_ns)));
      impact.first = wall.at;
      impact.from_kernel = true;
      impact.uncertainty = wall.uncertainty;
    }
    impact.counters["packets_matched"] = static_cast<double>(stats.rule.matched_packets);
    impact.counters["bytes_matched"] = static_cast<double>(stats.rule.matched_bytes);
    if (const char* befallen = Befallen(kind_)) {
      impact.counters[fmt::format("packets_{}", befallen)] = Number(stats.rule.hit_packets);
      impact.counters[fmt::format("bytes_{}", befallen)] = Number(stats.rule.hit_bytes);
    }
    if (kind_ == FD_SHAPE) {
      impact.counters["packets_queue_dropped"] = Number(stats.rule.queue_dropped_packets);
      impact.counters["bytes_queue_dropped"] = Number(stats.rule.queue_dropped_bytes);
    }
    AddSelection(stats, impact);
    if (kind_ == FD_DNS) AddQueries(stats.dns, impact);
    if (needs_lines_) {
      AddLines(stats, impact);
      absl::MutexLock lock(&mutex_);
      overload_.Look(LinesOf(stats));
      impact.events = overload_.events();
    }
    return impact;
  }

  absl::Status Revert() override {
    reverted_ = true;
    return rule_->Remove();
  }

  void Protect(const Protected& protect) override {
    const absl::StatusOr<std::vector<ProtectedEndpoint>> endpoints = ToEndpoints(protect);
    const absl::Status status = endpoints.ok() ? rule_->Protect(*endpoints) : endpoints.status();
    if (status.ok()) return;
    // Better no fault than one on the agent's own stream; Observe says so.
    {
      absl::MutexLock lock(&mutex_);
      unprotected_ = status;
    }
    Revert().IgnoreError();
  }

 private:
  const std::shared_ptr<TrafficEngine> engine_;  // outlives the rule
  const std::unique_ptr<TrafficRule> rule_;
  const fd_effect kind_;
  const bool needs_lines_;
  const Clock& clock_;
  std::atomic<bool> reverted_{false};
  mutable absl::Mutex mutex_;
  absl::Status unprotected_ ABSL_GUARDED_BY(mutex_);  // why it was taken out early
  mutable OverloadWatch overload_ ABSL_GUARDED_BY(mutex_);
};

absl::Status TryTraffic(bool delay_line) {
  ASSIGN_OR_RETURN(const std::unique_ptr<TrafficPrograms> programs, TrafficPrograms::Load());
  const AttachMode mode = BestAttachMode(programs->egress());
  if (mode == AttachMode::kTcx && !delay_line) return absl::OkStatus();
  ASSIGN_OR_RETURN(Netlink netlink, Netlink::Open());
  absl::StatusOr<Tap> tap = Tap::Create(netlink);
  // Without a device of our own there is nothing to try a clsact filter on; apply will tell.
  if (absl::IsUnimplemented(tap.status()) && !delay_line) return absl::OkStatus();
  RETURN_IF_ERROR(tap.status());
  Attacher attacher(mode, nullptr, netlink);
  return attacher.AttachToOwnDevice(programs->give_back(), tap->device, FD_INGRESS).status();
}

}  // namespace

absl::Status ProbeTraffic(bool delay_line) {
  RETURN_IF_ERROR(ProbeVerification());
  // Once in a process: every kind of traffic fault asks, and the programs take their time to load.
  static const absl::Status with_line = TryTraffic(true);
  if (delay_line || with_line.ok()) return with_line;
  static const absl::Status alone = TryTraffic(false);
  return alone;
}

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyTrafficRule(TrafficRuleSpec spec,
                                                              const InjectionRequest& request,
                                                              WorkerContext& context) {
  spec.injection_id = request.id;
  spec.duration = request.duration;
  ASSIGN_OR_RETURN(spec.protect, ToEndpoints(request.protect));
  spec.spared.insert(request.protect.family_pids.begin(), request.protect.family_pids.end());
  if (context.traffic == nullptr) {
    TrafficOptions options;
    options.journal = &context.journal;
    ASSIGN_OR_RETURN(context.traffic, TrafficEngine::Create(options));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<TrafficRule> rule, context.traffic->AddRule(spec));
  return std::make_unique<TrafficFault>(context.traffic, std::move(rule), spec.effect,
                                        context.host.clock());
}

absl::StatusOr<std::unique_ptr<ActiveFault>> PreviewTraffic(const InjectionRequest& request,
                                                            WorkerContext& context) {
  TrafficRuleSpec spec;
  spec.effect = CountEffect{};
  switch (request.fault.kind_case()) {
    case v1::Fault::kPacketLoss:
      spec.traffic = request.fault.packet_loss().traffic();
      break;
    case v1::Fault::kLatency:
      spec.traffic = request.fault.latency().traffic();
      break;
    case v1::Fault::kPacketDuplicate:
      spec.traffic = request.fault.packet_duplicate().traffic();
      break;
    case v1::Fault::kPacketCorrupt:
      spec.traffic = request.fault.packet_corrupt().traffic();
      break;
    case v1::Fault::kPacketReorder:
      spec.traffic = request.fault.packet_reorder().traffic();
      break;
    case v1::Fault::kBandwidth:
      spec.traffic = request.fault.bandwidth().traffic();
      break;
    case v1::Fault::kPartition: {
      ASSIGN_OR_RETURN(spec.traffic, PartitionTraffic(request.fault.partition()));
      spec.every_device = true;
      break;
    }
    default:
      return absl::UnimplementedError("the packets of this kind of fault cannot be counted");
  }
  return ApplyTrafficRule(std::move(spec), request, context);
}

absl::StatusOr<v1::Traffic> PartitionTraffic(const v1::Partition& partition) {
  if (partition.addresses().empty()) {
    return absl::InvalidArgumentError(
        "partition.addresses: none are given: the controller's plan fills them in from the hosts "
        "of the target in from; give addresses where there is no plan");
  }
  v1::Traffic traffic = partition.traffic();
  if (!traffic.addresses().empty() || !traffic.hosts().empty()) {
    return absl::InvalidArgumentError(
        "partition.traffic: the other side is partition.addresses, so neither addresses nor hosts "
        "are allowed here");
  }
  *traffic.mutable_addresses() = partition.addresses();
  return traffic;
}

}  // namespace firedrill::agent
