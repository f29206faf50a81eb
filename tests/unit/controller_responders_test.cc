// SPDX-License-Identifier: Apache-2.0
// What people say of a run, from the API's words to the marks on disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>

#include "controller/run/engine.h"
#include "controller/run/machine.h"
#include "controller/service/responders.h"
#include "controller/store/sqlite_store.h"
#include "proto/support/time.h"
#include "tests/lib/process.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

std::string Words(const absl::Status& status) { return std::string(status.message()); }

ResponderWord Word(v1::MarkKind kind, SystemTime at, const std::string& detail,
                   v1::MarkSource source = v1::MARK_SOURCE_OPERATOR) {
  ResponderWord word;
  word.kind = kind;
  word.source = source;
  word.at = at;
  word.detail = detail;
  return word;
}

// A run in which one fault lives, and has had its impact at `impact_`.
class HeardTest : public ::testing::Test {
 protected:
  HeardTest() { machine_ = std::make_unique<RunMachine>(MakeRun(), RunOptions(), false, clock_); }

  v1::Run MakeRun() {
    v1::Run run;
    run.set_id("r1");
    run.set_state(v1::RUN_STATE_INJECTING);
    *run.mutable_created_at() = ToProto(clock_.System());
    run.mutable_experiment()->set_name("cache-loss");
    (*run.mutable_experiment()->mutable_targets())["cache"].mutable_pick()->set_all(true);
    v1::Step* step = run.mutable_experiment()->add_method();
    step->set_name("lose packets");
    step->set_target("cache");
    *step->mutable_duration() = ToProto(seconds(60));
    step->mutable_fault()->mutable_packet_loss()->set_percent(33);
    v1::Injection* injection = run.add_injections();
    injection->set_id("r1.1");
    injection->set_step(step->name());
    injection->set_host("cache1");
    *injection->mutable_fault() = step->fault();
    *injection->mutable_duration() = step->duration();
    injection->set_state(v1::INJECTION_STATE_ACTIVE);
    impact_ = clock_.System();
    v1::Mark* mark = run.add_marks();
    mark->set_kind(v1::MARK_KIND_FIRST_IMPACT);
    *mark->mutable_at() = ToProto(impact_);
    *mark->mutable_uncertainty() = ToProto(milliseconds(2));
    return run;
  }

  int Count(v1::MarkKind kind) const {
    int count = 0;
    for (const v1::Mark& mark : machine_->run().marks()) count += mark.kind() == kind ? 1 : 0;
    return count;
  }

  FakeClock clock_;
  SystemTime impact_;
  std::unique_ptr<RunMachine> machine_;
};

TEST_F(HeardTest, BecomesAMarkAtTheInstantOfItsArrival) {
  ResponderWord word = Word(v1::MARK_KIND_ACKNOWLEDGED, impact_ + seconds(20), "alice: looking");
  word.subject = "ShopSlow";
  ASSERT_TRUE(machine_->Heard(word).ok());
  EXPECT_TRUE(machine_->TakeActions().changed);
  const v1::Mark& mark = machine_->run().marks(1);
  EXPECT_EQ(mark.kind(), v1::MARK_KIND_ACKNOWLEDGED);
  EXPECT_EQ(FromProto(mark.at()), impact_ + seconds(20));
  EXPECT_EQ(mark.source(), v1::MARK_SOURCE_OPERATOR);
  EXPECT_EQ(FromProto(mark.uncertainty()), Nanoseconds(0));
  EXPECT_EQ(mark.subject(), "ShopSlow");
  EXPECT_EQ(mark.detail(), "alice: looking");
}

TEST_F(HeardTest, TheFirstCountsAndTheOthersAreKept) {
  ASSERT_TRUE(
      machine_->Heard(Word(v1::MARK_KIND_ACKNOWLEDGED, impact_ + seconds(20), "alice")).ok());
  ASSERT_TRUE(machine_->Heard(Word(v1::MARK_KIND_ACKNOWLEDGED, impact_ + seconds(9), "bob")).ok());
  ASSERT_TRUE(machine_->Heard(Word(v1::MARK_KIND_MITIGATED, impact_ + seconds(31), "bob: x")).ok());
  EXPECT_EQ(Count(v1::MARK_KIND_ACKNOWLEDGED), 2);
  const v1::Run& run = machine_->run();
  EXPECT_EQ(FromProto(run.time_to_acknowledge().value()), seconds(9));
  EXPECT_EQ(FromProto(run.time_to_acknowledge().uncertainty()), milliseconds(2));
  EXPECT_EQ(FromProto(run.time_to_mitigate().value()), seconds(31));
  EXPECT_EQ(run.time_to_mitigate().to(), v1::MARK_KIND_MITIGATED);
}

