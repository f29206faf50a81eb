// SPDX-License-Identifier: Apache-2.0
#include "tests/lib/fake_controller.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <set>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "firedrill/v1/agent_link.grpc.pb.h"
#include "proto/support/outbound_queue.h"
#include "proto/support/status_macros.h"
#include "proto/support/time.h"
#include "proto/support/version.h"
#include "tests/lib/process.h"

namespace firedrill::test {
namespace {

// What a test calls "a" is another injection than the "a" of a test that runs beside it. A machine
// that boots again (tests/kernels/run --boots) runs one test alone, by a new process each time.
std::string Suffix() {
  return getenv("FIREDRILL_BOOT") == nullptr ? fmt::format(":{}", getpid()) : "";
}

std::string InTest(const std::string& id) {
  const std::string suffix = Suffix();
  const std::size_t at = id.size() < suffix.size() ? 0 : id.size() - suffix.size();
  return id.compare(at, suffix.size(), suffix) == 0 ? id.substr(0, at) : id;
}

// The order with the names that its injections have on the host.
v1::ConnectResponse OnHost(v1::ConnectResponse message) {
  const auto name = [](std::string* id) { *id = FakeController::OnHost(*id); };
  if (message.has_apply()) name(message.mutable_apply()->mutable_injection_id());
  if (message.has_end()) name(message.mutable_end()->mutable_injection_id());
  if (message.has_renew()) {
    for (std::string& id : *message.mutable_renew()->mutable_injection_ids()) name(&id);
  }
  return message;
}

v1::InjectionUpdate InTest(v1::InjectionUpdate update) {
  update.set_injection_id(InTest(update.injection_id()));
  return update;
}

class Server;

class Session : public grpc::ServerBidiReactor<v1::ConnectRequest, v1::ConnectResponse> {
 public:
  explicit Session(Server& server, grpc::CallbackServerContext* context)
      : server_(server), context_(context), queue_(1024, [this](const auto* m) { StartWrite(m); }) {
    StartRead(&incoming_);
  }
  bool Push(v1::ConnectResponse message) { return queue_.Push(std::move(message)); }
  void Cancel() { context_->TryCancel(); }

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override { queue_.OnWriteDone(ok); }
  void OnCancel() override {}
  void OnDone() override;

 private:
  Server& server_;
  grpc::CallbackServerContext* const context_;
  v1::ConnectRequest incoming_;
  OutboundQueue<v1::ConnectResponse> queue_;
};

class Server : public FakeController, public v1::AgentLink::CallbackService {
 public:
  explicit Server(Options options) : options_(std::move(options)) {
    if (options_.version.major() == 0) options_.version = OwnProtocolVersion();
  }
  ~Server() override {
    Hang();
    if (server_) server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(2));
  }

  absl::Status Listen() {
    ASSIGN_OR_RETURN(const auto credentials, MakeServerCredentials(options_.credentials));
    grpc::ServerBuilder builder;
    builder.AddListeningPort(fmt::format("127.0.0.1:{}", options_.port), credentials, &port_);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    if (server_ && port_ != 0) return absl::OkStatus();
    return absl::UnavailableError("the fake controller cannot listen");
  }

  grpc::ServerBidiReactor<v1::ConnectRequest, v1::ConnectResponse>* Connect(
      grpc::CallbackServerContext* context) override {
    auto* session = new Session(*this, context);
    absl::MutexLock lock(&mutex_);
    sessions_.insert(session);
    newest_ = session;
    return session;
  }

  void OnMessage(Session& session, const v1::ConnectRequest& message) {
    const SystemTime now = Clock::Real().System() + options_.clock_ahead;
    absl::MutexLock lock(&mutex_);
    v1::ConnectResponse reply;
    if (message.has_hello()) {
      v1::Hello hello = message.hello();
      for (v1::InjectionUpdate& update : *hello.mutable_live()) {
        update = InTest(std::move(update));
        updates_.push_back(update);
      }
      hellos_.push_back(std::move(hello));
      *reply.mutable_welcome()->mutable_version() = options_.version;
      *reply.mutable_welcome()->mutable_heartbeat_interval() = ToProto(options_.heartbeat_interval);
      reply.mutable_welcome()->set_controller_instance("fake");
    } else if (message.has_heartbeat()) {
      heartbeat_ = message.heartbeat();
      reply.mutable_heartbeat_reply()->set_sequence(message.heartbeat().sequence());
      *reply.mutable_heartbeat_reply()->mutable_received_at() = ToProto(now);
      *reply.mutable_heartbeat_reply()->mutable_sent_at() = ToProto(now);
    } else if (message.has_update()) {
      updates_.push_back(InTest(message.update()));
      return;
    }
    if (!silent_) static_cast<void>(session.Push(reply));
  }

