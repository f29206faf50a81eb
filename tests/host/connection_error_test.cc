// SPDX-License-Identifier: Apache-2.0
// Calls of sockets that fail, by a real agent and a real worker on this kernel. The programs stand
// at the root of the host's cgroups: each fault here names an address of this test's own, or its
// processes.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstring>

#include "agent/faults/connection_hooks.h"
#include "agent/faults/fault.h"
#include "agent/host/descriptor.h"
#include "agent/host/host.h"
#include "agent/journal/journal.h"
#include "proto/support/time.h"
#include "tests/host/agent_fixture.h"

namespace firedrill::test {
namespace {

using agent::Descriptor;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct End {
  sockaddr_storage address{};
  socklen_t size = 0;
  int family() const { return address.ss_family; }
};

End EndOf(const std::string& address, int port) {
  End end;
  auto* four = reinterpret_cast<sockaddr_in*>(&end.address);
  auto* six = reinterpret_cast<sockaddr_in6*>(&end.address);
  if (inet_pton(AF_INET, address.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(static_cast<std::uint16_t>(port));
    end.size = sizeof(*four);
  } else {
    EXPECT_EQ(inet_pton(AF_INET6, address.c_str(), &six->sin6_addr), 1) << address;
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(static_cast<std::uint16_t>(port));
    end.size = sizeof(*six);
  }
  return end;
}

enum class Call { kConnect, kSend, kSendConnected, kCreate, kCreateUnix, kFork };

// The call's errno; 0: it did not fail. UDP: nothing need be there at the other end.
int Do(Call call, const End& end, int type = SOCK_DGRAM) {
  if (call == Call::kFork) return 0;
  const int family = call == Call::kCreateUnix ? AF_UNIX : end.family();
  const Descriptor fd(socket(family, type | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return errno;
  const auto* address = reinterpret_cast<const sockaddr*>(&end.address);
  switch (call) {
    case Call::kConnect:
      return connect(fd.get(), address, end.size) == 0 ? 0 : errno;
    case Call::kSend:
      return sendto(fd.get(), "x", 1, 0, address, end.size) == 1 ? 0 : errno;
    case Call::kSendConnected:
      if (connect(fd.get(), address, end.size) != 0) return errno;
      return send(fd.get(), "x", 1, 0) == 1 ? 0 : errno;
    case Call::kCreate:
    case Call::kCreateUnix:
    case Call::kFork:
      break;
  }
  return 0;
}

// Another process that makes calls on demand, and a child of its own that does.
class Caller {
 public:
  explicit Caller(const char* name) {
    int own[2], child[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, own), 0);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, child), 0);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      prctl(PR_SET_NAME, name);
      close(own[0]);
      close(child[0]);
      Serve(own[1], child[1]);
    }
    close(own[1]);
    close(child[1]);
    own_ = Descriptor(own[0]);
    child_ = Descriptor(child[0]);
    EXPECT_EQ(Ask(own_, {Call::kCreateUnix, End()}), 0) << "it has its name by now";
  }
  ~Caller() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  int operator()(Call call, const End& end) { return Ask(own_, {call, end}); }
  void Fork() { EXPECT_EQ(Ask(own_, {Call::kFork, End()}), 0); }
  int Child(Call call, const End& end) { return Ask(child_, {call, end}); }

 private:
  struct Wish {
    Call call;
    End end;
  };
  static int Ask(const Descriptor& to, const Wish& wish) {
    int answer = -1;
    EXPECT_EQ(send(to.get(), &wish, sizeof(wish), 0), static_cast<ssize_t>(sizeof(wish)));
    EXPECT_EQ(recv(to.get(), &answer, sizeof(answer), 0), static_cast<ssize_t>(sizeof(answer)));
    return answer;
  }
  // Plain calls of the system only: this process was forked off one with threads.
  [[noreturn]] static void Serve(int socket, int for_child) {
    Wish wish;
    while (recv(socket, &wish, sizeof(wish), 0) == static_cast<ssize_t>(sizeof(wish))) {
      if (wish.call == Call::kFork && fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NAME, "grandchild");
        Serve(for_child, -1);
      }
      const int answer = Do(wish.call, wish.end);
      if (send(socket, &answer, sizeof(answer), 0) < 0) break;
    }
    _exit(0);
  }

  pid_t pid_;
  Descriptor own_, child_;
};

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
  static v1::Fault OfProcesses(const char* name, v1::SocketOperation operation) {
    v1::Fault fault;
    auto& connection = *fault.mutable_connection_error();
    connection.mutable_processes()->set_name(name);
    connection.add_operations(operation);
    return fault;
  }
  void ExpectGone(const std::string& id) {
    EXPECT_EQ(Do(Call::kConnect, end_), 0);
    const absl::Status gone = agent::VerifyConnectionHooksGone(id);
    EXPECT_TRUE(gone.ok()) << gone;
  }
};

TEST_F(ConnectionErrorTest, TheChosenEndsFailWithTheErrorAndNothingElse) {
  v1::Fault fault = Fault("EHOSTDOWN");
  fault.mutable_connection_error()->add_ports("4001-4002");
  EXPECT_EQ(Do(Call::kConnect, end_), 0) << "before";
  const SystemTime before = Clock::Real().System();
  Begin("a", fault, seconds(60));
  EXPECT_FALSE(agent::VerifyConnectionHooksGone("a").ok());
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
  EXPECT_GE(FromProto(seen->first_impact_at()), before);
  EXPECT_LE(FromProto(seen->first_impact_at()), after);
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
  Caller chosen("fd-chosen"), bystander("fd-other");
  chosen.Fork();
  v1::Fault fault = OfProcesses("fd-chosen", v1::SOCKET_OPERATION_CREATE);
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
  Caller chosen("fd-chosen");
  v1::Fault fault = OfProcesses("fd-chosen", v1::SOCKET_OPERATION_CONNECT);
  Begin("a", fault, seconds(60));
  EXPECT_EQ(chosen(Call::kConnect, end_), ECONNREFUSED);
  chosen.Fork();
  EXPECT_EQ(chosen.Child(Call::kConnect, end_), ECONNREFUSED) << "at once: it inherits";
  Caller unrelated("fd-chosen");
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
  Begin("a", Fault("EHOSTDOWN"), seconds(4));
  const SteadyTime start = Clock::Real().Steady();
  int failures = 0;
  while (Clock::Real().Steady() - start < milliseconds(3000)) {
    failures += Do(Call::kConnect, end_) == EHOSTDOWN ? 0 : 1;
    Pause(milliseconds(20));
  }
  EXPECT_EQ(failures, 0) << "it is renewed";
  EXPECT_TRUE(WaitFor([&] { return Do(Call::kConnect, end_) == 0; }, milliseconds(1500)));
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
  EXPECT_TRUE(agent::VerifyConnectionHooksGone("a").ok());
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
