// SPDX-License-Identifier: Apache-2.0
// Steps of the wall clock by a real agent. Only in an emulated machine (tests/kernels/run): whoever
// shares this one would feel them.
#include <sys/prctl.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>

#include "agent/host/agent_clock.h"
#include "proto/support/time.h"
#include "tests/host/agent_fixture.h"

namespace firedrill::test {
namespace {

using agent::ReadWallSinceBoot;
using agent::SinceBoot;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

void MoveWall(Nanoseconds by) {
  timex step{};
  step.modes = ADJ_SETOFFSET | ADJ_NANO;
  const auto whole = std::chrono::floor<seconds>(by);
  step.time.tv_sec = whole.count();
  step.time.tv_usec = (by - whole).count();
  ASSERT_GE(clock_adjtime(CLOCK_REALTIME, &step), 0) << strerror(errno);
}

class ClockStepTest : public AgentTest {
 protected:
  void SetUp() override {
    ASSERT_NE(getenv("FIREDRILL_EMULATED"), nullptr)
        << "this steps the machine's clock: run it by tests/kernels/run";
    // The kernel takes a clock that was set for one that nobody synchronises.
    MoveWall(Nanoseconds(0));
    start_ = ReadWallSinceBoot().distance;
    AgentTest::SetUp();
  }
  void TearDown() override {
    if (getenv("FIREDRILL_EMULATED") == nullptr) return;
    agent_.reset();
    MoveWall(start_ - ReadWallSinceBoot().distance);
  }

  static v1::Fault Step(Nanoseconds by,
                        v1::ClockDirection direction = v1::CLOCK_DIRECTION_FORWARD) {
    v1::Fault fault;
    *fault.mutable_clock_step()->mutable_by() = ToProto(by);
    fault.mutable_clock_step()->set_direction(direction);
    return fault;
  }

  // How far the wall clock is from where it would be without any step.
  Nanoseconds Off() const { return ReadWallSinceBoot().distance - start_; }
  void ExpectOff(Nanoseconds by, const char* when) const {
    const auto wall = ReadWallSinceBoot();
    // Two looks at two clocks each; the step itself is exact.
    const Nanoseconds bound = 2 * wall.uncertainty + microseconds(20);
    EXPECT_LE(std::chrono::abs(wall.distance - start_ - by), bound)
        << when << ": off by " << Seconds(wall.distance - start_) << " s, asked " << Seconds(by);
  }
  // What the wall clock would say without any step: the agent's own clock.
  SystemTime Unstepped() const { return SystemTime(SinceBoot() + start_); }
  void ExpectBetween(SystemTime from, const google::protobuf::Timestamp& at, SystemTime to,
                     const char* what) const {
    EXPECT_GE(FromProto(at), from - milliseconds(1)) << what;
    EXPECT_LE(FromProto(at), to + milliseconds(1)) << what;
  }
  void ExpectHeartbeatsGoOn() const {
    const auto now = controller_->last_heartbeat();
    ASSERT_TRUE(now);
    EXPECT_TRUE(
        WaitFor([&] { return controller_->last_heartbeat()->sequence() >= now->sequence() + 3; },
                seconds(4)))
        << "a beat each second was promised\n"
        << agent_->Log();
    EXPECT_EQ(controller_->hellos().size(), hellos_) << "the stream was lost\n" << agent_->Log();
  }
  std::optional<v1::InjectionUpdate> Event(const std::string& id, const std::string& name) const {
    return controller_->WaitForUpdate(
        id,
        [&](const v1::InjectionUpdate& update) {
          return std::any_of(update.events().begin(), update.events().end(),
                             [&](const auto& event) { return event.name() == name; });
        },
        seconds(5));
  }
  std::string Refusal(const std::string& id, const v1::Fault& fault) {
    EXPECT_TRUE(controller_->Apply(id, fault, seconds(60), seconds(30)));
    const auto failed = controller_->WaitForState(id, v1::INJECTION_STATE_FAILED);
    EXPECT_TRUE(failed) << agent_->Log();
    ExpectOff(Nanoseconds(0), "after a refusal");
    return failed ? failed->error() : "";
  }