TEST_F(HeardTest, NothingIsToldOfARunBeforeItsFirstImpact) {
  v1::Run run = MakeRun();
  run.mutable_marks()->Clear();
  machine_ = std::make_unique<RunMachine>(run, RunOptions(), false, clock_);
  const absl::Status heard =
      machine_->Heard(Word(v1::MARK_KIND_ACKNOWLEDGED, impact_ + seconds(20), "alice"));
  EXPECT_TRUE(absl::IsFailedPrecondition(heard));
  EXPECT_THAT(Words(heard), HasSubstr("no fault of run r1 has had an impact yet"));
  EXPECT_EQ(Count(v1::MARK_KIND_ACKNOWLEDGED), 0);
  // Nor by one whose word left before the impact, for whatever reason.
  machine_ = std::make_unique<RunMachine>(MakeRun(), RunOptions(), false, clock_);
  EXPECT_FALSE(machine_->Heard(Word(v1::MARK_KIND_MITIGATED, impact_ - seconds(1), "x")).ok());
  EXPECT_TRUE(machine_->Heard(Word(v1::MARK_KIND_MITIGATED, impact_ - milliseconds(1), "x")).ok());
}

TEST_F(HeardTest, NothingIsToldOfARunThatIsFinished) {
  v1::Run run = MakeRun();
  run.set_state(v1::RUN_STATE_FINISHED);
  machine_ = std::make_unique<RunMachine>(run, RunOptions(), false, clock_);
  const absl::Status heard =
      machine_->Heard(Word(v1::MARK_KIND_MITIGATED, impact_ + seconds(20), "alice: x"));
  EXPECT_TRUE(absl::IsFailedPrecondition(heard));
  EXPECT_THAT(Words(heard), HasSubstr("run r1 finished at"));
}

TEST_F(HeardTest, AnAbortThatIsEndingCanStillBeMitigated) {
  machine_->Abort("by alice");
  ASSERT_EQ(machine_->run().state(), v1::RUN_STATE_ENDING);
  EXPECT_TRUE(
      machine_->Heard(Word(v1::MARK_KIND_MITIGATED, impact_ + seconds(20), "alice: x")).ok());
  EXPECT_EQ(Count(v1::MARK_KIND_MITIGATED), 1);
}

TEST_F(HeardTest, WhatAPagerDeliversTwiceIsOneMark) {
  for (const int second : {20, 25}) {
    ASSERT_TRUE(machine_
                    ->Heard(Word(v1::MARK_KIND_ACKNOWLEDGED, impact_ + seconds(second),
                                 "Bob; incident P1", v1::MARK_SOURCE_PAGER))
                    .ok());
  }
  EXPECT_EQ(Count(v1::MARK_KIND_ACKNOWLEDGED), 1);
  EXPECT_EQ(FromProto(machine_->run().marks(1).at()), impact_ + seconds(20));
}

TEST_F(HeardTest, AFloodIsBounded) {
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(machine_
                    ->Heard(Word(i % 2 == 0 ? v1::MARK_KIND_ACKNOWLEDGED : v1::MARK_KIND_MITIGATED,
                                 impact_ + seconds(i), "alice: " + std::to_string(i)))
                    .ok());
  }
  const absl::Status heard =
      machine_->Heard(Word(v1::MARK_KIND_ACKNOWLEDGED, impact_ + seconds(200), "alice"));
  EXPECT_TRUE(absl::IsResourceExhausted(heard));
  EXPECT_THAT(Words(heard), HasSubstr("has 100 marks of people already"));
}

