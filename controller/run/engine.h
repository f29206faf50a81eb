// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "controller/plan/planner.h"
#include "controller/probe/probe.h"
#include "controller/registry/registry.h"
#include "controller/run/machine.h"
#include "controller/run/prober.h"
#include "controller/store/store.h"
#include "firedrill/v1/run.pb.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

struct EngineOptions {
  RunOptions run;
  std::optional<Nanoseconds> retain_age;   ///< Finished runs older than this are dropped.
  std::optional<std::size_t> retain_runs;  ///< At most so many finished runs are kept.
};

/// Sees one run; told of each change after it is on disk. Calls come from the engine's thread and
/// must not block.
class RunWatcher {
 public:
  virtual ~RunWatcher() = default;
  virtual void OnRun(const std::shared_ptr<const v1::Run>& run) = 0;
  /// It cannot be watched, and nothing more will be told.
  virtual void OnLost(const absl::Status& why) = 0;
};

/// What to run, and who asks.
struct RunOrder {
  std::string run_id;  ///< Empty: the engine chooses.
  v1::Experiment experiment;
  std::string who;
  /// A run that cannot begin is recorded as aborted, for nobody waits for the answer.
  bool scheduled = false;
};

/// Drives the runs: one thread handles every event, stores the run, then sends and tells. One run
/// at a time. Thread-safe; callbacks are called on the engine's thread and must not block.
class RunEngine {
 public:
  using Done = std::function<void(absl::StatusOr<v1::Run>)>;

  /// `probe` may be null: no Prometheus is configured. `finished` is told of each run's end.
  RunEngine(Store& store, AgentRegistry& registry, Probe* probe, const Clock& clock,
            EngineOptions options, std::function<void(const v1::Run&)> finished);
  ~RunEngine();
  RunEngine(const RunEngine&) = delete;
  RunEngine& operator=(const RunEngine&) = delete;

  /// Takes up the runs that an earlier process left unfinished. Before Start().
  absl::Status Recover();
  void Start();

  /// Takes no more runs, aborts those that are under way for `reason`, and waits until they are
  /// finished or `patience` is over: then they stay unfinished in the store, and their faults end
  /// by their leases.
  void Stop(const std::string& reason, Nanoseconds patience);

  /// Begins a run of a valid experiment. A retry with the same id and experiment answers with the
  /// run. FAILED_PRECONDITION: another run is under way, or the plan has fatal problems, which the
  /// message lists. ALREADY_EXISTS: the id belongs to a run of another experiment.
  void StartRun(RunOrder order, Done done);

  /// Aborts; answers once that is on disk, before every fault has ended. NOT_FOUND: no such run is
  /// under way.
  void AbortRun(std::string run_id, std::string who, std::string reason, Done done);

  /// What a person said of a run; empty `run_id`: of the only one that is under way. Answers once
  /// its mark is on disk. FAILED_PRECONDITION: none is under way, several are, it is finished, or
  /// nothing has had an impact yet. RESOURCE_EXHAUSTED: see RunMachine::Heard.
  void TakeWord(std::string run_id, ResponderWord word, Done done);

  /// Aborts every run and tells every connected agent to end every fault.
  struct Halted {
    std::vector<std::string> runs;
    std::uint32_t hosts = 0;
  };
  void Halt(std::string who, std::string reason, std::function<void(absl::StatusOr<Halted>)> done);

  /// What a run of it would do now.
  PlanResult Plan(const v1::Experiment& experiment);

  // From the agents' streams.
  void AgentConnected(const std::string& id);
  void AgentGone(const std::string& id);
  void AgentDraining(const std::string& id);
  void AgentUpdate(const std::string& id, v1::InjectionUpdate update);

  /// From the webhook.
  void Notice(std::vector<AlertNotice> notices);

  /// Tells `watcher` of the run as it is now and of every change, until it is finished or the
  /// watcher is gone. A run that is finished is told once; of one that cannot be read, OnLost.
  void Watch(const std::string& run_id, const std::shared_ptr<RunWatcher>& watcher);

  /// The runs that are under way, with their series.
  std::vector<std::shared_ptr<const v1::Run>> LiveRuns() const;

  /// UNAVAILABLE if the engine's thread is stuck, or the store could not be written last time.
  absl::Status Health() const;

 private:
  struct Live {
    std::unique_ptr<RunMachine> machine;
    bool unsaved = false;                 // a write failed; what follows waits for it
    std::vector<v1::Series> new_samples;  // not yet stored
    std::vector<std::weak_ptr<RunWatcher>> watchers;
    std::vector<Done> on_saved;  // told once the present state is stored
  };

  void Post(std::function<void()> task);
  void Loop();
  bool HasTask() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !tasks_.empty();
  }

  // On the engine's thread.
  void StartNow(const RunOrder& order, const Done& done);
  void Refuse(const RunOrder& order, v1::Run run, const std::string& why, const Done& done);
  v1::Run NewRun(const RunOrder& order);
  void Take(v1::Run run, const Done& done);
  void Settle(const std::string& run_id, Live& live);  // do what its machine wants
  bool Save(Live& live, RunActions& actions);
  void Publish(Live& live);
  void DropFinished();
  void TickAll();
  void TellClocks(Live& live);
  void MeetAgents(Live& live);
  void EndUnknown(const std::string& host, const v1::InjectionUpdate& update);
  void Prune();
  std::map<std::string, std::string> BusyHosts() const;
  std::string NewRunId();

  Store& store_;
  AgentRegistry& registry_;
  const Clock& clock_;
  const EngineOptions options_;
  const bool has_probe_;
  const std::function<void(const v1::Run&)> finished_;

  std::map<std::string, Live> live_;  // the engine's thread only, once started
  bool refuse_ = false;               // likewise
  SteadyTime last_prune_;             // likewise

  mutable absl::Mutex mutex_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, std::shared_ptr<const v1::Run>> snapshots_ ABSL_GUARDED_BY(mutex_);
  std::mt19937_64 random_ ABSL_GUARDED_BY(mutex_);
  SteadyTime last_round_ ABSL_GUARDED_BY(mutex_);
  absl::Status last_write_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
  std::unique_ptr<Prober> prober_;  // last: its callbacks post tasks
};

}  // namespace firedrill::controller
