// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "firedrill/v1/agent_link.pb.h"

namespace grpc {
class ChannelCredentials;
}  // namespace grpc

namespace firedrill::agent {

/// One stream to one controller, from dialling to its end. Thread-safe. Dropping the last reference
/// ends the stream and waits until on_end has returned, and for gRPC's threads if it is the
/// process' last: never on one of them, which would join itself and go on in freed memory
/// (grpc/grpc#37858).
class Stream {
 public:
  /// Both are called on gRPC's threads, never at the same time, and never from within a method of
  /// this class.
  struct Events {
    std::function<void(const v1::ConnectResponse&)> on_message;
    std::function<void(const absl::Status&)> on_end;  ///< Once, after which there is nothing more.
  };

  /// Dials `controller` (host:port). Returns at once; a failure is an end.
  static std::shared_ptr<Stream> Open(const std::string& controller,
                                      const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                                      Events events);
  virtual ~Stream() = default;

  /// False if the controller reads too slowly or the stream is over.
  [[nodiscard]] virtual bool Push(v1::ConnectRequest message) = 0;
  /// Writes what waits and then ends the stream in good order.
  virtual void Finish() = 0;
  /// Ends the stream at once. Idempotent.
  virtual void Cancel() = 0;
  /// The other end in gRPC's words; empty before its first message.
  virtual std::string peer() const = 0;
};

}  // namespace firedrill::agent
