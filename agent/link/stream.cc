// SPDX-License-Identifier: Apache-2.0
#include "agent/link/stream.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <utility>

#include "absl/synchronization/notification.h"
#include "firedrill/v1/agent_link.grpc.pb.h"
#include "proto/support/grpc_status.h"
#include "proto/support/outbound_queue.h"

namespace firedrill::agent {
namespace {

constexpr std::size_t kMostWaiting = 4096;
constexpr int kLargestMessage = 1 << 20;

std::shared_ptr<grpc::Channel> Dial(const std::string& controller,
                                    const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, kLargestMessage);
  // No measuring of the line after each message: there is never much under way.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  // Each attempt dials anew: the waiting between attempts is ours, not the pool's.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  // A proxy of the environment is not for a controller.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(controller, credentials, arguments);
}

class GrpcStream final : public Stream,
                         public grpc::ClientBidiReactor<v1::ConnectRequest, v1::ConnectResponse> {
 public:
  GrpcStream(std::shared_ptr<grpc::Channel> channel, Events events)
      : stub_(v1::AgentLink::NewStub(std::move(channel))),
        events_(std::move(events)),
        queue_(kMostWaiting, [this](const v1::ConnectRequest* message) { StartWrite(message); }) {}

  ~GrpcStream() override {
    context_.TryCancel();
    done_.WaitForNotification();
  }

  void Begin() {
    stub_->async()->Connect(&context_, this);
    AddHold();  // until Release: writes are started outside reactions
    StartRead(&incoming_);
    StartCall();
  }

  bool Push(v1::ConnectRequest message) override { return queue_.Push(std::move(message)); }

  void Finish() override {
    queue_.Drain([this] {
      if (!released_) StartWritesDone();
    });
  }

  void Cancel() override { context_.TryCancel(); }

  std::string peer() const override { return context_.peer(); }

  void OnReadDone(bool ok) override {
    if (!ok) return Release();
    events_.on_message(incoming_);
    StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override { queue_.OnWriteDone(ok); }

  void OnDone(const grpc::Status& status) override {
    events_.on_end(FromGrpc(status));
    done_.Notify();
  }

 private:
  // After this nothing outside reactions starts anything.
  void Release() {
    queue_.Close();
    if (!released_.exchange(true)) RemoveHold();
  }

  const std::unique_ptr<v1::AgentLink::Stub> stub_;
  const Events events_;
  grpc::ClientContext context_;
  v1::ConnectResponse incoming_;
  OutboundQueue<v1::ConnectRequest> queue_;
  std::atomic<bool> released_{false};
  absl::Notification done_;  // gRPC holds a bare pointer until OnDone
};

}  // namespace

std::shared_ptr<Stream> Stream::Open(const std::string& controller,
                                     const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                                     Events events) {
  auto stream = std::make_shared<GrpcStream>(Dial(controller, credentials), std::move(events));
  stream->Begin();
  return stream;
}

}  // namespace firedrill::agent
