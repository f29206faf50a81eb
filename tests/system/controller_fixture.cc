// SPDX-License-Identifier: Apache-2.0
#include "tests/system/controller_fixture.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <regex>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/support/clock.h"
#include "proto/support/time.h"
#include "proto/support/version.h"

namespace firedrill {

ControllerProcess::ControllerProcess(std::vector<std::string> flags, bool tls)
    : flags_(std::move(flags)), tls_(tls) {}

ControllerProcess::~ControllerProcess() {
  if (pid_ > 0) Kill();
}

std::string ControllerProcess::address() const { return "127.0.0.1:" + std::to_string(port_); }

std::string ControllerProcess::Log() const {
  return test::ReadFile(folder_.path() + "/log" + std::to_string(starts_));
}

void ControllerProcess::Start() {
  ++starts_;
  // Nobody takes this one while a restart leaves it.
  if (port_ == 0) port_ = test::FreePort();
  const char* build = std::getenv("FIREDRILL_BUILD_DIR");
  ASSERT_NE(build, nullptr) << "run by ctest, or with FIREDRILL_BUILD_DIR";
  std::vector<std::string> words = {std::string(build) + "/controller/firedrill-controller",
                                    "--listen", address(), "--data", folder_.path() + "/data"};
  const bool http = std::find(flags_.begin(), flags_.end(), "--http-listen") != flags_.end();
  if (!http) words.insert(words.end(), {"--http-listen", ""});
  if (!tls_) words.emplace_back("--insecure");
  words.insert(words.end(), flags_.begin(), flags_.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string log = folder_.path() + "/log" + std::to_string(starts_);
  const int log_fd = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(log_fd, 2);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(log_fd);
  const std::regex listening("operators on 127.0.0.1 port ([0-9]+)");
  const std::regex serving("webhook/pager on [^ ]+ port [0-9]+");  // later than the other
  WaitUntil(
      [&] {
        std::smatch match;
        const std::string text = Log();
        if (!std::regex_search(text, match, listening)) return false;
        if (http && !std::regex_search(text, serving)) return false;
        port_ = std::stoi(match[1]);
        return true;
      },
      "the controller listens");
}

void ControllerProcess::Kill() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

int ControllerProcess::Terminate() {
  kill(pid_, SIGTERM);
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return status;
}

std::unique_ptr<v1::OperatorService::Stub> ControllerProcess::Operator() const {
  return v1::OperatorService::NewStub(
      grpc::CreateChannel(address(), grpc::InsecureChannelCredentials()));
}

FakeAgent::FakeAgent(std::string address, std::string id, std::map<std::string, std::string> labels,
                     std::vector<std::string> addresses)
    : address_(std::move(address)),
      id_(std::move(id)),
      labels_(std::move(labels)),
      addresses_(std::move(addresses)),
      thread_([this] { Loop(); }),
      ticker_([this] { Tick(); }) {}

FakeAgent::~FakeAgent() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    if (context_ != nullptr) context_->TryCancel();
  }
  thread_.join();
  ticker_.join();
}

void FakeAgent::Loop() {
  while (true) {
    bool away = false;
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return;
      away = away_;
    }
    if (!away) Session();
    absl::SleepFor(absl::Milliseconds(100));
  }
}

