// SPDX-License-Identifier: Apache-2.0
// The kill of processes by a real agent, on processes that the test has started.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "proto/support/time.h"
#include "tests/host/agent_fixture.h"

namespace firedrill::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ProcessKillTest : public AgentTest {
 protected:
  // A program that waits, told apart by `mark` in its command line; `trap` is shell for its
  // signals. It forks nothing: a shell's child bears its command line until it executes another.
  std::unique_ptr<Child> Sleeper(const std::string& mark, const std::string& trap = "") {
    const std::string ready = folder_.path() + "/ready-" + mark + std::to_string(count_++);
    const std::string silent = ready + ".fifo";
    EXPECT_EQ(mkfifo(silent.c_str(), 0600), 0);
    auto child = Child::Start(
        {"/bin/sh", "-c",
         trap + " exec 3<>" + silent + "; : >" + ready + "; while :; do read nothing <&3; done",
         Mark(mark)},
        folder_.path() + "/sleeper");
    EXPECT_TRUE(child.ok());
    EXPECT_TRUE(WaitFor([&] { return access(ready.c_str(), F_OK) == 0; }, seconds(10)));
    return *std::move(child);
  }
  // Only this test's processes carry it.
  std::string Mark(const std::string& mark) const {
    return "fdkill-" + std::to_string(getpid()) + "-" + mark;
  }
  v1::Fault Kill(const std::string& mark) const {
    v1::Fault fault;
    fault.mutable_process_kill()->mutable_processes()->set_command_line(Mark(mark) + "$");
    return fault;
  }
  // How many live on: without those that have been sent SIGKILL and still take a moment to end.
  static std::ptrdiff_t Left(std::vector<std::unique_ptr<Child>>& crowd) {
    return std::count_if(crowd.begin(), crowd.end(),
                         [](auto& child) { return child->Running() && !Doomed(child->pid()); });
  }
  static bool Gone(Child& child, Nanoseconds within = seconds(10)) {
    return WaitFor([&] { return !child.Running(); }, within);
  }
  int count_ = 0;
};

TEST_F(ProcessKillTest, KillsOneSeesItsExitAndSparesBystanders) {
  const auto victim = Sleeper("victim"), bystander = Sleeper("bystander");
  ASSERT_TRUE(controller_->Apply("a", Kill("victim"), std::nullopt, seconds(30)));
  const auto ended = Ended("a");
  EXPECT_TRUE(Gone(*victim));
  EXPECT_TRUE(bystander->Running());
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_COMPLETED);
  EXPECT_TRUE(ended.end_proven());
  ASSERT_TRUE(ended.has_first_impact_at());
  EXPECT_LT(FromProto(ended.impact_uncertainty()), seconds(1));
  EXPECT_EQ(ended.counters().at("processes_found"), 1);
  EXPECT_EQ(ended.counters().at("processes_signalled"), 1);
  EXPECT_EQ(ended.counters().at("processes_exited"), 1);
  EXPECT_TRUE(WaitFor([&] { return agent_->Workers().empty(); }, seconds(5)));
}

TEST_F(ProcessKillTest, FindsByListeningPort) {
  const int port = FreePort();
  auto server =
      Child::Start({"/usr/bin/env", "perl", "-MIO::Socket::INET", "-e",
                    "my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => "
                    "$ARGV[0], Listen => 5) or die; sleep 1000",
                    std::to_string(port)},
                   folder_.path() + "/server");
  ASSERT_TRUE(server.ok());
  const auto listens = [&] {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool connected = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    close(fd);
    return connected;
  };
  ASSERT_TRUE(WaitFor(listens, seconds(10))) << (*server)->Log();
  v1::Fault fault;
  fault.mutable_process_kill()->mutable_processes()->set_listening_port(
      static_cast<std::uint32_t>(port));
  ASSERT_TRUE(controller_->Apply("a", fault, std::nullopt, seconds(30)));
  EXPECT_TRUE(Gone(**server));
  EXPECT_EQ(Ended("a").counters().at("processes_exited"), 1);
}

