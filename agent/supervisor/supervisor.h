// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "agent/faults/fault.h"
#include "agent/supervisor/injection.h"
#include "agent/supervisor/leases.h"
#include "agent/supervisor/limits.h"
#include "agent/supervisor/verification.h"
#include "agent/supervisor/workers.h"
#include "firedrill/v1/agent_link.pb.h"

namespace firedrill::agent {

struct SupervisorOptions {
  int max_live_faults = 8;
  Nanoseconds lease = std::chrono::seconds(15);      ///< Of who asks for none.
  Nanoseconds lease_cap = std::chrono::seconds(60);  ///< The longest that is granted.
  std::set<std::string> allowed;  ///< Kinds that cannot be reverted and are allowed all the same.
  std::vector<v1::Ability> abilities;      ///< What the host can do, as its hello says.
  std::vector<std::string> allowed_files;  ///< Patterns of files that config_change may edit.
};

/// Begins injections in workers and ends them: when asked, when their time is over, when nobody
/// renews their lease, when their worker dies. Says "ended" only after it has looked itself.
///
///     APPLYING ──applied──► ACTIVE ──end──► ENDING: reverting ─► worker leaves ─► verifying ─►
///     ENDED
///         └────────────refused, worker died──────────────────────────────────────────┘ └─► FAILED
///
/// Not thread-safe; SupervisorLoop gives it a thread. Every method returns soon.
class Supervisor {
 public:
  using OnUpdate = std::function<void(const v1::InjectionUpdate&)>;
  struct Counts {
    int live = 0;  ///< Without previews.
    std::uint64_t over_cap = 0;
    std::uint64_t leases_run_out = 0;
  };

  /// All references must outlive it. `on_update` hears of every change of every injection.
  Supervisor(const Host& host, Journal& journal, std::span<const FaultKind> kinds,
             std::span<const UndoKind> undo_kinds, Spawner& spawner, SupervisorOptions options,
             OnUpdate on_update);
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  /// Puts records of the journal that cannot be read out of the way; the status names them.
  absl::Status SetAsideDamagedRecords();
  /// Undoes and verifies what a crashed predecessor left behind, before anything else. The status
  /// says what could not be; what it held stays known as ended.
  absl::Status Recover();

  /// Begins an injection. Of a known id: only tells its state again.
  void Apply(const v1::Apply& apply);
  /// Ends one, or all if `id` is empty. Of an unknown id: nothing.
  void End(const std::string& id, v1::EndReason reason);
  void Renew(const v1::Renew& renew);
  void SetEndpoints(std::vector<Protected::Endpoint> endpoints) {
    workers_.SetEndpoints(std::move(endpoints));
  }
  /// The lease of who asks for none, as the controller wishes it; never above the cap.
  void SetLease(Nanoseconds lease) { standard_lease_ = lease; }

  /// Ends everything and begins nothing more.
  void Drain();
  /// As Drain, without waiting for workers: they are killed, and the ends verified all the same.
  void Hasten();
  bool draining() const { return draining_; }
  /// Nothing lives but what only the next boot ends, and no worker is left.
  bool idle() const;

  /// Does what is due.
  void Tick();
  SteadyTime NextWake() const;
  std::vector<int> fds() const { return workers_.fds(); }

  /// What lives, and what ended within the last ten minutes.
  std::vector<v1::InjectionUpdate> Known() const;
  Counts counts() const;

 private:
  void Begin(Injection injection, std::optional<Nanoseconds> lease);
  void Fail(Injection& injection, const absl::Status& status);
  void BeginEnd(Injection& injection, v1::EndReason reason);
  void BeginVerifying(Injection& injection);
  void Verify(Injection& injection);
  void Advance(Injection& injection);
  void OnMessage(int pid, const wire::FromWorker& message);
  void OnObserved(Injection& injection, const wire::Observed& seen);
  void OnFinished(Injection& injection, const wire::Finished& finished);
  void OnWorkerGone(const Workers::GoneWorker& worker);
  void DismissIfUnused(int pid);
  const FaultKind* KindOf(const Injection& injection) const;
  // It has begun what only the next boot ends: nothing more can be done about it.
  bool AwaitsBoot(const Injection& injection) const;
  Nanoseconds VerifyEvery(const Injection& injection) const;
  void ForgetOld();
  int Live() const;
  int Live(bool preview) const;
  absl::Status CheckGone(const Injection& injection) const;
  void Tell(const Injection& injection) const { on_update_(injection.ToUpdate()); }

  const Host& host_;
  const Clock& clock_;
  Journal& journal_;
  const std::span<const FaultKind> kinds_;
  const OnUpdate on_update_;
  Leases leases_;
  Limits limits_;
  Verification verification_;
  Workers workers_;
  std::map<std::string, Injection> injections_;
  std::map<v1::Fault::KindCase, absl::Status> supported_;
  std::optional<Nanoseconds> standard_lease_;
  bool draining_ = false;
};

}  // namespace firedrill::agent
