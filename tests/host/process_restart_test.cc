// SPDX-License-Identifier: Apache-2.0
// What follows a kill, by a real agent: which processes are chosen, the kernel's instants of their
// ends and of what comes back, how soon it answers, and killing until nothing comes back.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "agent/host/host.h"
#include "agent/host/processes.h"
#include "proto/support/time.h"
#include "tests/host/agent_fixture.h"

namespace firedrill::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ProcessRestartTest : public AgentTest {
 protected:
  // What a supervisor has started does not end with it.
  void TearDown() override {
    const auto processes = agent::ListProcesses(agent::Host());
    ASSERT_TRUE(processes.ok()) << processes.status();
    for (const agent::Process& process : *processes) {
      if (process.command_line.find(Mark("")) != npos) kill(process.pid, SIGKILL);
    }
  }
  // Only this test's processes carry it.
  std::string Mark(const std::string& mark) const {
    return "fdback-" + std::to_string(getpid()) + "-" + mark;
  }
  v1::Fault Kill(const std::string& mark) const {
    v1::Fault fault;
    fault.mutable_process_kill()->mutable_processes()->set_command_line(Mark(mark) + "$");
    return fault;
  }
  // It forks nothing: a shell's child bears its command line until it executes another.
  std::unique_ptr<Child> Sleeper(const std::string& mark) {
    auto child = Child::Start({"/usr/bin/perl", "-e", "sleep 1 while 1", Mark(mark)},
                              folder_.path() + "/log");
    EXPECT_TRUE(child.ok());
    EXPECT_TRUE(WaitFor([&] { return CommandLine((*child)->pid()).find(Mark(mark)) != npos; },
                        seconds(15)));
    return *std::move(child);
  }
  static std::string CommandLine(pid_t pid) {
    return ReadFile("/proc/" + std::to_string(pid) + "/cmdline");
  }
  // A supervisor that starts the perl script `body` with the mark, again and again, `times` times.
  std::unique_ptr<Child> Supervise(const std::string& mark, const std::string& body,
                                   int times = 1000) {
    const std::string script = folder_.Write(mark + ".pl", body);
    const std::string supervisor =
        folder_.Write(mark + ".sh", "n=0\nwhile [ $n -lt " + std::to_string(times) +
                                        " ]; do\n  n=$((n + 1))\n  " + "/usr/bin/perl " + script +
                                        " " + Mark(mark) + "\ndone\nexec sleep 1000\n");
    auto child = Child::Start({"/bin/sh", supervisor}, folder_.path() + "/supervisor");
    EXPECT_TRUE(child.ok());
    return *std::move(child);
  }
  // Lines that a script has written into `name`.
  std::vector<double> Written(const std::string& name) const {
    std::vector<double> values;
    std::ifstream file(folder_.path() + "/" + name);
    for (double value; file >> value;) values.push_back(value);
    return values;
  }
  // Perl that writes the instant into `name`.
  std::string Write(const std::string& name) const {
    return "use Time::HiRes qw(time sleep); open(my $f, '>>', '" + folder_.path() + "/" + name +
           "'); printf $f \"%.6f\\n\", time(); close $f;\n";
  }
  static double Seconds(const google::protobuf::Timestamp& at) {
    return std::chrono::duration<double>(FromProto(at).time_since_epoch()).count();
  }
  static const v1::InjectionEvent* Find(const v1::InjectionUpdate& update,
                                        const std::string& name) {
    for (const auto& event : update.events()) {
      if (event.name() == name) return &event;
    }
    return nullptr;
  }
  static constexpr std::size_t npos = std::string::npos;
};

