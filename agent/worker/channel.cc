// SPDX-License-Identifier: Apache-2.0
#include "agent/worker/channel.h"

#include <google/protobuf/message_lite.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "agent/worker/worker.pb.h"
#include "proto/support/time.h"

namespace firedrill::agent {
namespace {

constexpr std::size_t kLargestMessage = 128 << 10;

}  // namespace

absl::StatusOr<std::pair<Channel, Channel>> Channel::Pair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return absl::ErrnoToStatus(errno, "make a socketpair for a worker");
  }
  return std::make_pair(Channel(Descriptor(ends[0])), Channel(Descriptor(ends[1])));
}

absl::Status Channel::Send(const google::protobuf::MessageLite& message) {
  const std::string text = message.SerializeAsString();
  if (text.size() > kLargestMessage) {
    return absl::InvalidArgumentError("a message between agent and worker is too large");
  }
  ssize_t sent;
  do {
    sent = send(fd(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return absl::OkStatus();
  if (errno == EAGAIN || errno == EWOULDBLOCK) {
    return absl::ResourceExhaustedError("the other end of a worker's socket does not read");
  }
  return absl::UnavailableError("the other end of a worker's socket is closed");
}

absl::StatusOr<bool> Channel::Receive(google::protobuf::MessageLite& message) {
  std::string buffer(kLargestMessage, '\0');
  ssize_t got;
  do {
    got = recv(fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
  if (got <= 0) {
    return absl::UnavailableError("the other end of a worker's socket is closed");
  }
  if (!message.ParseFromArray(buffer.data(), static_cast<int>(got))) {
    return absl::DataLossError("what came over a worker's socket is no message");
  }
  return true;
}

Protected FromWire(const wire::ProtectedSet& set) {
  Protected protect;
  for (const auto& endpoint : set.endpoints()) {
    protect.endpoints.push_back({endpoint.address(), endpoint.port()});
  }
  protect.family_pids.assign(set.family_pids().begin(), set.family_pids().end());
  return protect;
}

Impact FromWire(const wire::Observed& seen) {
  Impact impact;
  if (seen.has_first_impact_ns()) {
    impact.first = SystemTime(Nanoseconds(seen.first_impact_ns()));
  }
  impact.from_kernel = seen.from_kernel();
  impact.uncertainty = Nanoseconds(seen.uncertainty_ns());
  impact.completed = seen.completed();
  impact.counters.insert(seen.counters().begin(), seen.counters().end());
  for (const v1::InjectionEvent& event : seen.events()) {
    impact.events.push_back({event.name(), FromProto(event.at()), event.from_kernel(),
                             FromProto(event.uncertainty()), event.detail()});
  }
  return impact;
}

v1::InjectionEvent ToWire(const ImpactEvent& event) {
  v1::InjectionEvent message;
  message.set_name(event.name);
  *message.mutable_at() = ToProto(event.at);
  message.set_from_kernel(event.from_kernel);
  *message.mutable_uncertainty() = ToProto(event.uncertainty);
  message.set_detail(event.detail);
  return message;
}

wire::ProtectedSet ToWire(const Protected& protect) {
  wire::ProtectedSet set;
  for (const auto& endpoint : protect.endpoints) {
    auto* out = set.add_endpoints();
    out->set_address(endpoint.address);
    out->set_port(endpoint.port);
  }
  for (const int pid : protect.family_pids) set.add_family_pids(pid);
  return set;
}

}  // namespace firedrill::agent
