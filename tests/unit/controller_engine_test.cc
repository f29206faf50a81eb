// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "controller/run/engine.h"
#include "controller/store/sqlite_store.h"
#include "proto/support/time.h"
#include "tests/lib/process.h"

namespace firedrill::controller {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

// A store whose disk can be full.
class FragileStore : public Store {
 public:
  explicit FragileStore(std::unique_ptr<Store> store) : store_(std::move(store)) {}
  std::atomic<bool> full = false;
  std::atomic<int> saves_left = 1'000'000;
  std::atomic<bool> unreadable = false;

  absl::Status SaveRun(const v1::Run& run, const std::vector<v1::Series>& samples) override {
    if (full || saves_left-- <= 0) return absl::ResourceExhaustedError("write: the disk is full");
    return store_->SaveRun(run, samples);
  }
  absl::StatusOr<v1::Run> GetRun(std::string_view id) override {
    if (unreadable) return absl::InternalError("read: an input/output error");
    return store_->GetRun(id);
  }
  absl::StatusOr<std::vector<v1::Run>> ListRuns(const RunQuery& query) override {
    return store_->ListRuns(query);
  }
  absl::StatusOr<std::vector<v1::Run>> UnfinishedRuns() override {
    return store_->UnfinishedRuns();
  }
  absl::StatusOr<bool> SaveExperiment(const StoredExperiment& experiment) override {
    return store_->SaveExperiment(experiment);
  }
  absl::StatusOr<StoredExperiment> GetExperiment(std::string_view name) override {
    return store_->GetExperiment(name);
  }
  absl::Status DeleteExperiment(std::string_view name) override {
    return store_->DeleteExperiment(name);
  }
  absl::StatusOr<std::vector<StoredExperiment>> ListExperiments() override {
    return store_->ListExperiments();
  }
  absl::Status SetScheduleSeen(std::string_view name, SystemTime seen) override {
    return store_->SetScheduleSeen(name, seen);
  }
  absl::Status SetLastRun(std::string_view experiment, std::string_view run_id) override {
    return store_->SetLastRun(experiment, run_id);
  }
  absl::Status Audit(const AuditLine& line) override { return store_->Audit(line); }
  absl::StatusOr<std::vector<AuditLine>> ListAudit(std::size_t limit) override {
    return store_->ListAudit(limit);
  }
  absl::StatusOr<std::size_t> Prune(std::optional<SystemTime> before,
                                    std::optional<std::size_t> most) override {
    return store_->Prune(before, most);
  }

 private:
  const std::unique_ptr<Store> store_;
};

// What an agent was sent, and what a watcher was shown.
class Recorder : public AgentChannel, public RunWatcher {
 public:
  bool Send(const v1::ConnectResponse& message) override {
    absl::MutexLock lock(&mutex_);
    messages_.push_back(message);
    return true;
  }
  void Close(const absl::Status& /*status*/) override {}
  void OnRun(const std::shared_ptr<const v1::Run>& run) override {
    absl::MutexLock lock(&mutex_);
    shown_ = *run;
  }
  void OnLost(const absl::Status& why) override {
    absl::MutexLock lock(&mutex_);
    lost_ = why;
  }
  absl::Status WaitLost() {
    const auto lost = [&]() { return !lost_.ok(); };
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&lost), absl::Seconds(10));
    return lost_;
  }

  bool WaitFor(const std::function<bool(const v1::ConnectResponse&)>& wanted,
               absl::Duration patience = absl::Seconds(10)) {
    const auto found = [&]() {
      for (const v1::ConnectResponse& message : messages_) {
        if (wanted(message)) return true;
      }
      return false;
    };
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(&found), patience);
  }
  bool WaitShown(v1::RunState state) {
    const auto shown = [&]() { return shown_.state() == state; };
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(&shown), absl::Seconds(10));
  }
  v1::RunState shown() {
    absl::MutexLock lock(&mutex_);
    return shown_.state();
  }

 private:
  absl::Mutex mutex_;
  std::vector<v1::ConnectResponse> messages_;
  v1::Run shown_;
  absl::Status lost_;
};

