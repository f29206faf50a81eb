// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "controller/schedule/scheduler.h"
#include "controller/store/sqlite_store.h"
#include "proto/support/time.h"
#include "tests/lib/process.h"

namespace firedrill::controller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The fake clock begins at 2027-01-15T08:00:00Z.
class SchedulerTest : public ::testing::Test {
 protected:
  void Apply(const std::string& cron, v1::Missed missed = v1::MISSED_UNSPECIFIED) {
    StoredExperiment stored;
    stored.applied.mutable_experiment()->set_name("weekly");
    stored.applied.mutable_experiment()->mutable_schedule()->set_cron(cron);
    stored.applied.mutable_experiment()->mutable_schedule()->set_missed(missed);
    stored.schedule_seen = clock_.System();
    ASSERT_TRUE(store_->SaveExperiment(stored).ok());
  }
  void LookEverySecond(Nanoseconds during) {
    for (Nanoseconds passed{0}; passed < during; passed += std::chrono::seconds(1)) {
      clock_.Advance(std::chrono::seconds(1));
      scheduler_.Look();
    }
  }
  std::string LastAudit() {
    const auto lines = store_->ListAudit(1);
    return lines->empty() ? "" : lines->front().action + " " + lines->front().detail;
  }

  FakeClock clock_;
  test::TemporaryFolder folder_;
  std::unique_ptr<Store> store_ = OpenSqliteStore(folder_.path()).value();
  std::vector<std::string> started_;
  bool busy_ = false;
  Scheduler scheduler_{
      *store_,
      clock_,
      {.start =
           [this](const v1::Experiment& experiment) {
             started_.push_back(experiment.name() + " " + FormatTime(clock_.System()));
           },
       .busy = [this](const std::string&) { return busy_; }}};
};

TEST_F(SchedulerTest, StartsARunOnceForEachTime) {
  Apply("*/10 * * * *");
  LookEverySecond(std::chrono::minutes(25));
  EXPECT_THAT(started_,
              ElementsAre("weekly 2027-01-15T08:10:00.000Z", "weekly 2027-01-15T08:20:00.000Z"));
}

TEST_F(SchedulerTest, ForgetsNothingOverARestart) {
  Apply("*/10 * * * *");
  LookEverySecond(std::chrono::minutes(10));
  ASSERT_EQ(started_.size(), 1U);
  Scheduler again(*store_, clock_,
                  {.start = [this](const v1::Experiment&) { started_.emplace_back("again"); },
                   .busy = [](const std::string&) { return false; }});
  again.Look();
  EXPECT_EQ(started_.size(), 1U) << "the same time never starts two runs";
}

TEST_F(SchedulerTest, SkipsTimesThatPassedWhileNoControllerRan) {
  Apply("0 * * * *");
  clock_.Advance(std::chrono::hours(3) + std::chrono::minutes(30));
  scheduler_.Look();
  EXPECT_THAT(started_, IsEmpty());
  EXPECT_THAT(LastAudit(), HasSubstr("schedule.missed no controller ran at 2027-01-15T09:00:00"));
  LookEverySecond(std::chrono::minutes(31));
  EXPECT_EQ(started_.size(), 1U) << "and goes on with the next";
}

TEST_F(SchedulerTest, MakesUpForMissedTimesByOneRunIfAsked) {
  Apply("0 * * * *", v1::MISSED_RUN_ONCE);
  clock_.Advance(std::chrono::hours(3) + std::chrono::minutes(30));
  scheduler_.Look();
  scheduler_.Look();
  EXPECT_EQ(started_.size(), 1U);
}

TEST_F(SchedulerTest, TakesATimeThatIsFreshThoughOthersWereMissed) {
  Apply("0 * * * *");
  clock_.Advance(std::chrono::hours(3) + std::chrono::seconds(20));
  scheduler_.Look();
  EXPECT_EQ(started_.size(), 1U);
}

TEST_F(SchedulerTest, NeverStartsASecondRunOfOneExperiment) {
  Apply("*/10 * * * *");
  busy_ = true;
  LookEverySecond(std::chrono::minutes(11));
  EXPECT_THAT(started_, IsEmpty());
  EXPECT_THAT(LastAudit(), HasSubstr("schedule.skipped a run of it was still under way"));
  busy_ = false;
  LookEverySecond(std::chrono::minutes(5));
  EXPECT_THAT(started_, IsEmpty()) << "a skipped time is not made up for";
}

TEST_F(SchedulerTest, KnowsTheNextRun) {
  StoredExperiment stored;
  stored.schedule_seen = clock_.System();
  EXPECT_FALSE(NextRunAt(stored).has_value()) << "no schedule";
  stored.applied.mutable_experiment()->mutable_schedule()->set_cron("0 10 * * tue");
  stored.applied.mutable_experiment()->mutable_schedule()->set_time_zone("Europe/Berlin");
  EXPECT_EQ(FormatTime(NextRunAt(stored).value()), "2027-01-19T09:00:00.000Z");
  EXPECT_EQ(Decide(stored, clock_.System()), Due::kNothing);
}

}  // namespace
}  // namespace firedrill::controller
