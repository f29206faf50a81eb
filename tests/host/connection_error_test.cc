// SPDX-License-Identifier: Apache-2.0
// Calls of sockets that fail, by a real agent and a real worker on this kernel. The programs stand
// at the root of the host's cgroups: each fault here names an address of this test's own, or its
// processes.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <csignal>

#include "agent/faults/connection_hooks.h"
#include "agent/faults/fault.h"
#include "agent/host/host.h"
#include "agent/journal/journal.h"
#include "proto/support/time.h"
#include "tests/host/agent_fixture.h"
#include "tests/host/lib/socket_calls.h"

namespace firedrill::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ConnectionErrorTest : public AgentTest {
 protected:
  // A network of this process's own within loopback's.
  const std::string network_ = fmt::format("127.{}.{}", 64 + getpid() % 128, getpid() / 128 % 256);
  const End end_ = EndOf(network_ + ".1", 4001);

  v1::Fault Fault(const std::string& error, double percent = 100) const {
    v1::Fault fault;
    auto& connection = *fault.mutable_connection_error();
    connection.set_error(error);
    if (percent != 100) connection.set_percent(percent);
    connection.add_addresses(network_ + ".0/24");
    return fault;
  }
  // Only this test's processes bear it; a name has 15 characters at most.
  static std::string Chosen() { return fmt::format("fdc{}", getpid()); }
  static v1::Fault OfProcesses(const std::string& name, v1::SocketOperation operation) {
    v1::Fault fault;
    auto& connection = *fault.mutable_connection_error();
    connection.mutable_processes()->set_name(name);
    connection.add_operations(operation);
    return fault;
  }
  void ExpectGone(const std::string& id) {
    EXPECT_EQ(Do(Call::kConnect, end_), 0);
    const absl::Status gone = agent::VerifyConnectionHooksGone(FakeController::OnHost(id));
    EXPECT_TRUE(gone.ok()) << gone;
  }
};

TEST_F(ConnectionErrorTest, TheChosenEndsFailWithTheErrorAndNothingElse) {
  v1::Fault fault = Fault("EHOSTDOWN");
  fault.mutable_connection_error()->add_ports("4001-4002");
  EXPECT_EQ(Do(Call::kConnect, end_), 0) << "before";
  const SystemTime before = Clock::Real().System();
  Begin("a", fault, seconds(60));
  EXPECT_FALSE(agent::VerifyConnectionHooksGone(FakeController::OnHost("a")).ok());
  EXPECT_EQ(Do(Call::kConnect, end_), EHOSTDOWN);
  EXPECT_EQ(Do(Call::kConnect, end_, SOCK_STREAM), EHOSTDOWN);
  EXPECT_EQ(Do(Call::kConnect, EndOf(network_ + ".200", 4002)), EHOSTDOWN);
  EXPECT_EQ(Do(Call::kConnect, EndOf("::ffff:" + network_ + ".1", 4001)), EHOSTDOWN);
  const SystemTime after = Clock::Real().System();
  EXPECT_EQ(Do(Call::kConnect, EndOf(network_ + ".1", 4003)), 0) << "another port";
  EXPECT_EQ(Do(Call::kConnect, EndOf("127.0.0.2", 4001)), 0) << "another address";
  EXPECT_EQ(Do(Call::kConnect, EndOf("::1", 4001)), 0) << "another family";
  EXPECT_EQ(Do(Call::kSend, end_), 0) << "another call";
  const auto seen = controller_->WaitForUpdate("a", [](const v1::InjectionUpdate& update) {
    return update.has_first_impact_at() && update.counters().at("calls_failed") >= 4;
  });
  ASSERT_TRUE(seen) << agent_->Log();
  const Nanoseconds within = FromProto(seen->impact_uncertainty());
  EXPECT_GE(FromProto(seen->first_impact_at()) + within, before);
  EXPECT_LE(FromProto(seen->first_impact_at()) - within, after);
  EXPECT_EQ(seen->counters().at("calls_failed"), 4);
  EXPECT_EQ(seen->counters().at("calls_matched"), 4);
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  ExpectGone("a");
}