  Nanoseconds start_{0};
  std::size_t hellos_ = 1;
};

TEST_F(ClockStepTest, StepsForwardAndBackAndItsInstantsDoNotJump) {
  const SystemTime before = Unstepped();
  Begin("a", Step(minutes(5)), seconds(60));
  ExpectOff(minutes(5), "in force");
  const auto seen = controller_->WaitForUpdate(
      "a", [](const v1::InjectionUpdate& update) { return update.has_first_impact_at(); });
  ASSERT_TRUE(seen) << agent_->Log();
  ExpectBetween(before, seen->first_impact_at(), Unstepped(), "first impact");
  ExpectBetween(before, seen->applied_at(), Unstepped(), "applied");
  EXPECT_LE(FromProto(seen->impact_uncertainty()), milliseconds(50));
  EXPECT_DOUBLE_EQ(seen->counters().at("stepped_seconds"), 300);
  ExpectHeartbeatsGoOn();
  // The controller of this test has stepped with the host; the agent's clock has not.
  EXPECT_TRUE(WaitFor(
      [&] {
        const auto beat = *controller_->last_heartbeat();
        return std::abs(Seconds(FromProto(beat.clock_offset())) - 300) <= 0.2;
      },
      seconds(5)))
      << controller_->last_heartbeat()->ShortDebugString();
  // A worker that is started meanwhile has the agent's clock, too.
  const SystemTime burning = Unstepped();
  Begin("cpu", Cpu(20), seconds(60));
  const auto cpu = controller_->WaitForState("cpu", v1::INJECTION_STATE_ACTIVE);
  ExpectBetween(burning, cpu->applied_at(), Unstepped(), "the other fault");
  ASSERT_TRUE(controller_->End("a"));
  const auto ended = Ended("a");
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_REQUESTED);
  EXPECT_TRUE(ended.end_proven());
  EXPECT_EQ(ended.error(), "");
  ExpectBetween(burning, ended.ended_at(), Unstepped(), "ended");
  ExpectOff(Nanoseconds(0), "after the end");
  ExpectHeartbeatsGoOn();  // the jump back by five minutes must stop nothing
  const auto left = RunToEnd({"/usr/bin/find", state() + "/journal", "-name", "*.undo"});
  EXPECT_EQ(std::count(left->output.begin(), left->output.end(), '\n'), 1) << left->output;  // cpu
}

TEST_F(ClockStepTest, EndsWithItsDurationThoughTheClockWentBack) {
  const SteadyTime start = Clock::Real().Steady();
  Begin("a", Step(hours(1), v1::CLOCK_DIRECTION_BACKWARD), seconds(2));
  ExpectOff(-hours(1), "in force");
  const auto ended = Ended("a", seconds(10));
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_DURATION);
  EXPECT_TRUE(ended.end_proven());
  EXPECT_GE(Clock::Real().Steady() - start, seconds(2));
  ExpectOff(Nanoseconds(0), "after the end");
}

TEST_F(ClockStepTest, AtItsLimits) {
  int number = 0;
  for (const Nanoseconds by : {Nanoseconds(milliseconds(1)), Nanoseconds(hours(24 * 365))}) {
    for (const auto direction : {v1::CLOCK_DIRECTION_FORWARD, v1::CLOCK_DIRECTION_BACKWARD}) {
      const std::string id = std::to_string(++number);
      Begin(id, Step(by, direction), seconds(60));
      ExpectOff(direction == v1::CLOCK_DIRECTION_FORWARD ? by : -by, "in force");
      ASSERT_TRUE(controller_->End(id));
      EXPECT_TRUE(Ended(id).end_proven());
      ExpectOff(Nanoseconds(0), "after the end");
    }
  }
}

TEST_F(ClockStepTest, DiesWithAKilledWorker) {
  const auto workers = Begin("a", Step(minutes(5)), seconds(60));
  ASSERT_EQ(kill(workers.at(0), SIGKILL), 0);
  const auto ended = Ended("a", seconds(8));
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_WORKER_DIED);
  EXPECT_TRUE(ended.end_proven());
  ExpectOff(Nanoseconds(0), "after the end");
}

TEST_F(ClockStepTest, DiesWithAStoppedWorker) {
  const auto workers = Begin("a", Step(minutes(5)), seconds(60));
  ASSERT_EQ(kill(workers.at(0), SIGSTOP), 0);
  EXPECT_TRUE(Ended("a", seconds(10)).end_proven());
  ExpectOff(Nanoseconds(0), "after the end");
}

