// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "controller/registry/registry.h"
#include "firedrill/v1/agent_link.pb.h"
#include "firedrill/v1/operator.pb.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// Hears of one preview. Calls come from one thread, in order, and must not block.
class PreviewListener {
 public:
  virtual ~PreviewListener() = default;
  /// False if nobody listens any more: the preview is then ended.
  virtual bool OnCounts(const v1::PreviewResponse& response) = 0;
  /// Nothing more comes.
  virtual void OnEnd(const absl::Status& status) = 0;
};

/// The previews under way: what a fault would touch, counted on the chosen hosts. They are
/// injections that touch nothing: they have a lease that is renewed from here and an end of their
/// own, are no part of a run, and are not stored. Thread-safe.
class Previews {
 public:
  /// Both must outlive it. `lease`: for how long an agent counts without hearing of us.
  Previews(AgentRegistry& registry, const Clock& clock, Nanoseconds lease);
  /// Ends them all.
  ~Previews();
  Previews(const Previews&) = delete;
  Previews& operator=(const Previews&) = delete;

  /// Begins on the hosts that the target chooses, and returns the preview's id. INVALID_ARGUMENT:
  /// the rule book's breaches; FAILED_PRECONDITION: no host qualifies, with the reason;
  /// RESOURCE_EXHAUSTED: too many at once.
  absl::StatusOr<std::string> Begin(const v1::PreviewRequest& request,
                                    std::shared_ptr<PreviewListener> listener);
  /// Ends it on every host. Of an unknown id: nothing.
  void Cancel(const std::string& id);

  /// From the agents' streams: true if the update is one of a preview under way, and taken.
  bool Take(const std::string& host, const v1::InjectionUpdate& update);
  void AgentGone(const std::string& host);

 private:
  struct Host {
    std::string injection;
    v1::PreviewResponse counts;  // the newest
    SteadyTime told;
    bool over = false;  // `counts` is the last, and not yet told unless `closed`
    bool closed = false;
  };
  struct Preview {
    std::shared_ptr<PreviewListener> listener;
    std::map<std::string, Host> hosts;  // by the agents' ids
    SteadyTime ends_at;
    SteadyTime renewed;
    bool cancelled = false;
  };
  using Messages = std::vector<std::pair<std::string, v1::ConnectResponse>>;  // by agents' ids
  struct Call;  // what is to be told, once no lock is held

  absl::StatusOr<std::vector<std::string>> Choose(const v1::Target& target);
  void Loop();
  std::vector<Call> Gather() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static void EndOn(const std::string& host, const Host& state, Messages* messages);
  void Tend(Preview& preview, SteadyTime now, Messages* messages)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SendAll(const Messages& messages) const;
  bool Awake() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || news_; }

  AgentRegistry& registry_;
  const Clock& clock_;
  const Nanoseconds lease_;
  absl::Mutex mutex_;
  std::map<std::string, Preview> previews_ ABSL_GUARDED_BY(mutex_);
  std::mt19937_64 random_ ABSL_GUARDED_BY(mutex_);
  bool news_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace firedrill::controller
