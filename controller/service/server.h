// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/support/clock.h"
#include "proto/support/credentials.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace firedrill::controller {

/// The controller's one open port for agents and operators.
class GrpcServer {
 public:
  /// Listens on each of `addresses` (host:port; port 0: the kernel chooses). Without TLS only on
  /// loopback. INVALID_ARGUMENT names the address or the file that is wrong; UNAVAILABLE: an
  /// address is in use. `services` must outlive the server.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(
      const std::vector<std::string>& addresses, const CredentialOptions& credentials,
      const std::vector<grpc::Service*>& services);
  virtual ~GrpcServer() = default;

  /// The port of each address.
  virtual const std::vector<int>& ports() const = 0;
  /// Refuses new calls, and cancels those that are not over after `patience`.
  virtual void Shutdown(Nanoseconds patience) = 0;
};

}  // namespace firedrill::controller