TEST_F(ClockStepTest, DiesWithAKilledAgent) {
  Begin("a", Step(minutes(5)), seconds(60));
  agent_->Signal(SIGKILL);
  EXPECT_TRUE(WaitFor([&] { return Off() < seconds(1); }, seconds(5))) << Seconds(Off());
  StartAgent();
  ASSERT_EQ(controller_->hellos().back().live().size(), 1);
  EXPECT_TRUE(controller_->hellos().back().live()[0].end_proven());
  ExpectOff(Nanoseconds(0), "after the end");
}

TEST_F(ClockStepTest, TheNextAgentTakesItBackWhenAllWereKilledAndItsInstantsAreRight) {
  const auto workers = Begin("a", Step(minutes(5)), seconds(60));
  ASSERT_EQ(kill(workers.at(0), SIGSTOP), 0);
  agent_->Signal(SIGKILL);
  ASSERT_EQ(kill(workers.at(0), SIGKILL), 0);
  EXPECT_TRUE(WaitFor([&] { return !Alive(workers.at(0)); }, seconds(5)));
  ExpectOff(minutes(5), "nobody is left to take it back");
  const SystemTime before = Unstepped();
  StartAgent();
  const auto live = controller_->hellos().back().live();
  ASSERT_EQ(live.size(), 1);
  EXPECT_TRUE(live[0].end_proven()) << live[0].error();
  ExpectBetween(before, live[0].ended_at(), Unstepped(), "ended");
  ExpectOff(Nanoseconds(0), "taken back");
}

TEST_F(ClockStepTest, WhatSomebodyPutRightIsToldAndNotTakenBackAgain) {
  Begin("a", Step(minutes(5)), seconds(60));
  Pause(milliseconds(300));
  const SystemTime before = Unstepped();
  MoveWall(-minutes(5) + milliseconds(30));  // as a time server would: right, not exact
  const auto told = Event("a", "put_right");
  ASSERT_TRUE(told) << agent_->Log();
  ExpectBetween(before, told->events(0).at(), Unstepped(), "put right");
  EXPECT_DOUBLE_EQ(told->counters().at("steps_of_others"), 1);
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  ExpectOff(milliseconds(30), "left as it was put right");
}

TEST_F(ClockStepTest, WhatSomebodyAddedStays) {
  Begin("a", Step(minutes(5)), seconds(60));
  Pause(milliseconds(300));
  MoveWall(seconds(10));
  ASSERT_TRUE(Event("a", "changed")) << agent_->Log();
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  ExpectOff(seconds(10), "only our step was taken back");
}

TEST_F(ClockStepTest, ATimeThatSomebodySetStays) {
  Begin("a", Step(minutes(5)), seconds(60));
  Pause(milliseconds(300));
  MoveWall(hours(24));
  ASSERT_TRUE(Event("a", "changed")) << agent_->Log();
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  ExpectOff(hours(24) + minutes(5), "somebody else's time");
}

TEST_F(ClockStepTest, OneAtATime) {
  Begin("a", Step(minutes(5)), seconds(60));
  EXPECT_TRUE(controller_->Apply("b", Step(minutes(1)), seconds(60), seconds(30)));
  const auto failed = controller_->WaitForState("b", v1::INJECTION_STATE_FAILED);
  ASSERT_TRUE(failed) << agent_->Log();
  EXPECT_NE(failed->error().find("another clock_step lives"), std::string::npos) << failed->error();
  ExpectOff(minutes(5), "the first one");
}

TEST_F(ClockStepTest, RefusedWhileTheKernelIsSynchronised) {
  timex synchronised{};
  synchronised.modes = ADJ_STATUS | ADJ_MAXERROR | ADJ_ESTERROR;
  synchronised.status = STA_PLL;
  ASSERT_GE(clock_adjtime(CLOCK_REALTIME, &synchronised), 0);
  const std::string error = Refusal("a", Step(minutes(5)));
  EXPECT_NE(error.find("the clock is synchronised"), std::string::npos) << error;
  MoveWall(Nanoseconds(0));  // what the error's advice does
  Begin("b", Step(minutes(5)), seconds(60));
  ExpectOff(minutes(5), "in force");
}

TEST_F(ClockStepTest, RefusedWhileAProgramSynchronises) {
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_NAME, "chronyd");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
  }
  ASSERT_GT(pid, 0);
  Pause(milliseconds(100));
  const std::string error = Refusal("a", Step(minutes(5)));
  EXPECT_NE(error.find("chronyd (pid " + std::to_string(pid) + ")"), std::string::npos) << error;
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

}  // namespace
}  // namespace firedrill::test