class EngineTest : public ::testing::Test {
 protected:
  EngineTest() {
    v1::Hello hello;
    hello.set_agent_id("cache1");
    hello.set_environment("staging");
    hello.add_faults()->set_fault("packet_loss");
    hello.mutable_faults(0)->set_supported(true);
    EXPECT_TRUE(registry_.Connect(hello, "", recorder_).ok());
    engine_.Start();
  }

  static v1::Experiment MakeExperiment() {
    v1::Experiment experiment;
    experiment.set_name("cache-loss");
    experiment.set_environment("staging");
    (*experiment.mutable_targets())["cache"].add_hosts("cache1");
    for (const char* label : {"role", "site", "tier", "zone", "rack", "row"}) {
      (*experiment.mutable_targets())[label].add_hosts("cache1");
    }
    v1::Step* step = experiment.add_method();
    step->set_name("lose packets");
    step->set_target("cache");
    *step->mutable_duration() = ToProto(seconds(60));
    step->mutable_fault()->mutable_packet_loss()->set_percent(33);
    return experiment;
  }
  absl::StatusOr<v1::Run> Start(const std::string& id, bool scheduled = false) {
    std::promise<absl::StatusOr<v1::Run>> promise;
    engine_.StartRun(
        {.run_id = id,
         .experiment = MakeExperiment(),
         .who = scheduled ? "schedule" : "ana",
         .scheduled = scheduled},
        [&promise](absl::StatusOr<v1::Run> run) { promise.set_value(std::move(run)); });
    return promise.get_future().get();
  }
  void Tell(v1::InjectionState state) {
    v1::InjectionUpdate update;
    update.set_injection_id("r1.1");
    update.set_run_id("r1");
    update.set_state(state);
    *update.mutable_applied_at() = ToProto(Clock::Real().System());
    *update.mutable_first_impact_at() = update.applied_at();
    update.set_end_proven(state == v1::INJECTION_STATE_ENDED);
    update.set_end_reason(v1::END_REASON_REQUESTED);
    engine_.AgentUpdate("cache1", update);
  }
  static bool IsApply(const v1::ConnectResponse& message) { return message.has_apply(); }
  static bool IsEnd(const v1::ConnectResponse& message) { return message.has_end(); }

  test::TemporaryFolder folder_;
  FragileStore store_{OpenSqliteStore(folder_.path()).value()};
  AgentRegistry registry_{Clock::Real()};
  std::shared_ptr<Recorder> recorder_ = std::make_shared<Recorder>();
  std::promise<v1::Run> finished_;
  std::size_t live_when_told_ = 0;  // that one among them; written before finished_ is set
  RunEngine engine_{
      store_, registry_, nullptr, Clock::Real(), EngineOptions{}, [this](const v1::Run& run) {
        live_when_told_ = engine_.LiveRuns().size();
        finished_.set_value(run);
      }};
};

TEST_F(EngineTest, ARunIsOnDiskBeforeAnybodyIsTold) {
  const absl::StatusOr<v1::Run> run = Start("r1");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_TRUE(store_.GetRun("r1").ok());
  ASSERT_TRUE(recorder_->WaitFor(IsApply));
  EXPECT_EQ(store_.GetRun("r1")->injections(0).state(), v1::INJECTION_STATE_APPLYING);
}