  void Remove(Session* session) {
    absl::MutexLock lock(&mutex_);
    sessions_.erase(session);
    if (newest_ == session) newest_ = nullptr;
  }

  std::string address() const override { return fmt::format("127.0.0.1:{}", port_); }
  int port() const override { return port_; }
  bool Send(const v1::ConnectResponse& message) override {
    absl::MutexLock lock(&mutex_);
    return newest_ != nullptr && newest_->Push(test::OnHost(message));
  }
  void FallSilent() override {
    absl::MutexLock lock(&mutex_);
    silent_ = true;
  }
  void Hang() override {
    absl::MutexLock lock(&mutex_);
    for (Session* session : sessions_) session->Cancel();
  }
  std::vector<v1::Hello> hellos() const override {
    absl::MutexLock lock(&mutex_);
    return hellos_;
  }
  std::optional<v1::Heartbeat> last_heartbeat() const override {
    absl::MutexLock lock(&mutex_);
    return heartbeat_;
  }
  std::vector<v1::InjectionUpdate> updates(const std::string& id) const override {
    absl::MutexLock lock(&mutex_);
    std::vector<v1::InjectionUpdate> found;
    std::copy_if(updates_.begin(), updates_.end(), std::back_inserter(found),
                 [&](const auto& update) { return update.injection_id() == id; });
    return found;
  }
  int streams() const override {
    absl::MutexLock lock(&mutex_);
    return static_cast<int>(sessions_.size());
  }

 private:
  Options options_;
  int port_ = 0;
  mutable absl::Mutex mutex_;
  std::set<Session*> sessions_;
  Session* newest_ = nullptr;
  bool silent_ = false;
  std::vector<v1::Hello> hellos_;
  std::optional<v1::Heartbeat> heartbeat_;
  std::vector<v1::InjectionUpdate> updates_;
  std::unique_ptr<grpc::Server> server_;
};

void Session::OnReadDone(bool ok) {
  if (!ok) {
    queue_.Close();
    Finish(grpc::Status::OK);
    return;
  }
  server_.OnMessage(*this, incoming_);
  StartRead(&incoming_);
}

void Session::OnDone() {
  server_.Remove(this);
  delete this;
}

}  // namespace

std::string FakeController::OnHost(const std::string& id) { return id + Suffix(); }

absl::StatusOr<std::unique_ptr<FakeController>> FakeController::Start() { return Start(Options()); }

absl::StatusOr<std::unique_ptr<FakeController>> FakeController::Start(Options options) {
  auto server = std::make_unique<Server>(std::move(options));
  RETURN_IF_ERROR(server->Listen());
  return server;
}

bool FakeController::Apply(const std::string& id, const v1::Fault& fault,
                           std::optional<Nanoseconds> duration, Nanoseconds lease) {
  v1::ConnectResponse message;
  message.mutable_apply()->set_injection_id(id);
  message.mutable_apply()->set_run_id("run");
  *message.mutable_apply()->mutable_fault() = fault;
  if (duration) *message.mutable_apply()->mutable_duration() = ToProto(*duration);
  *message.mutable_apply()->mutable_lease() = ToProto(lease);
  return Send(message);
}

bool FakeController::End(const std::string& id) {
  v1::ConnectResponse message;
  message.mutable_end()->set_injection_id(id);
  return Send(message);
}

bool FakeController::Renew(const std::string& id, Nanoseconds lease) {
  v1::ConnectResponse message;
  message.mutable_renew()->add_injection_ids(id);
  *message.mutable_renew()->mutable_lease() = ToProto(lease);
  return Send(message);
}

bool FakeController::WaitForHello(Nanoseconds within, std::size_t count) const {
  return WaitFor([&] { return hellos().size() >= count; }, within);
}

std::optional<v1::InjectionUpdate> FakeController::WaitForUpdate(
    const std::string& id, const std::function<bool(const v1::InjectionUpdate&)>& wanted,
    Nanoseconds within) const {
  std::optional<v1::InjectionUpdate> found;
  WaitFor(
      [&] {
        for (const auto& update : updates(id)) {
          if (!wanted(update)) continue;
          found = update;
          return true;
        }
        return false;
      },
      within);
  return found;
}

std::optional<v1::InjectionUpdate> FakeController::WaitForState(const std::string& id,
                                                                v1::InjectionState state,
                                                                Nanoseconds within) const {
  return WaitForUpdate(
      id, [&](const v1::InjectionUpdate& update) { return update.state() == state; }, within);
}

}  // namespace firedrill::test
