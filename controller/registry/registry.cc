// SPDX-License-Identifier: Apache-2.0
#include "controller/registry/registry.h"

#include <fmt/format.h>

#include <utility>

#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

constexpr std::size_t kMostAgents = 20'000;
constexpr Nanoseconds kForgetAfter = std::chrono::hours(24);
constexpr Nanoseconds kUnknownClock = std::chrono::seconds(1);

void Move(google::protobuf::Timestamp* timestamp, Nanoseconds by) {
  *timestamp = ToProto(FromProto(*timestamp) + by);
}

}  // namespace

absl::StatusOr<AgentRegistry::Connection> AgentRegistry::Connect(
    const v1::Hello& hello, const std::string& certificate_name,
    std::shared_ptr<AgentChannel> channel) {
  std::shared_ptr<AgentChannel> older;
  Connection connection = 0;
  {
    absl::MutexLock lock(&mutex_);
    ForgetOld();
    if (agents_.size() >= kMostAgents && agents_.count(hello.agent_id()) == 0) {
      return absl::ResourceExhaustedError(fmt::format(
          "{} agents are known already, the most that one controller takes", kMostAgents));
    }
    Entry& entry = agents_[hello.agent_id()];
    older = std::exchange(entry.channel, std::move(channel));
    connection = entry.connection = ++last_connection_;
    if (entry.agent.hello().boot_id() != hello.boot_id()) {
      entry.clock_known = false;
      entry.agent.clear_last_heartbeat();
    }
    *entry.agent.mutable_hello() = hello;
    entry.agent.set_state(v1::AGENT_STATE_CONNECTED);
    entry.agent.set_certificate_name(certificate_name);
    *entry.agent.mutable_since() = ToProto(clock_.System());
    *entry.agent.mutable_last_seen_at() = entry.agent.since();
  }
  if (older != nullptr) {
    older->Close(absl::AbortedError(
        fmt::format("another stream of agent {} took this one's place", hello.agent_id())));
  }
  return connection;
}

bool AgentRegistry::Disconnect(const std::string& id, Connection connection) {
  std::shared_ptr<AgentChannel> channel;  // its last owner may be here: released without the lock
  absl::MutexLock lock(&mutex_);
  Entry* entry = Current(id, connection);
  if (entry == nullptr) return false;
  channel.swap(entry->channel);
  entry->agent.set_state(v1::AGENT_STATE_GONE);
  *entry->agent.mutable_since() = ToProto(clock_.System());
  return true;
}

bool AgentRegistry::OnHeartbeat(const std::string& id, Connection connection,
                                const v1::Heartbeat& heartbeat) {
  absl::MutexLock lock(&mutex_);
  Entry* entry = Current(id, connection);
  if (entry == nullptr) return false;
  *entry->agent.mutable_last_heartbeat() = heartbeat;
  *entry->agent.mutable_last_seen_at() = ToProto(clock_.System());
  if (heartbeat.draining() && entry->agent.state() == v1::AGENT_STATE_CONNECTED) {
    entry->agent.set_state(v1::AGENT_STATE_DRAINING);
    *entry->agent.mutable_since() = entry->agent.last_seen_at();
  }
  if (heartbeat.clock_known()) {
    entry->clock_known = true;
    entry->clock_offset = FromProto(heartbeat.clock_offset());
    entry->clock_uncertainty = FromProto(heartbeat.clock_uncertainty());
  }
  return true;
}

bool AgentRegistry::Heard(const std::string& id, Connection connection) {
  absl::MutexLock lock(&mutex_);
  Entry* entry = Current(id, connection);
  if (entry == nullptr) return false;
  *entry->agent.mutable_last_seen_at() = ToProto(clock_.System());
  return true;
}

absl::Status AgentRegistry::Send(const std::string& id, const v1::ConnectResponse& message) {
  std::shared_ptr<AgentChannel> channel;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = agents_.find(id);
    if (found != agents_.end()) channel = found->second.channel;
  }
  if (channel == nullptr) {
    return absl::UnavailableError(fmt::format("agent {} is not connected", id));
  }
  if (!channel->Send(message)) {
    return absl::UnavailableError(fmt::format("agent {} does not take messages", id));
  }
  return absl::OkStatus();
}

std::vector<v1::Agent> AgentRegistry::Agents() const {
  absl::MutexLock lock(&mutex_);
  std::vector<v1::Agent> agents;
  agents.reserve(agents_.size());
  for (const auto& [id, entry] : agents_) agents.push_back(entry.agent);
  return agents;
}

std::optional<v1::Agent> AgentRegistry::Find(const std::string& id) const {
  absl::MutexLock lock(&mutex_);
  const auto found = agents_.find(id);
  if (found == agents_.end()) return std::nullopt;
  return found->second.agent;
}

std::optional<ClockReading> AgentRegistry::ClockOf(const std::string& id) const {
  absl::MutexLock lock(&mutex_);
  const auto found = agents_.find(id);
  if (found == agents_.end() || found->second.channel == nullptr || !found->second.clock_known) {
    return std::nullopt;
  }
  return ClockReading{found->second.clock_offset, found->second.clock_uncertainty};
}

ClockedUpdate AgentRegistry::OnControllerClock(const std::string& id,
                                               v1::InjectionUpdate update) const {
  Nanoseconds offset{0};
  Nanoseconds uncertainty = kUnknownClock;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = agents_.find(id);
    if (found != agents_.end() && found->second.clock_known) {
      offset = found->second.clock_offset;
      uncertainty = found->second.clock_uncertainty;
    }
  }
  if (update.has_applied_at()) Move(update.mutable_applied_at(), offset);
  if (update.has_first_impact_at()) Move(update.mutable_first_impact_at(), offset);
  if (update.has_ended_at()) Move(update.mutable_ended_at(), offset);
  for (v1::InjectionEvent& event : *update.mutable_events()) {
    if (event.has_at()) Move(event.mutable_at(), offset);
  }
  return {std::move(update), uncertainty};
}

void AgentRegistry::CloseAll(const absl::Status& status) {
  std::vector<std::shared_ptr<AgentChannel>> channels;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [id, entry] : agents_) {
      if (entry.channel != nullptr) channels.push_back(entry.channel);
    }
  }
  for (const auto& channel : channels) channel->Close(status);
}

AgentRegistry::Entry* AgentRegistry::Current(const std::string& id, Connection connection) {
  const auto found = agents_.find(id);
  if (found == agents_.end() || found->second.connection != connection ||
      found->second.channel == nullptr) {
    return nullptr;
  }
  return &found->second;
}

void AgentRegistry::ForgetOld() {
  const SystemTime before = clock_.System() - kForgetAfter;
  for (auto it = agents_.begin(); it != agents_.end();) {
    const bool old =
        it->second.channel == nullptr && FromProto(it->second.agent.last_seen_at()) < before;
    it = old ? agents_.erase(it) : std::next(it);
  }
}

}  // namespace firedrill::controller
