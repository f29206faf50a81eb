// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "firedrill/v1/fault.pb.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

class Host;
class Journal;
class TrafficEngine;
struct UndoRecord;

/// Something that happened to what a fault touched: v1::InjectionEvent.
struct ImpactEvent {
  std::string name;  ///< exited, respawned, answered, put_right
  SystemTime at;     ///< On this host's wall clock.
  bool from_kernel = false;
  Nanoseconds uncertainty{0};  ///< ± of `at`.
  std::string detail;          ///< For people.
};

/// What an injection has done so far.
struct Impact {
  std::optional<SystemTime> first;  ///< Of the first effect seen; on this host's wall clock.
  bool from_kernel = false;         ///< `first` was taken by the kernel, not by user space.
  Nanoseconds uncertainty{0};       ///< ± of `first`.
  bool completed = false;           ///< An event that is over by itself: nothing more will happen.
  std::map<std::string, double> counters;  ///< Names carry the unit: packets_matched, cpu_seconds.
  std::vector<ImpactEvent> events;         ///< In the order of their instants; at most 100.
};

/// What no fault may touch: the agent's own stream and family.
struct Protected {
  struct Endpoint {
    std::string address;  ///< Numeric, IPv4 or IPv6.
    int port = 0;
  };
  std::vector<Endpoint> endpoints;  ///< The controller's, as the agent's stream reaches it.
  std::vector<int> family_pids;     ///< The agent and its workers.
};

/// Damage now being done to this host; lives in a worker. Destroying it repairs the host.
class ActiveFault {
 public:
  virtual ~ActiveFault() = default;
  /// First impact and counters so far. Thread-safe. An error means that what the fault lived on is
  /// gone (a device, a process): it is then ended.
  virtual absl::StatusOr<Impact> Observe() const = 0;
  /// Repairs the host. Idempotent. Not thread-safe.
  virtual absl::Status Revert() = 0;
  /// What may not be touched has changed while the fault lives: the agent's stream moved to another
  /// controller, a worker came or went. Called on the thread that applied it.
  virtual void Protect(const Protected& protect) { static_cast<void>(protect); }
  /// The agent was heard: what has a lease of its own in the kernel stays in force until then,
  /// unless this is called again. Often, so it must be cheap. Called on the thread that applied it.
  virtual void Renew(SteadyTime until) { static_cast<void>(until); }
};

/// One injection to begin.
struct InjectionRequest {
  std::string id;
  v1::Fault fault;
  std::optional<Nanoseconds> duration;  ///< Absent: an event.
  Protected protect;
};

/// What a worker lends to the faults that live in it.
struct WorkerContext {
  Host& host;
  /// Undo records, for what the kernel does not undo when this worker dies: record, then act.
  Journal& journal;
  /// The traffic worker's one engine, made with its first rule and destroyed after its last.
  std::shared_ptr<TrafficEngine>& traffic;
};

/// One line of the table: everything that the agent must know of a kind of fault.
struct FaultKind {
  v1::Fault::KindCase kind;
  bool traffic;  ///< Lives in the one traffic worker rather than in a worker of its own.
  /// UNIMPLEMENTED names the missing kernel feature and what to do about it.
  absl::Status (*supported)(const Host& host);
  /// A failed apply leaves the host untouched. OK means read back: the kernel shows it in force.
  absl::StatusOr<std::unique_ptr<ActiveFault>> (*apply)(const InjectionRequest& request,
                                                        WorkerContext& context);
  /// Run by the agent after the end, and after a worker's death: OK only if nothing is left.
  absl::Status (*verify_gone)(const InjectionRequest& request, const Host& host);
  /// As apply, but touches nothing: its counters, and events named "match", say what the fault
  /// would touch. Null: this kind's choice cannot be counted.
  absl::StatusOr<std::unique_ptr<ActiveFault>> (*preview)(const InjectionRequest& request,
                                                          WorkerContext& context) = nullptr;
  /// Not null: once it has begun, it ends with the boot and not before. The agent of the next boot
  /// asks what it has done, by the record (with kInjectionOfRecord) that an earlier boot wrote;
  /// where there is none, the host restarted for another reason.
  Impact (*after_boot)(const UndoRecord& record, const Host& host) = nullptr;
};

/// One line of the other table: how records of the journal are undone.
struct UndoKind {
  const char* kind;  ///< As it was given to Journal::Record.
  /// Undoes what the record says, or finds that nothing is left to undo: OK. Idempotent.
  absl::Status (*undo)(const UndoRecord& record, const Host& host);
};

/// Every kind of record that a worker may write.
std::span<const UndoKind> UndoKinds();

/// Removes what dead workers left on this host, whether or not a record of the journal names it.
/// What lives is left alone.
absl::Status SweepLeftovers();

/// Every kind of fault that this agent knows, in the order of Fault's fields.
std::span<const FaultKind> FaultKinds();

/// The line for `kind`; null for one that this agent does not know.
const FaultKind* FindFaultKind(v1::Fault::KindCase kind);

}  // namespace firedrill::agent