TEST_F(ConnectionErrorTest, IPv6EndsFailAndItsWholeIsNotIPv4) {
  v1::Fault fault;
  fault.mutable_connection_error()->add_addresses("::/0");
  fault.mutable_connection_error()->add_ports("4077");
  fault.mutable_connection_error()->add_operations(v1::SOCKET_OPERATION_CONNECT);
  fault.mutable_connection_error()->add_operations(v1::SOCKET_OPERATION_SEND);
  Begin("a", fault, seconds(60));
  EXPECT_EQ(Do(Call::kConnect, EndOf("::1", 4077)), ECONNREFUSED) << "unless said otherwise";
  EXPECT_EQ(Do(Call::kSend, EndOf("::1", 4077)), ECONNREFUSED);
  EXPECT_EQ(Do(Call::kConnect, EndOf("::1", 4078)), 0);
  EXPECT_EQ(Do(Call::kConnect, EndOf("127.0.0.1", 4077)), 0);
  EXPECT_EQ(Do(Call::kSend, EndOf("127.0.0.1", 4077)), 0);
}

TEST_F(ConnectionErrorTest, SendsWithAnAddressFail) {
  v1::Fault fault = Fault("ENETUNREACH");
  fault.mutable_connection_error()->add_operations(v1::SOCKET_OPERATION_SEND);
  Begin("a", fault, seconds(60));
  EXPECT_EQ(Do(Call::kSend, end_), ENETUNREACH);
  EXPECT_EQ(Do(Call::kSendConnected, end_), 0);
}

TEST_F(ConnectionErrorTest, ProcessesAndTheirDescendantsCannotCreateButBystandersCan) {
  Caller chosen(Chosen()), bystander("fd-other");
  chosen.Fork();
  v1::Fault fault = OfProcesses(Chosen(), v1::SOCKET_OPERATION_CREATE);
  fault.mutable_connection_error()->set_error("EMFILE");
  Begin("a", fault, seconds(60));
  EXPECT_EQ(chosen(Call::kCreate, end_), EMFILE);
  EXPECT_EQ(chosen(Call::kCreate, EndOf("::1", 1)), EMFILE);
  EXPECT_EQ(chosen.Child(Call::kCreate, end_), EMFILE) << "started before the fault";
  EXPECT_EQ(chosen(Call::kCreateUnix, end_), 0);
  EXPECT_EQ(bystander(Call::kCreate, end_), 0);
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  EXPECT_EQ(chosen(Call::kCreate, end_), 0);
}

TEST_F(ConnectionErrorTest, WhatIsStartedLaterIsFound) {
  Caller chosen(Chosen());
  v1::Fault fault = OfProcesses(Chosen(), v1::SOCKET_OPERATION_CONNECT);
  Begin("a", fault, seconds(60));
  EXPECT_EQ(chosen(Call::kConnect, end_), ECONNREFUSED);
  chosen.Fork();
  EXPECT_EQ(chosen.Child(Call::kConnect, end_), ECONNREFUSED) << "at once: it inherits";
  Caller unrelated(Chosen());
  EXPECT_TRUE(WaitFor([&] { return unrelated(Call::kConnect, end_) == ECONNREFUSED; }, seconds(5)))
      << "it has the chosen ones' name";
}

TEST_F(ConnectionErrorTest, AShareFails) {
  constexpr int kCalls = 20'000;
  constexpr double kShare = 0.3;
  Begin("a", Fault("ECONNREFUSED", 100 * kShare), seconds(60));
  int failed = 0;
  for (int i = 0; i < kCalls; ++i) failed += Do(Call::kConnect, end_) == ECONNREFUSED ? 1 : 0;
  // Five standard deviations: a false alarm in 1.7 million.
  const double bound = 5 * std::sqrt(kShare * (1 - kShare) / kCalls);
  EXPECT_NEAR(static_cast<double>(failed) / kCalls, kShare, bound);
  const auto seen = controller_->WaitForUpdate("a", [](const v1::InjectionUpdate& update) {
    return update.counters().count("calls_matched") &&
           update.counters().at("calls_matched") >= kCalls;
  });
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->counters().at("calls_failed"), failed);
}

