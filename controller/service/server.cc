// SPDX-License-Identifier: Apache-2.0
#include "controller/service/server.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <utility>

#include "proto/support/status_macros.h"

namespace firedrill::controller {
namespace {

constexpr int kMostReceivedBytes = 4 << 20;  // the largest experiment is far smaller
constexpr int kMostSentBytes = 64 << 20;     // a run with all of its samples
constexpr int kKeepaliveMs = 10'000;
constexpr int kKeepaliveTimeoutMs = 5'000;
constexpr int kFastestPingMs = 5'000;

class Server : public GrpcServer {
 public:
  explicit Server(std::unique_ptr<grpc::Server> server, std::vector<int> ports)
      : server_(std::move(server)), ports_(std::move(ports)) {}
  ~Server() override { Shutdown(Nanoseconds(0)); }

  const std::vector<int>& ports() const override { return ports_; }

  void Shutdown(Nanoseconds patience) override {
    server_->Shutdown(std::chrono::time_point_cast<std::chrono::system_clock::duration>(
        Clock::Real().System() + patience));
  }

 private:
  std::unique_ptr<grpc::Server> server_;
  const std::vector<int> ports_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(
    const std::vector<std::string>& addresses, const CredentialOptions& credentials,
    const std::vector<grpc::Service*>& services) {
  if (credentials.insecure) {
    for (const std::string& address : addresses) RETURN_IF_ERROR(CheckLoopback(address));
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> server_credentials,
                   MakeServerCredentials(credentials));
  grpc::ServerBuilder builder;
  std::vector<int> ports(addresses.size(), 0);
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    builder.AddListeningPort(addresses[i], server_credentials, &ports[i]);
  }
  for (grpc::Service* service : services) builder.RegisterService(service);
  builder.SetMaxReceiveMessageSize(kMostReceivedBytes);
  builder.SetMaxSendMessageSize(kMostSentBytes);
  // Without these a second controller would share the port, and half of the agents.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kFastestPingMs);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    if (server == nullptr || ports[i] == 0) {
      return absl::UnavailableError(fmt::format(
          "--listen {}: cannot listen there; the address must be host:port of this machine and not "
          "in use",
          addresses[i]));
    }
  }
  return std::make_unique<Server>(std::move(server), std::move(ports));
}

}  // namespace firedrill::controller