void FakeAgent::Session() {
  // Not among the channels that share connections: a dial that was refused while the controller was
  // away would make an operator's next call fail at once.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  auto stub = v1::AgentLink::NewStub(
      grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext* context = nullptr;
  v1::ConnectRequest hello;
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_ || away_) return;
    context_ = std::make_unique<grpc::ClientContext>();
    context = context_.get();
    *hello.mutable_hello()->mutable_version() = OwnProtocolVersion();
    hello.mutable_hello()->set_agent_id(id_);
    hello.mutable_hello()->mutable_labels()->insert(labels_.begin(), labels_.end());
    hello.mutable_hello()->set_environment("staging");
    hello.mutable_hello()->set_instance(id_ + "-1");
    hello.mutable_hello()->set_boot_id("boot");
    hello.mutable_hello()->set_software_version(SoftwareVersion());
    for (const std::string& address : addresses_) hello.mutable_hello()->add_addresses(address);
    for (const char* fault : {"packet_loss", "latency", "cpu", "process_kill", "partition"}) {
      v1::FaultSupport* support = hello.mutable_hello()->add_faults();
      support->set_fault(fault);
      support->set_supported(true);
    }
    for (const std::string& ability : lacking_) {
      v1::Ability* lacks = hello.mutable_hello()->add_abilities();
      lacks->set_name(ability);
      lacks->set_reason("the test says so");
    }
    for (const auto& [injection, held] : held_) *hello.mutable_hello()->add_live() = held.update;
  }
  {
    absl::MutexLock lock(&write_mutex_);
    stream_ = stub->Connect(context);
    stream_->Write(hello);
  }
  v1::ConnectResponse response;
  auto* stream = [this] {
    absl::MutexLock lock(&write_mutex_);
    return stream_.get();
  }();
  while (stream->Read(&response)) Take(response);
  {
    absl::MutexLock lock(&mutex_);
    connected_ = false;
    context->TryCancel();
  }
  stream->Finish().error_code();
  {
    absl::MutexLock lock(&write_mutex_);
    stream_.reset();
  }
  absl::MutexLock lock(&mutex_);
  context_.reset();
}

void FakeAgent::Tick() {
  for (std::uint64_t sequence = 0;; ++sequence) {
    absl::SleepFor(absl::Milliseconds(50));
    std::vector<v1::InjectionUpdate> ended;
    bool connected = false;
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return;
      connected = connected_;
      for (auto& [injection, held] : held_) {
        if (held.update.state() != v1::INJECTION_STATE_ACTIVE) continue;
        if (held.preview) {
          (*held.update.mutable_counters())["packets_matched"] += 1;
          if (sequence % 10 == 0) ended.push_back(held.update);  // told as it goes
        }
        if (absl::Now() >= held.lease_ends) End(held, v1::END_REASON_LEASE);
        if (absl::Now() >= held.ends) End(held, v1::END_REASON_DURATION);
        if (held.update.state() == v1::INJECTION_STATE_ENDED) ended.push_back(held.update);
      }
    }
    for (const v1::InjectionUpdate& update : ended) Tell(update);
    if (connected && sequence % 10 == 0) SendHeartbeat(sequence);
  }
}

void FakeAgent::SendHeartbeat(std::uint64_t sequence) {
  v1::ConnectRequest message;
  {
    absl::MutexLock lock(&mutex_);
    *message.mutable_heartbeat() = heartbeat_;
  }
  message.mutable_heartbeat()->set_sequence(sequence);
  message.mutable_heartbeat()->set_clock_known(true);
  Write(message);
}

void FakeAgent::Take(const v1::ConnectResponse& message) {
  // The welcome comes before the controller's registry knows the stream; a heartbeat is answered
  // only after.
  if (message.has_welcome()) SendHeartbeat(0);
  std::vector<v1::InjectionUpdate> updates;
  {
    absl::MutexLock lock(&mutex_);
    if (message.has_heartbeat_reply()) connected_ = true;
    if (message.has_renew()) {
      ++renewals_;
      for (const std::string& id : message.renew().injection_ids()) {
        if (held_.count(id) == 0) continue;
        held_[id].lease_ends = absl::Now() + absl::FromChrono(FromProto(message.renew().lease()));
      }
    }
    if (hangs_) return;
    if (message.has_apply() && held_.count(message.apply().injection_id()) == 0) {
      ++applies_;
      const v1::Apply& apply = message.apply();
      Held& held = held_[apply.injection_id()];
      held.update.set_injection_id(apply.injection_id());
      held.update.set_run_id(apply.run_id());
      held.update.set_state(v1::INJECTION_STATE_ACTIVE);
      *held.update.mutable_applied_at() = ToProto(Clock::Real().System());
      *held.update.mutable_first_impact_at() = ToProto(Clock::Real().System());
      held.update.set_impact_from_kernel(true);
      last_apply_ = apply;
      held.preview = apply.preview();
      if (!held.preview) (*held.update.mutable_counters())["packets_dropped"] = 1;
      if (apply.fault().has_process_kill()) {
        v1::InjectionEvent& event = *held.update.add_events();
        event.set_name(held.preview ? "match" : "respawned");
        *event.mutable_at() = ToProto(Clock::Real().System() + std::chrono::milliseconds(250));
        event.set_from_kernel(true);
        *event.mutable_uncertainty() = ToProto(std::chrono::milliseconds(2));
        event.set_detail("redis-server, pid 4711");
      }
      held.ends = absl::Now() + absl::FromChrono(FromProto(apply.duration()));
      held.lease_ends = absl::Now() + absl::FromChrono(FromProto(apply.lease()));
      updates.push_back(held.update);
    }
    if (message.has_end()) {
      for (auto& [id, held] : held_) {
        const bool meant =
            message.end().injection_id().empty() || message.end().injection_id() == id;
        if (!meant || held.update.state() != v1::INJECTION_STATE_ACTIVE) continue;
        End(held, v1::END_REASON_REQUESTED);
        updates.push_back(held.update);
      }
    }
  }
  for (const v1::InjectionUpdate& update : updates) Tell(update);
}

