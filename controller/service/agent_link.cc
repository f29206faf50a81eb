// SPDX-License-Identifier: Apache-2.0
#include "controller/service/agent_link.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "controller/service/roles.h"
#include "firedrill/v1/agent_link.grpc.pb.h"
#include "proto/support/credentials.h"
#include "proto/support/grpc_status.h"
#include "proto/support/outbound_queue.h"
#include "proto/support/time.h"
#include "proto/support/version.h"

namespace firedrill::controller {
namespace {

constexpr std::size_t kMostQueued = 1024;  // messages to one agent that is slow
constexpr int kMostMessagesASecond = 500;  // of one agent
constexpr Nanoseconds kHelloWithin = std::chrono::seconds(10);
constexpr int kSilentHeartbeats = 3;

struct Context {
  AgentRegistry& registry;
  RunEngine& engine;
  Previews& previews;
  const Clock& clock;
  AgentLinkOptions options;
};

// One agent's stream. Kept alive by itself until gRPC is done with it, and by the registry as the
// agent's channel.
class AgentStream : public grpc::ServerBidiReactor<v1::ConnectRequest, v1::ConnectResponse>,
                    public AgentChannel,
                    public std::enable_shared_from_this<AgentStream> {
 public:
  AgentStream(const Context& context, std::string peer, std::string address)
      : context_(context),
        peer_(std::move(peer)),
        address_(std::move(address)),
        last_heard_(context.clock.Steady()) {}

  void Begin() {
    self_ = shared_from_this();
    StartRead(&request_);
  }

  bool Send(const v1::ConnectResponse& message) override { return out_.Push(message); }

  void Close(const absl::Status& status) override {
    out_.Close();
    if (!finished_.exchange(true)) Finish(ToGrpc(status));
  }

  void CloseIfSilent(SteadyTime now) {
    const Nanoseconds allowed =
        greeted_ ? kSilentHeartbeats * context_.options.heartbeat_interval : kHelloWithin;
    if (now - last_heard_.load() < allowed) return;
    Close(absl::DeadlineExceededError(
        fmt::format("nothing came from the agent for {}", FormatDuration(allowed))));
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      Close(absl::OkStatus());
      return;
    }
    last_heard_ = context_.clock.Steady();
    if (const absl::Status taken = Take(); !taken.ok()) {
      spdlog::warn("host={} peer={} stream closed: {}", agent_id_, address_,
                   std::string(taken.message()));
      Close(taken);
      return;
    }
    request_.Clear();
    StartRead(&request_);
  }

  void OnWriteDone(bool ok) override { out_.OnWriteDone(ok); }

  void OnCancel() override { Close(absl::CancelledError("the agent has gone")); }

  void OnDone() override {
    out_.Close();
    if (greeted_ && context_.registry.Disconnect(agent_id_, connection_)) {
      spdlog::warn("host={} gone", agent_id_);
      context_.previews.AgentGone(agent_id_);
      context_.engine.AgentGone(agent_id_);
    }
    self_.reset();  // the last line: nothing may be touched afterwards
  }

 private:
  absl::Status Take() {
    if (const absl::Status flood = CountMessage(); !flood.ok()) return flood;
    switch (request_.message_case()) {
      case v1::ConnectRequest::kHello:
        return TakeHello();
      case v1::ConnectRequest::kHeartbeat:
        return TakeHeartbeat();
      case v1::ConnectRequest::kUpdate:
        return TakeUpdate();
      case v1::ConnectRequest::MESSAGE_NOT_SET:
        return absl::OkStatus();  // of a newer agent
    }
    return absl::OkStatus();
  }

  absl::Status CountMessage() {
    const SteadyTime now = context_.clock.Steady();
    if (now - second_ >= std::chrono::seconds(1)) {
      second_ = now;
      messages_ = 0;
    }
    if (++messages_ <= kMostMessagesASecond) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        fmt::format("more than {} messages within a second", kMostMessagesASecond));
  }

  absl::Status TakeHello() {
    if (greeted_) return absl::FailedPreconditionError("a second hello on one stream");
    v1::Hello hello = std::move(*request_.mutable_hello());
    if (absl::Status version = CheckProtocolVersion(hello.version(), "agent"); !version.ok()) {
      return version;
    }
    if (absl::Status allowed = AuthorizeAgent(peer_, hello.agent_id(), context_.options.insecure);
        !allowed.ok()) {
      return allowed;
    }
    agent_id_ = hello.agent_id();
    v1::ConnectResponse response;
    v1::Welcome* welcome = response.mutable_welcome();
    *welcome->mutable_version() = OwnProtocolVersion();
    *welcome->mutable_heartbeat_interval() = ToProto(context_.options.heartbeat_interval);
    *welcome->mutable_lease() = ToProto(context_.options.lease);
    welcome->set_controller_instance(context_.options.instance);
    // Before the registry knows the stream: nothing else may be the first message.
    if (!Send(response)) return absl::CancelledError("the agent has gone");
    absl::StatusOr<AgentRegistry::Connection> connection =
        context_.registry.Connect(hello, peer_, shared_from_this());
    if (!connection.ok()) return connection.status();
    connection_ = *connection;
    greeted_ = true;
    spdlog::info("host={} connected from {} version={} environment={} kernel={}", agent_id_,
                 address_, hello.software_version(), hello.environment(), hello.kernel_release());
    context_.engine.AgentConnected(agent_id_);
    return absl::OkStatus();
  }