TEST_F(ProcessRestartTest, KillsTheOldestTheNewestAndNeverTheExcluded) {
  // Start times have a hundredth of a second; the marks tell the three apart.
  std::vector<std::unique_ptr<Child>> crowd;
  for (int i = 0; i < 4; ++i) {
    crowd.push_back(Sleeper("crowd" + std::to_string(i)));
    Pause(milliseconds(30));
  }
  v1::Fault fault;
  auto& kill = *fault.mutable_process_kill();
  kill.mutable_processes()->set_command_line(Mark("crowd"));
  kill.mutable_exclude()->set_command_line(Mark("crowd") + "[03]$");
  kill.set_order(v1::PICK_OLDEST);
  ASSERT_TRUE(controller_->Apply("oldest", fault, std::nullopt, seconds(30)));
  const auto oldest = Ended("oldest");
  EXPECT_EQ(oldest.counters().at("processes_found"), 2) << "without the excluded ones";
  EXPECT_TRUE(WaitFor([&] { return !crowd[1]->Running(); }, seconds(5)));
  EXPECT_TRUE(crowd[2]->Running());
  // The first impact is the kernel's own instant, exact to the reading of two clocks.
  EXPECT_TRUE(oldest.impact_from_kernel());
  EXPECT_LT(FromProto(oldest.impact_uncertainty()), milliseconds(1));
  kill.clear_exclude();
  kill.set_order(v1::PICK_NEWEST);
  ASSERT_TRUE(controller_->Apply("newest", fault, std::nullopt, seconds(30)));
  EXPECT_EQ(Ended("newest").counters().at("processes_found"), 3);
  EXPECT_TRUE(WaitFor([&] { return !crowd[3]->Running(); }, seconds(5)));
  EXPECT_TRUE(crowd[2]->Running());
  EXPECT_TRUE(crowd[0]->Running());
  kill.mutable_exclude()->set_command_line(Mark("crowd"));
  ASSERT_TRUE(controller_->Apply("none", fault, std::nullopt, seconds(30)));
  const auto none = controller_->WaitForState("none", v1::INJECTION_STATE_FAILED);
  ASSERT_TRUE(none);
  EXPECT_NE(none->error().find("is excluded"), npos) << none->error();
  EXPECT_TRUE(crowd[0]->Running() && crowd[2]->Running());
}

TEST_F(ProcessRestartTest, MeasuresExitRespawnAndAnswer) {
  const int port = FreePort();
  const auto supervisor = Supervise(
      "server", Write("started") + "sleep 0.3; use IO::Socket::INET;\n" +
                    "my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => " +
                    std::to_string(port) + ", Listen => 5, ReuseAddr => 1) or die;\n" +
                    Write("listening") + "while (my $c = $s->accept) { close $c }\n");
  ASSERT_TRUE(WaitFor([&] { return Written("listening").size() == 1; }, seconds(20)));
  v1::Fault fault = Kill("server");
  fault.mutable_process_kill()->mutable_restart();
  ASSERT_TRUE(controller_->Apply("a", fault, std::nullopt, seconds(60)));
  const auto ended = Ended("a", seconds(40));
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_COMPLETED);
  // It answers before it has written so.
  EXPECT_TRUE(WaitFor([&] { return Written("listening").size() == 2; }, seconds(10)));
  const auto started = Written("started"), listening = Written("listening");
  ASSERT_EQ(started.size(), 2u);
  ASSERT_EQ(listening.size(), 2u);
  const auto *exited = Find(ended, "exited"), *respawned = Find(ended, "respawned"),
             *answered = Find(ended, "answered");
  ASSERT_TRUE(exited && respawned && answered) << ended.DebugString();
  EXPECT_TRUE(exited->from_kernel());
  EXPECT_NEAR(Seconds(exited->at()), Seconds(ended.first_impact_at()), 0.001);
  // The kernel's exec is before the program's own first word, and after the end of the first one.
  EXPECT_TRUE(respawned->from_kernel());
  EXPECT_GT(Seconds(respawned->at()), Seconds(exited->at()));
  EXPECT_LE(Seconds(respawned->at()), started[1] + 0.001);
  EXPECT_GT(Seconds(respawned->at()), started[1] - 2);
  EXPECT_NE(respawned->detail().find("executed"), npos) << respawned->detail();
  // A connection is accepted from listen() on, which is a little before the script says so.
  const double uncertainty =
      std::chrono::duration<double>(FromProto(answered->uncertainty())).count();
  EXPECT_LE(Seconds(answered->at()), listening[1] + 0.005 + uncertainty);
  EXPECT_GT(Seconds(answered->at()), started[1] + 0.299 - uncertainty);
  EXPECT_NEAR(ended.counters().at("respawned_after_seconds"),
              Seconds(respawned->at()) - Seconds(exited->at()), 0.001);
  EXPECT_NEAR(ended.counters().at("answered_after_seconds"),
              Seconds(answered->at()) - Seconds(exited->at()), 0.001);
  EXPECT_TRUE(supervisor->Running());
}