TEST_F(EngineTest, AFullDiskEndsFaultsAndShowsNothingThatIsNotStored) {
  ASSERT_TRUE(Start("r1").ok());
  engine_.Watch("r1", recorder_);
  ASSERT_TRUE(recorder_->WaitFor(IsApply));
  ASSERT_TRUE(recorder_->WaitShown(v1::RUN_STATE_INJECTING));
  store_.full = true;
  Tell(v1::INJECTION_STATE_ACTIVE);
  EXPECT_TRUE(recorder_->WaitFor(IsEnd)) << "ending needs no disk";
  EXPECT_EQ(recorder_->shown(), v1::RUN_STATE_INJECTING) << "the abort is not on disk yet";
  EXPECT_FALSE(engine_.Health().ok());
  Tell(v1::INJECTION_STATE_ENDED);
  store_.full = false;
  const v1::Run run = finished_.get_future().get();
  EXPECT_EQ(run.verdict().verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(run.verdict().reasons(0), HasSubstr("the controller's store cannot be written"));
  EXPECT_EQ(store_.GetRun("r1")->state(), v1::RUN_STATE_FINISHED);
  EXPECT_TRUE(recorder_->WaitShown(v1::RUN_STATE_FINISHED));
  EXPECT_TRUE(engine_.Health().ok());
}

TEST_F(EngineTest, AnApplyThatCouldNotBeStoredWasNeverSentSoNothingIsLeft) {
  store_.saves_left = 1;
  ASSERT_TRUE(Start("r1").ok());
  while (engine_.Health().ok()) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_FALSE(recorder_->WaitFor(IsApply, absl::ZeroDuration()));
  store_.saves_left = 1'000'000;
  std::future<v1::Run> finished = finished_.get_future();
  ASSERT_EQ(finished.wait_for(seconds(10)), std::future_status::ready) << "waits for no agent";
  EXPECT_EQ(finished.get().verdict().verdict(), v1::VERDICT_ABORTED);
}

TEST_F(EngineTest, ARunIsToldOfAsFinishedBeforeItCeasesToBeLive) {
  ASSERT_TRUE(Start("r1").ok());
  ASSERT_TRUE(recorder_->WaitFor(IsApply));
  engine_.AbortRun("r1", "ana", "", [](const absl::StatusOr<v1::Run>& /*aborting*/) {});
  Tell(v1::INJECTION_STATE_ENDED);
  finished_.get_future().wait();
  EXPECT_EQ(live_when_told_, 1U) << "a scrape in between would see it neither live nor counted";
  const absl::Time deadline = absl::Now() + absl::Seconds(10);
  while (!engine_.LiveRuns().empty() && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_TRUE(engine_.LiveRuns().empty());
}

TEST_F(EngineTest, BeginsNothingOnAFullDisk) {
  store_.full = true;
  EXPECT_EQ(Start("r1").status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(engine_.LiveRuns().empty());
}

TEST_F(EngineTest, ARefusedScheduledRunIsRecorded) {
  ASSERT_TRUE(Start("r1").ok());
  EXPECT_EQ(Start("r2", true).status().code(), absl::StatusCode::kFailedPrecondition);
  const absl::StatusOr<v1::Run> refused = store_.GetRun("r2");
  ASSERT_TRUE(refused.ok()) << "nobody else would see it";
  EXPECT_EQ(refused->state(), v1::RUN_STATE_FINISHED);
  EXPECT_THAT(refused->verdict().reasons(0), HasSubstr("run r1 of cache-loss is under way"));
}

TEST_F(EngineTest, AStartThatIsTriedAgainAnswersWithTheRun) {
  ASSERT_TRUE(Start("r1").ok());
  for (int i = 0; i < 10; ++i) {
    const absl::StatusOr<v1::Run> again = Start("r1");
    ASSERT_TRUE(again.ok()) << again.status() << ": equal maps need not have equal bytes";
    EXPECT_EQ(again->id(), "r1");
  }
}

TEST_F(EngineTest, ARunThatCannotBeReadIsNotWrittenOver) {
  v1::Run earlier;
  earlier.set_id("r1");
  earlier.set_state(v1::RUN_STATE_FINISHED);
  ASSERT_TRUE(store_.SaveRun(earlier, {}).ok());
  store_.unreadable = true;
  EXPECT_EQ(Start("r1").status().code(), absl::StatusCode::kInternal);
  store_.unreadable = false;
  EXPECT_EQ(store_.GetRun("r1")->state(), v1::RUN_STATE_FINISHED);
}

TEST_F(EngineTest, AWatchAlwaysHearsOfAnEnd) {
  v1::Run run;
  run.set_id("r1");
  run.set_state(v1::RUN_STATE_FINISHED);
  ASSERT_TRUE(store_.SaveRun(run, {}).ok());
  engine_.Watch("r1", recorder_);
  EXPECT_TRUE(recorder_->WaitShown(v1::RUN_STATE_FINISHED));
  engine_.Watch("r2", recorder_);
  EXPECT_EQ(recorder_->WaitLost().code(), absl::StatusCode::kNotFound);
}

// A Prometheus that does not answer in time.
class SilentProbe : public Probe {
 public:
  std::atomic<int> calls = 0;
  ProbeAnswer Ask(const ProbeQuestion& /*question*/) override {
    ++calls;
    ProbeAnswer answer;
    answer.status = absl::DeadlineExceededError("no answer in time");
    return answer;
  }
  std::optional<Nanoseconds> ScrapeInterval() override {
    ++calls;
    return std::nullopt;
  }
};

TEST(ProberTest, WaitsForOneDeadlineOnlyBeforeAStopConditionIsUnknown) {
  SilentProbe probe;
  std::promise<ProbeAnswers> promise;
  Prober prober(probe);
  ProbeQuestions questions;
  questions.alerts.alerts = {{"ShopSlow", {}}};
  prober.Ask(
      questions, [](const ProbeAnswer&) {},
      [&promise](const ProbeAnswers& answers) { promise.set_value(answers); });
  const ProbeAnswers answers = promise.get_future().get();
  EXPECT_EQ(probe.calls, 1);
  ASSERT_EQ(answers.alerts.alerts.size(), 1u);
  EXPECT_EQ(answers.alerts.alerts[0].status.code(), absl::StatusCode::kDeadlineExceeded);
}

// One that says at once what is recent, and of alerts nothing until it may.
class SlowAlerts : public Probe {
 public:
  absl::Notification may;
  ProbeAnswer Ask(const ProbeQuestion& question) override {
    if (!question.alerts.empty()) may.WaitForNotificationWithTimeout(absl::Seconds(10));
    ProbeAnswer answer;
    answer.stop_conditions.resize(question.stop_conditions.size());
    return answer;
  }
  std::optional<Nanoseconds> ScrapeInterval() override { return seconds(1); }
};

TEST(ProberTest, TellsWhatIsRecentBeforeItAsksForTheAlerts) {
  SlowAlerts probe;
  Prober prober(probe);
  ProbeQuestions questions;
  questions.recent.stop_conditions = {"up == 0"};
  questions.alerts.alerts = {{"ShopSlow", {}}};
  std::promise<std::size_t> recent;
  std::promise<bool> all;
  bool told = false;
  prober.Ask(
      questions,
      [&](const ProbeAnswer& answer) {
        told = true;
        recent.set_value(answer.stop_conditions.size());
      },
      [&](const ProbeAnswers&) { all.set_value(told); });
  std::future<std::size_t> conditions = recent.get_future();
  EXPECT_EQ(conditions.wait_for(seconds(5)), std::future_status::ready);
  probe.may.Notify();
  EXPECT_TRUE(all.get_future().get());
}

TEST_F(EngineTest, StopAbortsAndTakesNothingNew) {
  ASSERT_TRUE(Start("r1").ok());
  ASSERT_TRUE(recorder_->WaitFor(IsApply));
  Tell(v1::INJECTION_STATE_ACTIVE);
  std::thread stopper([this] { engine_.Stop("the controller was stopped", seconds(10)); });
  EXPECT_TRUE(recorder_->WaitFor(IsEnd));
  EXPECT_EQ(Start("r2").status().code(), absl::StatusCode::kUnavailable);
  Tell(v1::INJECTION_STATE_ENDED);
  stopper.join();
  EXPECT_EQ(store_.GetRun("r1")->verdict().reasons(0), "the controller was stopped");
}

}  // namespace
}  // namespace firedrill::controller