  absl::Status TakeHeartbeat() {
    const SystemTime received = context_.clock.System();
    if (!greeted_) return absl::FailedPreconditionError("the first message must be a hello");
    const v1::Heartbeat& heartbeat = request_.heartbeat();
    if (!context_.registry.OnHeartbeat(agent_id_, connection_, heartbeat)) return Replaced();
    if (heartbeat.draining() && !std::exchange(draining_, true)) {
      spdlog::info("host={} draining", agent_id_);
      context_.engine.AgentDraining(agent_id_);
    }
    v1::ConnectResponse response;
    v1::HeartbeatReply* reply = response.mutable_heartbeat_reply();
    reply->set_sequence(heartbeat.sequence());
    *reply->mutable_received_at() = ToProto(received);
    *reply->mutable_sent_at() = ToProto(context_.clock.System());
    if (!Send(response)) return absl::ResourceExhaustedError("the agent does not read its stream");
    return absl::OkStatus();
  }

  absl::Status TakeUpdate() {
    if (!greeted_) return absl::FailedPreconditionError("the first message must be a hello");
    if (!context_.registry.Heard(agent_id_, connection_)) return Replaced();
    if (context_.previews.Take(agent_id_, request_.update())) return absl::OkStatus();
    context_.engine.AgentUpdate(agent_id_, std::move(*request_.mutable_update()));
    return absl::OkStatus();
  }

  absl::Status Replaced() const {
    return absl::AbortedError(
        fmt::format("another stream of agent {} took this one's place", agent_id_));
  }

  const Context& context_;
  const std::string peer_;
  const std::string address_;
  v1::ConnectRequest request_;
  std::string agent_id_;
  AgentRegistry::Connection connection_ = 0;
  bool draining_ = false;
  SteadyTime second_;
  int messages_ = 0;
  std::atomic<bool> greeted_ = false;
  std::atomic<SteadyTime> last_heard_;
  std::atomic<bool> finished_ = false;
  std::shared_ptr<AgentStream> self_;
  OutboundQueue<v1::ConnectResponse> out_{
      kMostQueued, [this](const v1::ConnectResponse* message) { StartWrite(message); }};
};

class Service : public AgentLinkService, public v1::AgentLink::CallbackService {
 public:
  Service(AgentRegistry& registry, RunEngine& engine, Previews& previews, const Clock& clock,
          AgentLinkOptions options)
      : context_{registry, engine, previews, clock, std::move(options)},
        sweeper_([this] { Sweep(); }) {}

  ~Service() override {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
    }
    sweeper_.join();
  }

  grpc::Service* service() override { return this; }

  grpc::ServerBidiReactor<v1::ConnectRequest, v1::ConnectResponse>* Connect(
      grpc::CallbackServerContext* context) override {
    auto stream = std::make_shared<AgentStream>(context_, PeerName(*context->auth_context()),
                                                context->peer());
    {
      absl::MutexLock lock(&mutex_);
      streams_.push_back(stream);
    }
    stream->Begin();
    return stream.get();
  }

 private:
  // Closes what has fallen silent, once a second.
  void Sweep() {
    while (true) {
      std::vector<std::shared_ptr<AgentStream>> streams;
      {
        absl::MutexLock lock(&mutex_);
        mutex_.AwaitWithTimeout(absl::Condition(&stopping_), absl::Seconds(1));
        if (stopping_) return;
        streams_.erase(std::remove_if(streams_.begin(), streams_.end(),
                                      [](const auto& weak) { return weak.expired(); }),
                       streams_.end());
        for (const auto& weak : streams_) {
          if (auto stream = weak.lock()) streams.push_back(std::move(stream));
        }
      }
      for (const auto& stream : streams) stream->CloseIfSilent(context_.clock.Steady());
    }
  }

  const Context context_;
  absl::Mutex mutex_;
  std::vector<std::weak_ptr<AgentStream>> streams_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread sweeper_;
};

}  // namespace

std::unique_ptr<AgentLinkService> MakeAgentLinkService(AgentRegistry& registry, RunEngine& engine,
                                                       Previews& previews, const Clock& clock,
                                                       AgentLinkOptions options) {
  return std::make_unique<Service>(registry, engine, previews, clock, std::move(options));
}

}  // namespace firedrill::controller