// A program that takes the signal and ends in its own time: what is measured begins with its end,
// not with the instant at which it took the signal.
TEST_F(ProcessRestartTest, MeasuresTheRestartOfWhatTakesItsSignalAndEndsLater) {
  for (const std::string signal : {"TERM", "USR1"}) {
    SCOPED_TRACE(signal);
    const std::string name = "slow" + signal;
    const auto supervisor = Supervise(
        name, "use Time::HiRes; $SIG{" + signal + "} = sub { Time::HiRes::sleep(0.5); exit 0 };\n" +
                  Write(name) + "Time::HiRes::sleep(0.05) while 1;\n");
    ASSERT_TRUE(WaitFor([&] { return Written(name).size() == 1; }, seconds(20)));
    v1::Fault fault = Kill(name);
    fault.mutable_process_kill()->set_signal(signal);
    *fault.mutable_process_kill()->mutable_restart()->mutable_within() = ToProto(seconds(20));
    const SystemTime before = Clock::Real().System();
    ASSERT_TRUE(controller_->Apply(name, fault, std::nullopt, seconds(60)));
    const auto ended = Ended(name, seconds(40));
    EXPECT_EQ(ended.end_reason(), v1::END_REASON_COMPLETED);
    EXPECT_EQ(ended.counters().at("processes_exited"), 1);
    const auto *exited = Find(ended, "exited"), *respawned = Find(ended, "respawned");
    ASSERT_TRUE(exited && respawned) << ended.DebugString();
    EXPECT_GE(FromProto(exited->at()), before + milliseconds(490));
    const double took = Seconds(respawned->at()) - Seconds(exited->at());
    EXPECT_GT(took, 0);
    EXPECT_NEAR(ended.counters().at("respawned_after_seconds"), took, 0.001);
  }
}

// An end that was seen is no news any more while it is waited for what comes back.
TEST_F(ProcessRestartTest, WaitsForAComebackWithoutBeingBusy) {
  const auto supervisor = Supervise("once",
                                    "use Time::HiRes; $SIG{USR1} = sub { exit 0 };\n" +
                                        Write("once") + "Time::HiRes::sleep(0.05) while 1;\n",
                                    /*times=*/1);
  ASSERT_TRUE(WaitFor([&] { return Written("once").size() == 1; }, seconds(20)));
  v1::Fault fault = Kill("once");
  fault.mutable_process_kill()->set_signal("USR1");
  *fault.mutable_process_kill()->mutable_restart()->mutable_within() = ToProto(seconds(4));
  const auto workers = Begin("a", fault, std::nullopt, seconds(60));
  ASSERT_EQ(workers.size(), 1u);
  Pause(seconds(1));
  const Nanoseconds before = CoreTime(workers[0]);
  Pause(seconds(2));
  EXPECT_LT(CoreTime(workers[0]) - before, milliseconds(400));
  EXPECT_GT(before, Nanoseconds(0)) << "it was read";
  EXPECT_TRUE(Find(Ended("a"), "exited"));
}

TEST_F(ProcessRestartTest, SeesAForkedWorkerComeBackWithoutAnExec) {
  // A master that forks workers, as nginx and PostgreSQL do; all bear the same command line.
  auto master = Child::Start(
      {"/usr/bin/perl", "-e",
       // Start times have a hundredth of a second: a worker's is a later one than the master's.
       "while (1) { select(undef, undef, undef, 0.03); my $p = fork; "
       "if (!$p) { sleep 1000; exit } waitpid($p, 0) }",
       Mark("fork")},
      folder_.path() + "/master");
  ASSERT_TRUE(master.ok());
  ASSERT_TRUE(WaitFor([&] { return Children((*master)->pid()).size() == 1; }, seconds(10)));
  v1::Fault fault = Kill("fork");
  fault.mutable_process_kill()->set_order(v1::PICK_NEWEST);
  *fault.mutable_process_kill()->mutable_restart()->mutable_within() = ToProto(seconds(20));
  ASSERT_TRUE(controller_->Apply("a", fault, std::nullopt, seconds(60)));
  const auto ended = Ended("a", seconds(30));
  EXPECT_EQ(ended.counters().at("processes_found"), 2);
  const auto* respawned = Find(ended, "respawned");
  ASSERT_TRUE(respawned) << ended.DebugString();
  EXPECT_NE(respawned->detail().find("forked"), npos) << respawned->detail();
  EXPECT_FALSE(Find(ended, "answered")) << "it listened nowhere";
  EXPECT_TRUE((*master)->Running());
}

