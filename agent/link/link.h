// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "agent/faults/fault.h"
#include "agent/host/descriptor.h"
#include "agent/link/backoff.h"
#include "agent/link/clock_offset.h"
#include "firedrill/v1/agent_link.pb.h"

namespace grpc {
class ChannelCredentials;
}  // namespace grpc

namespace firedrill::agent {

class Stream;
class SupervisorLoop;

struct LinkOptions {
  std::vector<std::string> controllers;  ///< host:port, tried in turn.
  /// Made for each dial, so that changed files are taken up.
  std::function<absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>>()> credentials;
  v1::Hello hello;  ///< All but what lives, which the supervisor knows.
};

/// The agent's end of the line: dials controllers in turn until one answers, says hello, hands
/// orders to the supervisor and its updates to the controller, and dials again when the line
/// breaks. Faults do not depend on it: they go on until their lease is over. Thread-safe.
class Link {
 public:
  /// `clock` must outlive it.
  Link(LinkOptions options, const Clock& clock);
  /// Stops.
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  /// Begins to dial. `loop` must outlive the link's Stop.
  void Start(SupervisorLoop& loop);
  /// The supervisor's news; on the supervisor's thread.
  void OnUpdate(const v1::InjectionUpdate& update) ABSL_LOCKS_EXCLUDED(mutex_);
  /// Tells the controller that nothing new may come.
  void SayDraining() ABSL_LOCKS_EXCLUDED(mutex_);
  /// Writes what waits (a second at most), ends the stream and dials no more. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // The stream of now, from dialling to its end.
  struct Session {
    std::shared_ptr<Stream> stream;
    std::optional<absl::Status> ended;
    bool welcomed = false;
    Nanoseconds heartbeat_interval{0};
    SteadyTime heard_at;
    SteadyTime beat_at;
    std::uint64_t sequence = 0;
    std::map<std::uint64_t, SystemTime> asked;  // clock exchanges under way, by sequence
    std::string broken;                         // why we end it ourselves
  };

  void Run();
  void Serve(const std::string& controller);
  void SayHello(const std::shared_ptr<Stream>& stream);
  void Hold(const std::string& controller) ABSL_LOCKS_EXCLUDED(mutex_);
  void Beat() ABSL_LOCKS_EXCLUDED(mutex_);
  Nanoseconds BeatInterval() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnMessage(const v1::ConnectResponse& message) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnWelcome(const v1::Welcome& welcome) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnReply(const v1::HeartbeatReply& reply) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ProtectEndpoints(const std::string& controller) ABSL_LOCKS_EXCLUDED(mutex_);
  void ProtectPeer(const std::string& peer) ABSL_LOCKS_EXCLUDED(mutex_);
  void Break(const std::string& why) ABSL_LOCKS_EXCLUDED(mutex_);
  bool Pause(Nanoseconds wait) ABSL_LOCKS_EXCLUDED(mutex_);
  void Wait(Nanoseconds wait) const;

  const LinkOptions options_;
  const Clock& clock_;
  const Descriptor wake_;
  SupervisorLoop* loop_ = nullptr;
  Backoff backoff_;
  std::map<std::string, std::vector<Protected::Endpoint>>
      resolved_;  // by controller; link's thread
  absl::Mutex mutex_;
  Session session_ ABSL_GUARDED_BY(mutex_);
  std::vector<Protected::Endpoint> endpoints_ ABSL_GUARDED_BY(mutex_);  // of all of resolved_
  std::shared_ptr<Stream> updates_to_ ABSL_GUARDED_BY(mutex_);
  ClockOffset offset_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace firedrill::agent
