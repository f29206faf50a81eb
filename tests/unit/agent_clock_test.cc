// SPDX-License-Identifier: Apache-2.0
// What can be tried of clock_step and reboot without a clock that is stepped, a host that restarts.
#include "agent/host/agent_clock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "agent/faults/clock_step.h"
#include "agent/faults/reboot.h"
#include "agent/host/host.h"
#include "agent/journal/journal.h"
#include "proto/support/time.h"
#include "tests/lib/process.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;

TEST(AgentClockTest, BeginsAsTheWallClock) {
  const test::TemporaryFolder folder;
  const auto clock = AgentClock::Open(folder.path(), "this-boot");
  const SystemTime before = Clock::Real().System();
  const SystemTime now = clock->System();
  EXPECT_GE(now, before - milliseconds(1));
  EXPECT_LE(now, Clock::Real().System() + milliseconds(1));
}

TEST(AgentClockTest, IsSharedUntilTheNextBoot) {
  const test::TemporaryFolder folder;
  // As an agent left it that started before the wall clock was stepped by an hour.
  const Nanoseconds begun = ReadWallSinceBoot().distance - std::chrono::hours(1);
  folder.Write("clock", "this-boot " + std::to_string(begun.count()) + "\n");
  const auto same = AgentClock::Open(folder.path(), "this-boot");
  EXPECT_NEAR(Seconds(Clock::Real().System() - same->System()), 3600, 0.1);
  const auto next = AgentClock::Open(folder.path(), "next-boot");
  EXPECT_NEAR(Seconds(Clock::Real().System() - next->System()), 0, 0.1);
  EXPECT_THAT(test::ReadFile(folder.path() + "/clock"), HasSubstr("next-boot"));
}

TEST(AgentClockTest, ADamagedFileOrNoFolderBeginsItAnew) {
  const test::TemporaryFolder folder;
  folder.Write("clock", "this-boot");
  for (const std::string& state : {folder.path(), folder.path() + "/none"}) {
    const auto clock = AgentClock::Open(state, "this-boot");
    EXPECT_NEAR(Seconds(Clock::Real().System() - clock->System()), 0, 0.1) << state;
  }
}

TEST(ClockStepTest, KnowsWhatIsLeftOfAStep) {
  for (const Nanoseconds by : {Nanoseconds(minutes(5)), Nanoseconds(-minutes(5))}) {
    EXPECT_EQ(WhatIsLeft(Nanoseconds(0), by), StepLeft::kWhole);
    EXPECT_EQ(WhatIsLeft(seconds(10), by), StepLeft::kWhole) << "somebody moved it a little";
    EXPECT_EQ(WhatIsLeft(-seconds(10), by), StepLeft::kWhole);
    EXPECT_EQ(WhatIsLeft(-by, by), StepLeft::kNone);
    EXPECT_EQ(WhatIsLeft(-by + seconds(2), by), StepLeft::kNone) << "put right, not exactly";
    EXPECT_EQ(WhatIsLeft(by, by), StepLeft::kReplaced);
    EXPECT_EQ(WhatIsLeft(std::chrono::hours(24), by), StepLeft::kReplaced);
    EXPECT_EQ(WhatIsLeft(-std::chrono::hours(24), by), StepLeft::kReplaced);
  }
}

TEST(ClockStepTest, ARecordOfAnotherBootIsVoidAndADamagedOneIsAnError) {
  UndoRecord record;
  record.same_boot = false;
  EXPECT_TRUE(UndoClockStep(record, Host()).ok());
  record.same_boot = true;
  EXPECT_TRUE(absl::IsDataLoss(UndoClockStep(record, Host())));
}

class RebootTest : public testing::Test {
 protected:
  Host With(const std::string& first_process) {
    std::filesystem::create_directories(folder_.path() + "/1");
    folder_.Write("1/comm", first_process + "\n");
    return Host({folder_.path(), "/sys"});
  }
  test::TemporaryFolder folder_;
};

TEST_F(RebootTest, AsksTheInitSystemThatThereIs) {
  // Of the programs that this machine may lack, the error names the one.
  const auto by_systemd = OrderlyRebootCommand(With("systemd"));
  if (by_systemd.ok()) {
    EXPECT_THAT(by_systemd->front(), testing::EndsWith("/systemctl"));
    EXPECT_EQ(by_systemd->back(), "reboot");
  } else {
    EXPECT_THAT(std::string(by_systemd.status().message()), HasSubstr("systemctl"));
  }
  const auto unknown = OrderlyRebootCommand(With("supervisord"));
  EXPECT_TRUE(absl::IsUnimplemented(unknown.status()));
  EXPECT_THAT(std::string(unknown.status().message()), HasSubstr("'supervisord'"));
}

TEST_F(RebootTest, ItsRecordIsUndoneByTheNextBootAlone) {
  UndoRecord record;
  record.same_boot = true;
  EXPECT_TRUE(absl::IsFailedPrecondition(UndoReboot(record, Host())));
  record.same_boot = false;
  EXPECT_TRUE(UndoReboot(record, Host()).ok());
}

TEST_F(RebootTest, TellsTheNextBootWhatItHasDone) {
  UndoRecord record;
  const SystemTime then = Clock::Real().System() - seconds(30);
  record.values["wall_ns"] = std::to_string(then.time_since_epoch().count());
  const Impact impact = AfterReboot(record, Host());
  ASSERT_TRUE(impact.first);
  EXPECT_NEAR(Seconds(*impact.first - then), 0, 0.01);
  EXPECT_EQ(impact.uncertainty, seconds(2));
  EXPECT_NEAR(impact.counters.at("down_seconds"), 30, 0.1);
  ASSERT_EQ(impact.events.size(), 1u);
  EXPECT_EQ(impact.events[0].name, "rebooted");
  EXPECT_GE(impact.events[0].at, *impact.first) << "a hardware clock may be wrong by a second";
}

}  // namespace
}  // namespace firedrill::agent