TEST_F(ConnectionErrorTest, TheAgentsStreamAndFamilyAreSpared) {
  const std::string port = std::to_string(controller_->port());
  v1::Fault fault;
  fault.mutable_connection_error()->add_addresses("127.0.0.1");
  fault.mutable_connection_error()->add_addresses(network_ + ".0/24");
  fault.mutable_connection_error()->add_ports(port);
  Begin("a", fault, seconds(60));
  EXPECT_EQ(Do(Call::kConnect, EndOf(network_ + ".1", controller_->port())), ECONNREFUSED);
  EXPECT_EQ(Do(Call::kConnect, EndOf("127.0.0.1", controller_->port()), SOCK_STREAM), 0);
  const std::size_t hellos = controller_->hellos().size();
  controller_->Hang();
  EXPECT_TRUE(controller_->WaitForHello(seconds(15), hellos + 1)) << agent_->Log();
}

TEST_F(ConnectionErrorTest, EndsWithAKilledAndWithAStoppedWorker) {
  for (const int signal : {SIGKILL, SIGSTOP}) {
    const std::string id = signal == SIGKILL ? "killed" : "stopped";
    const auto workers = Begin(id, Fault("EHOSTDOWN"), seconds(60));
    ASSERT_EQ(workers.size(), 1u);
    ASSERT_EQ(Do(Call::kConnect, end_), EHOSTDOWN);
    ASSERT_EQ(kill(workers[0], signal), 0);
    // The kernel itself asks for the lease: before the agent has noticed anything.
    EXPECT_TRUE(WaitFor([&] { return Do(Call::kConnect, end_) == 0; }, milliseconds(2500)));
    EXPECT_TRUE(Ended(id, seconds(6)).end_proven());
    ExpectGone(id);
  }
}

TEST_F(ConnectionErrorTest, EndsWithAKilledAgentAndTheNextOneProvesIt) {
  Begin("a", Fault("EHOSTDOWN"), seconds(60));
  ASSERT_EQ(Do(Call::kConnect, end_), EHOSTDOWN);
  agent_->Signal(SIGKILL);
  EXPECT_TRUE(WaitFor([&] { return Do(Call::kConnect, end_) == 0; }, seconds(4)));
  StartAgent();
  const auto live = controller_->hellos().back().live();
  ASSERT_EQ(live.size(), 1);
  EXPECT_TRUE(live[0].end_proven()) << live[0].error();
  ExpectGone("a");
}

TEST_F(ConnectionErrorTest, LivesPastItsFirstLeaseAndEndsWithItsDuration) {
  Begin("a", Fault("EHOSTDOWN"), seconds(6));
  const SteadyTime start = Clock::Real().Steady();
  int failures = 0;
  while (Clock::Real().Steady() - start < milliseconds(3000)) {
    failures += Do(Call::kConnect, end_) == EHOSTDOWN ? 0 : 1;
    Pause(milliseconds(20));
  }
  EXPECT_EQ(failures, 0) << "it is renewed";
  EXPECT_TRUE(WaitFor([&] { return Do(Call::kConnect, end_) == 0; }, milliseconds(3500)));
  EXPECT_TRUE(Ended("a").end_proven());
}

TEST_F(ConnectionErrorTest, TwoFaultsAtATimeEndOneByOne) {
  v1::Fault narrow = Fault("EHOSTDOWN");
  narrow.mutable_connection_error()->add_ports("4001");
  v1::Fault other = Fault("ENETDOWN");
  other.mutable_connection_error()->add_ports("4002");
  const End second = EndOf(network_ + ".1", 4002);
  Begin("a", narrow, seconds(60));
  Begin("b", other, seconds(60));
  EXPECT_EQ(Do(Call::kConnect, end_), EHOSTDOWN);
  EXPECT_EQ(Do(Call::kConnect, second), ENETDOWN);
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  ExpectGone("a");
  EXPECT_EQ(Do(Call::kConnect, second), ENETDOWN);
}