TEST_F(ProcessKillTest, NothingMatchedIsAClearErrorAndTouchesNothing) {
  ASSERT_TRUE(controller_->Apply("a", Kill("nobody"), std::nullopt, seconds(30)));
  const auto failed = controller_->WaitForState("a", v1::INJECTION_STATE_FAILED);
  ASSERT_TRUE(failed);
  EXPECT_NE(failed->error().find("no process with command line like"), std::string::npos)
      << failed->error();
}

TEST_F(ProcessKillTest, NeverTouchesTheAgentsFamilyNorItsAncestors) {
  v1::Fault fault;
  fault.mutable_process_kill()->mutable_processes()->set_pid(
      static_cast<std::uint32_t>(agent_->pid()));
  ASSERT_TRUE(controller_->Apply("agent", fault, std::nullopt, seconds(30)));
  const auto refused = controller_->WaitForState("agent", v1::INJECTION_STATE_FAILED);
  ASSERT_TRUE(refused);
  EXPECT_NE(refused->error().find("never touched"), std::string::npos) << refused->error();
  fault.mutable_process_kill()->mutable_processes()->set_pid(static_cast<std::uint32_t>(getpid()));
  ASSERT_TRUE(controller_->Apply("parent", fault, std::nullopt, seconds(30)));
  EXPECT_TRUE(controller_->WaitForState("parent", v1::INJECTION_STATE_FAILED));
  EXPECT_TRUE(agent_->Running());
}

TEST_F(ProcessKillTest, WhatOutlivesItsGraceIsKilled) {
  const auto stubborn = Sleeper("stubborn", "trap '' TERM;");
  v1::Fault fault = Kill("stubborn");
  fault.mutable_process_kill()->set_signal("TERM");
  *fault.mutable_process_kill()->mutable_grace() = ToProto(seconds(3));
  Begin("a", fault, std::nullopt);
  EXPECT_TRUE(stubborn->Running());
  EXPECT_TRUE(Gone(*stubborn));
  const auto ended = Ended("a");
  EXPECT_EQ(ended.counters().at("processes_killed_after_grace"), 1);
  EXPECT_EQ(ended.counters().at("processes_exited"), 1);
}

TEST_F(ProcessKillTest, AHandledSignalIsAnImpactWithoutAnExit) {
  const auto reloader = Sleeper("reloader", "trap ': >" + folder_.path() + "/reloaded' HUP;");
  v1::Fault fault = Kill("reloader");
  fault.mutable_process_kill()->set_signal("HUP");
  ASSERT_TRUE(controller_->Apply("a", fault, std::nullopt, seconds(30)));
  const auto ended = Ended("a");
  EXPECT_TRUE(ended.has_first_impact_at());
  EXPECT_EQ(ended.counters().at("processes_exited"), 0);
  EXPECT_TRUE(WaitFor([&] { return access((folder_.path() + "/reloaded").c_str(), F_OK) == 0; },
                      seconds(5)));
  EXPECT_TRUE(reloader->Running());
}

TEST_F(ProcessKillTest, KillsAShareAgainAndAgainUntilItsEnd) {
  std::vector<std::unique_ptr<Child>> crowd;
  for (int i = 0; i < 6; ++i) crowd.push_back(Sleeper("crowd"));
  v1::Fault fault = Kill("crowd");
  fault.mutable_process_kill()->mutable_pick()->set_count(1);
  *fault.mutable_process_kill()->mutable_repeat_every() = ToProto(milliseconds(300));
  const auto running = [&] {
    return std::count_if(crowd.begin(), crowd.end(), [](auto& child) { return child->Running(); });
  };
  Begin("a", fault, seconds(60));
  EXPECT_TRUE(WaitFor([&] { return running() <= 3; }, seconds(10)));
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_GE(Ended("a").counters().at("processes_exited"), 3);
  const auto at_end = Left(crowd);
  Pause(milliseconds(700));
  EXPECT_EQ(Left(crowd), at_end) << "it goes on killing after its end";
}