void FakeAgent::End(Held& held, v1::EndReason reason) {
  if (held.update.state() == v1::INJECTION_STATE_ENDED) return;
  held.update.set_state(v1::INJECTION_STATE_ENDED);
  held.update.set_end_reason(reason);
  held.update.set_end_proven(true);
  *held.update.mutable_ended_at() = ToProto(Clock::Real().System());
}

void FakeAgent::Tell(const v1::InjectionUpdate& update) {
  v1::ConnectRequest message;
  *message.mutable_update() = update;
  Write(message);
}

void FakeAgent::Write(const v1::ConnectRequest& message) {
  absl::MutexLock lock(&write_mutex_);
  if (stream_ != nullptr) stream_->Write(message);
}

void FakeAgent::WaitConnected() {
  WaitUntil(
      [this] {
        absl::MutexLock lock(&mutex_);
        return connected_;
      },
      "agent " + id_ + " is connected");
}

std::set<std::string> FakeAgent::Live() const {
  absl::MutexLock lock(&mutex_);
  std::set<std::string> live;
  for (const auto& [id, held] : held_) {
    if (held.update.state() == v1::INJECTION_STATE_ACTIVE) live.insert(id);
  }
  return live;
}

int FakeAgent::renewals() const {
  absl::MutexLock lock(&mutex_);
  return renewals_;
}

int FakeAgent::applies() const {
  absl::MutexLock lock(&mutex_);
  return applies_;
}

v1::Apply FakeAgent::last_apply() const {
  absl::MutexLock lock(&mutex_);
  return last_apply_;
}

void FakeAgent::Hang(bool hang) {
  absl::MutexLock lock(&mutex_);
  hangs_ = hang;
}

void FakeAgent::StayAway(bool away) {
  absl::MutexLock lock(&mutex_);
  away_ = away;
  if (away && context_ != nullptr) context_->TryCancel();
}

void FakeAgent::Beat(v1::Heartbeat heartbeat) {
  absl::MutexLock lock(&mutex_);
  heartbeat_ = std::move(heartbeat);
}

void FakeAgent::Lack(const std::string& ability) {
  absl::MutexLock lock(&mutex_);
  lacking_.insert(ability);
}

void FakeAgent::Invent(const std::string& run_id, const std::string& injection_id) {
  v1::InjectionUpdate update;
  {
    absl::MutexLock lock(&mutex_);
    Held& held = held_[injection_id];
    held.update.set_injection_id(injection_id);
    held.update.set_run_id(run_id);
    held.update.set_state(v1::INJECTION_STATE_ACTIVE);
    held.ends = held.lease_ends = absl::InfiniteFuture();
    update = held.update;
  }
  Tell(update);
}

void WaitUntil(const std::function<bool()>& done, const std::string& what, int seconds) {
  const absl::Time deadline = absl::Now() + absl::Seconds(seconds);
  while (!done()) {
    ASSERT_LT(absl::Now(), deadline) << "waited in vain until " << what;
    absl::SleepFor(absl::Milliseconds(20));
  }
}

}  // namespace firedrill