TEST(WordOfTest, SaysWhoAndForWhom) {
  const SystemTime now(seconds(1'800'000'000));
  const auto detail = [now](const std::string& by, const std::string& note) {
    return WordOf(v1::MARK_KIND_ACKNOWLEDGED, "alice", by, note, now)->detail;
  };
  EXPECT_EQ(detail("", ""), "alice");
  EXPECT_EQ(detail("alice", "looking"), "alice: looking");
  EXPECT_EQ(detail("bob", "looking"), "bob, told by alice: looking");
  EXPECT_EQ(WordOf(v1::MARK_KIND_ACKNOWLEDGED, "alice", "", "", now)->at, now);
  EXPECT_EQ(Words(WordOf(v1::MARK_KIND_MITIGATED, "alice", "", "", now).status()),
            "note: is missing; say what was done");
  EXPECT_EQ(Words(WordOf(v1::MARK_KIND_MITIGATED, "a", "", std::string(501, 'x'), now).status()),
            "note: 501 bytes; at most 500 are allowed");
  EXPECT_FALSE(WordOf(v1::MARK_KIND_MITIGATED, "a", std::string(101, 'x'), "x", now).ok());
}

// With a store, and an agent that is not there: what matters is which run is meant.
class TakeWordTest : public ::testing::Test {
 protected:
  // A run of an earlier process, whose fault had had its impact.
  void Leave(const std::string& id) {
    v1::Run run;
    run.set_id(id);
    run.set_state(v1::RUN_STATE_INJECTING);
    *run.mutable_created_at() = ToProto(Clock::Real().System());
    run.mutable_experiment()->set_name("x");
    v1::Step* step = run.mutable_experiment()->add_method();
    *step->mutable_duration() = ToProto(seconds(600));
    step->mutable_fault()->mutable_packet_loss()->set_percent(33);
    v1::Injection* injection = run.add_injections();
    injection->set_id(id + ".1");
    injection->set_host("cache1");
    *injection->mutable_fault() = step->fault();
    *injection->mutable_duration() = step->duration();
    injection->set_state(v1::INJECTION_STATE_ACTIVE);
    v1::Mark* mark = run.add_marks();
    mark->set_kind(v1::MARK_KIND_FIRST_IMPACT);
    *mark->mutable_at() = run.created_at();
    ASSERT_TRUE(store_->SaveRun(run, {}).ok());
  }
  void Start() {
    engine_ = std::make_unique<RunEngine>(*store_, registry_, nullptr, Clock::Real(),
                                          EngineOptions(), nullptr);
    ASSERT_TRUE(engine_->Recover().ok());
    engine_->Start();
  }
  absl::StatusOr<v1::Run> Tell(const std::string& id) {
    std::promise<absl::StatusOr<v1::Run>> promise;
    engine_->TakeWord(id, Word(v1::MARK_KIND_ACKNOWLEDGED, Clock::Real().System(), "alice"),
                      [&](absl::StatusOr<v1::Run> run) { promise.set_value(std::move(run)); });
    return promise.get_future().get();
  }

  test::TemporaryFolder folder_;
  std::unique_ptr<Store> store_ = OpenSqliteStore(folder_.path()).value();
  AgentRegistry registry_{Clock::Real()};
  std::unique_ptr<RunEngine> engine_;
};

TEST_F(TakeWordTest, IsOnDiskBeforeItIsAnswered) {
  Leave("r1");
  Start();
  const auto told = Tell("");
  ASSERT_TRUE(told.ok()) << told.status();
  const auto stored = store_->GetRun("r1");
  ASSERT_TRUE(stored.ok());
  bool there = false;
  for (const v1::Mark& mark : stored->marks()) {
    there |= mark.kind() == v1::MARK_KIND_ACKNOWLEDGED && mark.detail() == "alice";
  }
  EXPECT_TRUE(there) << stored->ShortDebugString();
}

TEST_F(TakeWordTest, SaysWhyNoRunIsMeant) {
  Start();
  EXPECT_EQ(Words(Tell("").status()), "no run is under way");
  EXPECT_EQ(Words(Tell("r1").status()), "run r1 is not under way");
  engine_.reset();
  Leave("r1");
  Leave("r2");
  Start();
  EXPECT_EQ(Words(Tell("").status()), "several runs are under way, so one must be named: r1, r2");
  EXPECT_EQ(Tell("r2")->id(), "r2");
}

}  // namespace
}  // namespace firedrill::controller
