// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"
#include "agent/host/descriptor.h"

namespace google::protobuf {
class MessageLite;
}  // namespace google::protobuf

namespace firedrill::v1 {
class InjectionEvent;
}  // namespace firedrill::v1

namespace firedrill::agent {

namespace wire {
class Observed;
class ProtectedSet;
}  // namespace wire

/// One end of the socketpair between agent and worker: whole messages, in order, never blocking.
/// Not thread-safe.
class Channel {
 public:
  explicit Channel(Descriptor socket) : socket_(std::move(socket)) {}

  /// Both ends, close-on-exec.
  static absl::StatusOr<std::pair<Channel, Channel>> Pair();

  /// UNAVAILABLE: the other end is closed. RESOURCE_EXHAUSTED: it reads too slowly.
  absl::Status Send(const google::protobuf::MessageLite& message);

  /// False: nothing has come yet. UNAVAILABLE: the other end is closed. DATA_LOSS: not a message.
  absl::StatusOr<bool> Receive(google::protobuf::MessageLite& message);

  int fd() const { return socket_.get(); }

 private:
  Descriptor socket_;
};

Protected FromWire(const wire::ProtectedSet& set);
Impact FromWire(const wire::Observed& seen);
v1::InjectionEvent ToWire(const ImpactEvent& event);
wire::ProtectedSet ToWire(const Protected& protect);

}  // namespace firedrill::agent
