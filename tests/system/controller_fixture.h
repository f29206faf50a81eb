// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "firedrill/v1/agent_link.grpc.pb.h"
#include "firedrill/v1/operator.grpc.pb.h"
#include "tests/lib/process.h"

namespace firedrill {

/// firedrill-controller as a process of its own, without TLS on a port of loopback, with a folder
/// of its own that is removed at the end.
class ControllerProcess {
 public:
  explicit ControllerProcess(std::vector<std::string> flags = {}, bool tls = false);
  ~ControllerProcess();
  ControllerProcess(const ControllerProcess&) = delete;
  ControllerProcess& operator=(const ControllerProcess&) = delete;

  /// Starts it, and waits until it listens, for HTTP too if the flags ask for it. After the first
  /// start the port stays the same.
  void Start();
  /// SIGKILL, and waits.
  void Kill();
  /// SIGTERM, and the exit status.
  int Terminate();

  std::string address() const;
  const std::string& folder() const { return folder_.path(); }
  /// What it has logged so far.
  std::string Log() const;
  std::unique_ptr<v1::OperatorService::Stub> Operator() const;

 private:
  const std::vector<std::string> flags_;
  const bool tls_;
  test::TemporaryFolder folder_;
  int port_ = 0;
  int starts_ = 0;
  pid_t pid_ = -1;
};

/// An agent that injects nothing but speaks the protocol: it reports what is asked of it as
/// applied, with impact, and ended when its time is over, or when it is asked to, or when no
/// renewal comes within the lease. It dials again when its stream breaks, and tells what lives. Of
/// a preview it counts a packet every 50 ms; to what a kill touched it lets something happen.
/// Thread-safe.
class FakeAgent {
 public:
  FakeAgent(std::string address, std::string id, std::map<std::string, std::string> labels,
            std::vector<std::string> addresses = {});
  ~FakeAgent();
  FakeAgent(const FakeAgent&) = delete;
  FakeAgent& operator=(const FakeAgent&) = delete;

  /// Until the controller counts it as connected.
  void WaitConnected();
  /// Injections that live now.
  std::set<std::string> Live() const;
  int renewals() const;
  int applies() const;
  /// The last order.
  v1::Apply last_apply() const;
  /// From now on it does not answer to Apply and End: a hung agent.
  void Hang(bool hang);
  /// Breaks the stream and stays away until told otherwise.
  void StayAway(bool away);
  /// What its heartbeats say from now on.
  void Beat(v1::Heartbeat heartbeat);
  /// From its next hello on it says that it lacks this.
  void Lack(const std::string& ability);
  /// Pretends to hold an injection that nobody asked for; told at once.
  void Invent(const std::string& run_id, const std::string& injection_id);

 private:
  struct Held {
    v1::InjectionUpdate update;
    bool preview = false;
    absl::Time ends;
    absl::Time lease_ends;
  };
  void Loop();
  void Session();
  void Tick();
  void SendHeartbeat(std::uint64_t sequence);
  void Take(const v1::ConnectResponse& message);
  void End(Held& held, v1::EndReason reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Write(const v1::ConnectRequest& message);
  void Tell(const v1::InjectionUpdate& update);

  const std::string address_;
  const std::string id_;
  const std::map<std::string, std::string> labels_;
  const std::vector<std::string> addresses_;
  mutable absl::Mutex mutex_;
  absl::Mutex write_mutex_;
  std::map<std::string, Held> held_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool connected_ ABSL_GUARDED_BY(mutex_) = false;
  bool hangs_ ABSL_GUARDED_BY(mutex_) = false;
  bool away_ ABSL_GUARDED_BY(mutex_) = false;
  int renewals_ ABSL_GUARDED_BY(mutex_) = 0;
  int applies_ ABSL_GUARDED_BY(mutex_) = 0;
  v1::Apply last_apply_ ABSL_GUARDED_BY(mutex_);
  v1::Heartbeat heartbeat_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> lacking_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::ClientContext> context_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::ClientReaderWriter<v1::ConnectRequest, v1::ConnectResponse>> stream_
      ABSL_GUARDED_BY(write_mutex_);
  std::thread thread_;  // the stream
  std::thread ticker_;  // ends, leases, heartbeats
};

/// Asks until `done` is true; fails the test after `seconds`.
void WaitUntil(const std::function<bool()>& done, const std::string& what, int seconds = 30);

}  // namespace firedrill