TEST_F(ProcessKillTest, SignallingTheSameAgainAndAgainHoldsItOnce) {
  const auto reloader = Sleeper("again", "trap ':' HUP;");
  v1::Fault fault = Kill("again");
  fault.mutable_process_kill()->set_signal("HUP");
  *fault.mutable_process_kill()->mutable_repeat_every() = ToProto(milliseconds(100));
  *fault.mutable_process_kill()->mutable_grace() = ToProto(seconds(3));
  const auto workers = Begin("a", fault, seconds(60));
  ASSERT_EQ(workers.size(), 1u);
  const auto descriptors = [&] {
    const auto files =
        std::filesystem::directory_iterator("/proc/" + std::to_string(workers[0]) + "/fd");
    return std::distance(begin(files), end(files));
  };
  const auto at_first = descriptors();
  Pause(milliseconds(1500));
  EXPECT_LE(descriptors(), at_first + 2) << "a descriptor for each round";
  EXPECT_TRUE(Gone(*reloader)) << "the grace begins with the first signal";
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_EQ(Ended("a").counters().at("processes_exited"), 1);
}

TEST_F(ProcessKillTest, AKilledAgentKillsNoMore) {
  std::vector<std::unique_ptr<Child>> crowd;
  for (int i = 0; i < 5; ++i) crowd.push_back(Sleeper("crowd"));
  v1::Fault fault = Kill("crowd");
  *fault.mutable_process_kill()->mutable_repeat_every() = ToProto(seconds(1));
  const auto workers = Begin("a", fault, seconds(60));
  agent_->Signal(SIGKILL);
  EXPECT_TRUE(WaitFor([&] { return !Alive(workers.at(0)); }, seconds(4)));
  const auto at_death = Left(crowd);
  EXPECT_GE(at_death, 2);
  Pause(seconds(2));
  EXPECT_EQ(Left(crowd), at_death);
}

TEST_F(ProcessKillTest, AStoppedWorkerIsEndedAndKillsNoMore) {
  std::vector<std::unique_ptr<Child>> crowd;
  for (int i = 0; i < 5; ++i) crowd.push_back(Sleeper("crowd"));
  v1::Fault fault = Kill("crowd");
  *fault.mutable_process_kill()->mutable_repeat_every() = ToProto(seconds(1));
  const auto workers = Begin("a", fault, seconds(60));
  ASSERT_EQ(kill(workers.at(0), SIGSTOP), 0);
  const auto ended = Ended("a", seconds(6));
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_WORKER_DIED);
  EXPECT_TRUE(ended.end_proven());
  EXPECT_FALSE(Alive(workers.at(0)));
}

TEST_F(ProcessKillTest, IsRefusedWhereItsOwnerHasNotAllowedIt) {
  agent_.reset();
  const std::size_t hellos = controller_->hellos().size();
  auto agent = AgentProcess::Start(state(), {"--controller", controller_->address(), "--insecure"});
  ASSERT_TRUE(agent.ok());
  agent_ = *std::move(agent);
  ASSERT_TRUE(controller_->WaitForHello(ToStart(), hellos + 1)) << agent_->Log();
  bool told = false;
  const v1::Hello hello = controller_->hellos().back();
  for (const auto& fault : hello.faults()) {
    if (fault.fault() != "process_kill") continue;
    told = true;
    EXPECT_FALSE(fault.supported());
    EXPECT_NE(fault.reason().find("--allow process_kill"), std::string::npos) << fault.reason();
  }
  EXPECT_TRUE(told);
  const auto victim = Sleeper("victim");
  ASSERT_TRUE(controller_->Apply("a", Kill("victim"), std::nullopt, seconds(30)));
  EXPECT_TRUE(controller_->WaitForState("a", v1::INJECTION_STATE_FAILED));
  EXPECT_TRUE(victim->Running());
}

}  // namespace
}  // namespace firedrill::test
