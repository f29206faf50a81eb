// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "firedrill/v1/agent_link.pb.h"
#include "firedrill/v1/operator.pb.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// The way to one agent: its stream. Thread-safe; neither call blocks or calls back.
class AgentChannel {
 public:
  virtual ~AgentChannel() = default;
  /// False if the agent is too slow or the stream is over.
  virtual bool Send(const v1::ConnectResponse& message) = 0;
  /// Ends the stream, with this status for the agent.
  virtual void Close(const absl::Status& status) = 0;
};

/// An update whose instants were moved onto the controller's clock.
struct ClockedUpdate {
  v1::InjectionUpdate update;
  Nanoseconds uncertainty{0};  ///< ± of the move, to be added to each instant's own.
};

/// How an agent's clock stands to the controller's.
struct ClockReading {
  Nanoseconds offset{0};  ///< The controller's clock minus the agent's.
  Nanoseconds uncertainty{0};
};

/// The agents as they are known now: connected, draining, gone. Thread-safe; calls into channels
/// are made without a lock held.
class AgentRegistry {
 public:
  using Connection = std::uint64_t;  ///< One stream's number; never used again.

  explicit AgentRegistry(const Clock& clock) : clock_(clock) {}

  /// Takes up an agent. An older stream of the same id is closed: after a cut the agent is back
  /// before its old stream is known to be dead. RESOURCE_EXHAUSTED with too many agents.
  absl::StatusOr<Connection> Connect(const v1::Hello& hello, const std::string& certificate_name,
                                     std::shared_ptr<AgentChannel> channel);

  /// The stream is over. False if a newer one has taken its place.
  bool Disconnect(const std::string& id, Connection connection);

  /// Notes what the heartbeat says. False if `connection` is not the agent's present one.
  bool OnHeartbeat(const std::string& id, Connection connection, const v1::Heartbeat& heartbeat);

  /// Whether `connection` is the agent's present one; also notes that it was heard of.
  bool Heard(const std::string& id, Connection connection);

  /// UNAVAILABLE if the agent is not connected or does not take it.
  absl::Status Send(const std::string& id, const v1::ConnectResponse& message);

  /// By id; gone ones too, until they are forgotten a day later.
  std::vector<v1::Agent> Agents() const;
  std::optional<v1::Agent> Find(const std::string& id) const;

  /// As its latest heartbeat told; nullopt: not connected, or no clock exchange yet.
  std::optional<ClockReading> ClockOf(const std::string& id) const;

  /// Moves the update's instants by the agent's clock offset. Before the first clock exchange the
  /// clocks are taken to agree to within a second.
  ClockedUpdate OnControllerClock(const std::string& id, v1::InjectionUpdate update) const;

  /// Closes every stream, when the controller stops.
  void CloseAll(const absl::Status& status);

 private:
  struct Entry {
    v1::Agent agent;
    Connection connection = 0;
    std::shared_ptr<AgentChannel> channel;  // null: gone
    bool clock_known = false;
    Nanoseconds clock_offset{0};
    Nanoseconds clock_uncertainty{0};
  };

  Entry* Current(const std::string& id, Connection connection)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetOld() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Clock& clock_;
  mutable absl::Mutex mutex_;
  std::map<std::string, Entry> agents_ ABSL_GUARDED_BY(mutex_);
  Connection last_connection_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace firedrill::controller