TEST_F(ProcessRestartTest, EndsWithinItsTimeWhenNothingComesBack) {
  const auto victim = Sleeper("gone");
  v1::Fault fault = Kill("gone");
  *fault.mutable_process_kill()->mutable_restart()->mutable_within() = ToProto(seconds(1));
  const SteadyTime began = Clock::Real().Steady();
  ASSERT_TRUE(controller_->Apply("a", fault, std::nullopt, seconds(30)));
  const auto ended = Ended("a");
  EXPECT_GE(Clock::Real().Steady() - began, seconds(1));
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_COMPLETED);
  EXPECT_TRUE(Find(ended, "exited"));
  EXPECT_FALSE(Find(ended, "respawned"));
}

TEST_F(ProcessRestartTest, KillsWhatComesBackUntilItStaysDown) {
  const auto bystander = Sleeper("bystander");
  const auto supervisor = Supervise("stubborn", Write("lives") + "sleep 1000;\n", /*times=*/5);
  ASSERT_TRUE(WaitFor([&] { return Written("lives").size() == 1; }, seconds(10)));
  v1::Fault fault = Kill("stubborn");
  *fault.mutable_process_kill()->mutable_until_down() = ToProto(seconds(3));
  ASSERT_TRUE(controller_->Apply("a", fault, seconds(60), seconds(60)));
  const auto ended = Ended("a", seconds(30));
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_COMPLETED);
  EXPECT_EQ(ended.counters().at("processes_came_back"), 4);
  EXPECT_EQ(ended.counters().at("processes_signalled"), 5);
  EXPECT_EQ(ended.counters().at("processes_exited"), 5);
  EXPECT_EQ(ended.counters().at("stayed_down"), 1);
  EXPECT_TRUE(bystander->Running());
  EXPECT_TRUE(supervisor->Running());
}

TEST_F(ProcessRestartTest, WhatComesBackAfterTheEndIsLeftAlone) {
  const auto supervisor = Supervise("again", Write("lives") + "sleep 1000;\n", /*times=*/1'000'000);
  ASSERT_TRUE(WaitFor([&] { return Written("lives").size() == 1; }, seconds(10)));
  v1::Fault fault = Kill("again");
  *fault.mutable_process_kill()->mutable_until_down() = ToProto(seconds(10));
  const auto workers = Begin("a", fault, seconds(60), seconds(60));
  // Not by a look at /proc: on a busy host what it lists is gone before it is read.
  EXPECT_TRUE(controller_->WaitForUpdate("a", [](const v1::InjectionUpdate& update) {
    const auto back = update.counters().find("processes_came_back");
    return back != update.counters().end() && back->second >= 1;
  })) << agent_->Log();
  ASSERT_EQ(workers.size(), 1u);
  ASSERT_EQ(kill(workers[0], SIGKILL), 0);
  EXPECT_EQ(Ended("a").end_reason(), v1::END_REASON_WORKER_DIED);
  // What the worker signalled last may take its time to end on a busy host.
  std::vector<pid_t> survivors;
  EXPECT_TRUE(WaitFor(
      [&] {
        survivors = Children(supervisor->pid());
        return survivors.size() == 1 && !Doomed(survivors.front());
      },
      seconds(15)));
  Pause(milliseconds(500));
  EXPECT_EQ(Children(supervisor->pid()), survivors);
}

}  // namespace
}  // namespace firedrill::test