TEST_F(ConnectionErrorTest, NobodyOfThatNameIsAClearError) {
  ASSERT_TRUE(controller_->Apply("a", OfProcesses("fd-nobody", v1::SOCKET_OPERATION_CONNECT),
                                 seconds(10), seconds(30)));
  const auto failed = controller_->WaitForState("a", v1::INJECTION_STATE_FAILED);
  ASSERT_TRUE(failed) << agent_->Log();
  EXPECT_NE(failed->error().find("no process with name 'fd-nobody'"), std::string::npos)
      << failed->error();
  EXPECT_TRUE(agent::VerifyConnectionHooksGone(FakeController::OnHost("a")).ok());
}

// In this process, as in a worker that is stopped: nobody takes the programs off.
class ConnectionLeaseTest : public testing::Test {
 protected:
  std::unique_ptr<agent::ActiveFault> Hold(const agent::InjectionRequest& request, bool preview) {
    const agent::FaultKind& kind = *agent::FindFaultKind(v1::Fault::kConnectionError);
    auto fault = (preview ? kind.preview : kind.apply)(request, context_);
    EXPECT_TRUE(fault.ok()) << fault.status();
    return fault.ok() ? *std::move(fault) : nullptr;
  }
  static double Count(const agent::ActiveFault& fault, const char* counter) {
    const auto impact = fault.Observe();
    return impact.ok() ? impact->counters.at(counter) : -1;
  }

  const std::string address_ =
      fmt::format("127.{}.{}.9", 64 + getpid() % 128, getpid() / 128 % 256);
  const End end_ = EndOf(address_, 4009);
  TemporaryFolder folder_;
  agent::Host host_;
  std::unique_ptr<agent::Journal> journal_ =
      agent::Journal::Open(folder_.path() + "/journal", "boot").value();
  std::shared_ptr<agent::TrafficEngine> traffic_;
  agent::WorkerContext context_{host_, *journal_, traffic_};
};

TEST_F(ConnectionLeaseTest, TheKernelItselfEndsWhatIsNotRenewed) {
  agent::InjectionRequest request;
  request.id = "lease";
  request.fault.mutable_connection_error()->add_addresses(address_);
  request.fault.mutable_connection_error()->set_error("EPERM");
  const auto fault = Hold(request, /*preview=*/false);
  ASSERT_NE(fault, nullptr);
  EXPECT_EQ(Do(Call::kConnect, end_), EPERM);
  EXPECT_TRUE(WaitFor([&] { return Do(Call::kConnect, end_) == 0; }, milliseconds(2200)));
  fault->Renew(Clock::Real().Steady() + seconds(30));
  EXPECT_EQ(Do(Call::kConnect, end_), EPERM);
  EXPECT_TRUE(fault->Revert().ok());
  EXPECT_TRUE(fault->Revert().ok()) << "idempotent";
  EXPECT_EQ(Do(Call::kConnect, end_), 0);
  EXPECT_GE(Count(*fault, "calls_failed"), 2) << "what it did stays readable";
}

TEST_F(ConnectionLeaseTest, APreviewCountsAndTouchesNothing) {
  agent::InjectionRequest request;
  request.id = "preview";
  request.fault.mutable_connection_error()->add_addresses(address_);
  const auto preview = Hold(request, /*preview=*/true);
  ASSERT_NE(preview, nullptr);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Do(Call::kConnect, end_), 0);
  EXPECT_EQ(Count(*preview, "calls_matched"), 3);
  EXPECT_EQ(Count(*preview, "calls_failed"), 0);
}

TEST_F(ConnectionLeaseTest, NonsenseIsRefused) {
  std::vector<agent::InjectionRequest> requests(5);
  requests[0].fault.mutable_connection_error()->set_error("ENOSUCH");
  requests[1].fault.mutable_connection_error()->set_percent(-1);
  requests[2].fault.mutable_connection_error()->set_percent(std::nan(""));
  requests[3].fault.mutable_connection_error()->add_addresses("10.0.0.0/40");
  requests[4].fault.mutable_connection_error()->add_ports("0");
  const agent::FaultKind& kind = *agent::FindFaultKind(v1::Fault::kConnectionError);
  for (const agent::InjectionRequest& request : requests) {
    EXPECT_EQ(kind.apply(request, context_).status().code(), absl::StatusCode::kInvalidArgument)
        << request.fault.ShortDebugString();
  }
}

}  // namespace
}  // namespace firedrill::test
