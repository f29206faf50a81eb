// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "firedrill/v1/agent_link.pb.h"
#include "proto/support/clock.h"
#include "proto/support/credentials.h"

// A controller for tests of agents: a real server that says what the test wants.
namespace firedrill::test {

/// Serves AgentLink on a port of 127.0.0.1. Welcomes every agent, answers heartbeats, remembers
/// what agents say. Thread-safe.
class FakeController {
 public:
  struct Options {
    CredentialOptions credentials{.insecure = true};
    v1::ProtocolVersion version;  ///< Default: this program's.
    /// An agent leaves a controller that owes it three answers: not because a test was given no
    /// processor for some tenths of a second.
    Nanoseconds heartbeat_interval = std::chrono::seconds(1);
    Nanoseconds clock_ahead{0};  ///< Of the controller's clock.
    int port = 0;                ///< 0: a free one.
  };
  static absl::StatusOr<std::unique_ptr<FakeController>> Start(Options options);
  static absl::StatusOr<std::unique_ptr<FakeController>> Start();
  virtual ~FakeController() = default;

  virtual std::string address() const = 0;  ///< 127.0.0.1:PORT
  virtual int port() const = 0;

  /// To the agent connected last; false if none is.
  virtual bool Send(const v1::ConnectResponse& message) = 0;
  /// Answers nothing any more: neither welcome nor heartbeats.
  virtual void FallSilent() = 0;
  /// Ends every stream.
  virtual void Hang() = 0;

  virtual std::vector<v1::Hello> hellos() const = 0;
  virtual std::optional<v1::Heartbeat> last_heartbeat() const = 0;
  virtual std::vector<v1::InjectionUpdate> updates(const std::string& injection_id) const = 0;
  virtual int streams() const = 0;  ///< Open now.

  /// The name that an injection of this test has on the host. Tests run side by side, and the end
  /// of an injection is verified on the whole host; all other functions take and give the test's.
  static std::string OnHost(const std::string& injection_id);

  // In terms of the above.
  bool Apply(const std::string& id, const v1::Fault& fault, std::optional<Nanoseconds> duration,
             Nanoseconds lease);
  bool End(const std::string& id);
  bool Renew(const std::string& id, Nanoseconds lease);
  bool WaitForHello(Nanoseconds within = std::chrono::seconds(30), std::size_t count = 1) const;
  /// The first update of the injection for which `wanted` is true.
  std::optional<v1::InjectionUpdate> WaitForUpdate(
      const std::string& id, const std::function<bool(const v1::InjectionUpdate&)>& wanted,
      Nanoseconds within = std::chrono::seconds(15)) const;
  std::optional<v1::InjectionUpdate> WaitForState(
      const std::string& id, v1::InjectionState state,
      Nanoseconds within = std::chrono::seconds(15)) const;
};

}  // namespace firedrill::test
