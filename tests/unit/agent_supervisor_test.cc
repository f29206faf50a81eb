// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "proto/support/time.h"
#include "tests/unit/supervisor_fixture.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;

TEST_F(SupervisorTest, EndsAFaultWhenItsDurationIsOverWithoutAnybody) {
  supervisor_->Apply(Cpu("a", seconds(10)));
  Pass(seconds(1));
  EXPECT_EQ(last_["a"].state(), v1::INJECTION_STATE_ACTIVE);
  Pass(seconds(10));
  EXPECT_EQ(last_["a"].state(), v1::INJECTION_STATE_ENDED);
  EXPECT_EQ(last_["a"].end_reason(), v1::END_REASON_DURATION);
  EXPECT_TRUE(last_["a"].end_proven());
  EXPECT_TRUE(spawner_.workers[0]->gone);
  EXPECT_FALSE(spawner_.workers[0]->killed);
}

TEST_F(SupervisorTest, EndsAFaultWhenItsLeaseExpires) {
  supervisor_->Apply(Cpu("a", minutes(10)));
  Pass(seconds(14));
  v1::Renew renew;
  renew.add_injection_ids("a");
  *renew.mutable_lease() = ToProto(seconds(15));
  supervisor_->Renew(renew);
  Pass(seconds(14));
  EXPECT_EQ(last_["a"].state(), v1::INJECTION_STATE_ACTIVE);
  Pass(seconds(2));
  EXPECT_EQ(last_["a"].state(), v1::INJECTION_STATE_ENDED);
  EXPECT_EQ(last_["a"].end_reason(), v1::END_REASON_LEASE);
  EXPECT_EQ(supervisor_->counts().leases_run_out, 1u);
}

TEST_F(SupervisorTest, ASecondApplyOfAnIdBeginsNothing) {
  supervisor_->Apply(Cpu("a"));
  Pass(seconds(1));
  supervisor_->Apply(Cpu("a"));
  Pass(seconds(1));
  EXPECT_EQ(spawner_.workers.size(), 1u);
  EXPECT_EQ(last_["a"].state(), v1::INJECTION_STATE_ACTIVE);
  supervisor_->End("a", v1::END_REASON_REQUESTED);
  Pass(seconds(1));
  supervisor_->Apply(Cpu("a"));
  Pass(seconds(1));
  EXPECT_EQ(spawner_.workers.size(), 1u) << "an ended one does not begin anew either";
  EXPECT_EQ(last_["a"].state(), v1::INJECTION_STATE_ENDED);
}

TEST_F(SupervisorTest, RefusesMoreThanTheCapAndCountsIt) {
  Restart({.max_live_faults = 2});
  for (const char* id : {"a", "b", "c"}) supervisor_->Apply(Cpu(id));
  Pass(seconds(1));
  EXPECT_EQ(last_["b"].state(), v1::INJECTION_STATE_ACTIVE);
  EXPECT_EQ(last_["c"].state(), v1::INJECTION_STATE_FAILED);
  EXPECT_THAT(last_["c"].error(), HasSubstr("--max-live-faults"));
  EXPECT_EQ(supervisor_->counts().over_cap, 1u);
  EXPECT_EQ(supervisor_->counts().live, 2);
  supervisor_->End("a", v1::END_REASON_REQUESTED);
  Pass(seconds(1));
  supervisor_->Apply(Cpu("d"));
  Pass(seconds(1));
  EXPECT_EQ(last_["d"].state(), v1::INJECTION_STATE_ACTIVE);
}

TEST_F(SupervisorTest, RefusesWhatBreaksTheRulesWhatIsNotAllowedAndWhatTheHostCannotDo) {
  v1::Apply wrong = Cpu("wrong");
  wrong.mutable_fault()->mutable_cpu()->set_percent(120);
  supervisor_->Apply(wrong);
  EXPECT_THAT(last_["wrong"].error(), HasSubstr("cpu.percent"));
  v1::Apply kill;
  kill.set_injection_id("kill");
  kill.mutable_fault()->mutable_process_kill()->mutable_processes()->set_name("x");
  supervisor_->Apply(kill);
  EXPECT_THAT(last_["kill"].error(), HasSubstr("--allow process_kill"));
  v1::Apply latency = Loss("latency");
  *latency.mutable_fault()->mutable_latency()->mutable_delay() = ToProto(milliseconds(50));
  supervisor_->Apply(latency);
  EXPECT_THAT(last_["latency"].error(), HasSubstr("/dev/net/tun"));
  v1::Apply endless = Cpu("endless");
  endless.clear_duration();
  supervisor_->Apply(endless);
  EXPECT_EQ(last_["endless"].state(), v1::INJECTION_STATE_FAILED);
  EXPECT_TRUE(spawner_.workers.empty());
}

TEST_F(SupervisorTest, AnAllowedKillRuns) {
  Restart({.allowed = {"process_kill"}});
  v1::Apply kill;
  kill.set_injection_id("kill");
  kill.mutable_fault()->mutable_process_kill()->mutable_processes()->set_name("x");
  supervisor_->Apply(kill);
  Pass(seconds(1));
  EXPECT_EQ(last_["kill"].state(), v1::INJECTION_STATE_ACTIVE);
  wire::FromWorker done;
  done.mutable_observed()->set_id("kill");
  done.mutable_observed()->set_completed(true);
  done.mutable_observed()->set_first_impact_ns(1'800'000'000'500'000'000);
  spawner_.workers[0]->says.push_back(done);
  Pass(seconds(1));
  EXPECT_EQ(last_["kill"].state(), v1::INJECTION_STATE_ENDED);
  EXPECT_EQ(last_["kill"].end_reason(), v1::END_REASON_COMPLETED);
  EXPECT_TRUE(last_["kill"].has_first_impact_at());
}

TEST_F(SupervisorTest, KillsAWorkerThatFallsSilentAndEndsWhatItHeld) {
  supervisor_->Apply(Loss("a"));
  supervisor_->Apply(Loss("b"));
  Pass(seconds(1));
  ASSERT_EQ(spawner_.workers.size(), 1u) << "all traffic lives in one worker";
  spawner_.workers[0]->answers = false;
  Pass(seconds(2));
  EXPECT_FALSE(last_["a"].end_proven());
  Pass(seconds(1));
  EXPECT_TRUE(spawner_.workers[0]->killed);
  for (const char* id : {"a", "b"}) {
    EXPECT_EQ(last_[id].state(), v1::INJECTION_STATE_ENDED);
    EXPECT_EQ(last_[id].end_reason(), v1::END_REASON_WORKER_DIED);
    EXPECT_THAT(last_[id].error(), HasSubstr("hung"));
    EXPECT_TRUE(last_[id].end_proven());
  }
}

TEST_F(SupervisorTest, WorkersGetTheirLeasesWhileWhatOthersLeftIsUndone) {
  for (const char* id : {"a", "b", "c"}) supervisor_->Apply(Cpu(id));
  Pass(milliseconds(100));
  slow_ = &clock_;
  for (const int left : {0, 1}) {
    const int writer = spawner_.workers.at(static_cast<std::size_t>(left))->pid;
    folder_.Write("journal/" + std::to_string(left) + ".undo",
                  R"({"format": 1, "kind": "slow", "boot_id": "boot", "written_at_ns": 1,)"
                  R"( "values": {}, "writer": )" +
                      std::to_string(writer) + "}");
    spawner_.workers[static_cast<std::size_t>(left)]->gone = true;
  }
  const std::size_t before = spawner_.workers[2]->heard.size();
  const SteadyTime start = clock_.Steady();
  supervisor_->Tick();
  EXPECT_EQ(clock_.Steady() - start, milliseconds(1800));
  EXPECT_GE(spawner_.workers[2]->heard.size() - before, 2u) << "one after each";
}

TEST_F(SupervisorTest, KillsAWorkerThatDoesNotRevert) {
  supervisor_->Apply(Cpu("a"));
  Pass(seconds(1));
  spawner_.workers[0]->obeys = false;
  supervisor_->End("a", v1::END_REASON_REQUESTED);
  Pass(seconds(3));
  EXPECT_TRUE(spawner_.workers[0]->killed);
  EXPECT_EQ(last_["a"].state(), v1::INJECTION_STATE_ENDED);
  EXPECT_EQ(last_["a"].end_reason(), v1::END_REASON_REQUESTED);
  EXPECT_TRUE(last_["a"].end_proven());
}

TEST_F(SupervisorTest, AWorkerThatDiesWhileApplyingMeansNotApplied) {
  supervisor_->Apply(Cpu("first"));
  Pass(seconds(1));
  supervisor_->Apply(Cpu("a"));
  spawner_.workers[1]->says.clear();
  spawner_.workers[1]->gone = true;
  Pass(seconds(1));
  EXPECT_EQ(last_["a"].state(), v1::INJECTION_STATE_FAILED);
  EXPECT_THAT(last_["a"].error(), HasSubstr("worker died"));
  EXPECT_EQ(last_["first"].state(), v1::INJECTION_STATE_ACTIVE);
}

TEST_F(SupervisorTest, SaysThatAnEndIsNotProvenWhenSomethingIsLeft) {
  supervisor_->Apply(Loss("a"));
  Pass(seconds(1));
  left_behind_ = true;
  supervisor_->End("a", v1::END_REASON_REQUESTED);
  Pass(seconds(4));
  EXPECT_EQ(last_["a"].state(), v1::INJECTION_STATE_ENDING) << "it is looked for again and again";
  Pass(seconds(2));
  EXPECT_EQ(last_["a"].state(), v1::INJECTION_STATE_ENDED);
  EXPECT_FALSE(last_["a"].end_proven());
  EXPECT_THAT(last_["a"].error(), HasSubstr("filter is left on eth0"));
}

TEST_F(SupervisorTest, ATrafficWorkerLivesAsLongAsItsLastRule) {
  supervisor_->Apply(Loss("a"));
  supervisor_->Apply(Loss("b"));
  Pass(seconds(1));
  supervisor_->End("a", v1::END_REASON_REQUESTED);
  Pass(seconds(1));
  EXPECT_EQ(last_["a"].state(), v1::INJECTION_STATE_ENDED);
  EXPECT_FALSE(spawner_.workers[0]->gone);
  supervisor_->End("b", v1::END_REASON_REQUESTED);
  Pass(seconds(1));
  EXPECT_TRUE(spawner_.workers[0]->gone);
  supervisor_->Apply(Loss("c"));
  Pass(seconds(1));
  EXPECT_EQ(spawner_.workers.size(), 2u);
}

TEST_F(SupervisorTest, DrainEndsAllAndTakesNothingNew) {
  supervisor_->Apply(Cpu("a"));
  supervisor_->Apply(Loss("b"));
  Pass(seconds(1));
  supervisor_->Drain();
  supervisor_->Apply(Cpu("late"));
  Pass(seconds(1));
  EXPECT_EQ(last_["a"].end_reason(), v1::END_REASON_AGENT_STOPPING);
  EXPECT_EQ(last_["b"].state(), v1::INJECTION_STATE_ENDED);
  EXPECT_EQ(last_["late"].state(), v1::INJECTION_STATE_FAILED);
  EXPECT_TRUE(supervisor_->idle());
}

TEST_F(SupervisorTest, EveryWorkerKnowsTheFamilyAndTheStream) {
  supervisor_->Apply(Cpu("a"));
  Pass(seconds(1));
  supervisor_->SetEndpoints({{"192.0.2.7", 7443}});
  supervisor_->Apply(Cpu("b"));
  Pass(seconds(1));
  wire::ProtectedSet newest;
  for (const auto& message : spawner_.workers[0]->heard) {
    if (message.has_leash() && message.leash().has_protect()) newest = message.leash().protect();
  }
  ASSERT_EQ(newest.endpoints_size(), 1);
  EXPECT_EQ(newest.endpoints(0).address(), "192.0.2.7");
  EXPECT_THAT(
      newest.family_pids(),
      testing::UnorderedElementsAre(getpid(), spawner_.workers[0]->pid, spawner_.workers[1]->pid));
}

TEST_F(SupervisorTest, RemembersWhatEndedForTenMinutes) {
  supervisor_->Apply(Cpu("a", seconds(1)));
  Pass(seconds(3));
  EXPECT_EQ(supervisor_->Known().size(), 1u);
  clock_.Advance(minutes(9));
  supervisor_->Tick();
  EXPECT_EQ(supervisor_->Known().size(), 1u);
  clock_.Advance(minutes(1));
  supervisor_->Tick();
  EXPECT_TRUE(supervisor_->Known().empty());
}

TEST_F(SupervisorTest, ASuccessorProvesTheEndOfWhatACrashedAgentHeld) {
  supervisor_->Apply(Loss("a"));
  Pass(seconds(1));
  ASSERT_EQ(journal_->Read()->records.size(), 1u);
  supervisor_.reset();  // a crash: nothing is ended, the record stays
  Restart();
  left_behind_ = true;
  EXPECT_FALSE(supervisor_->Recover().ok());
  left_behind_ = false;
  EXPECT_TRUE(supervisor_->Recover().ok());
  const auto known = supervisor_->Known();
  ASSERT_EQ(known.size(), 1u);
  EXPECT_EQ(known[0].injection_id(), "a");
  EXPECT_EQ(known[0].run_id(), "run");
  EXPECT_EQ(known[0].state(), v1::INJECTION_STATE_ENDED);
  EXPECT_TRUE(known[0].end_proven());
  EXPECT_TRUE(journal_->Read()->records.empty());
}

TEST_F(SupervisorTest, AJournalThatCannotBeWrittenCostsNoWorker) {
  std::filesystem::remove_all(folder_.path() + "/journal");
  for (const auto& apply : {Cpu("a"), Loss("b")}) supervisor_->Apply(apply);
  Pass(seconds(1));
  for (const char* id : {"a", "b"}) EXPECT_EQ(last_[id].state(), v1::INJECTION_STATE_FAILED) << id;
  for (const auto& worker : spawner_.workers) EXPECT_TRUE(worker->gone);
  EXPECT_TRUE(supervisor_->idle());
}

TEST_F(SupervisorTest, AFirstImpactThatWasToldDoesNotMove) {
  supervisor_->Apply(Cpu("a"));
  Pass(seconds(1));
  FakeWorker& worker = *spawner_.workers[0];
  wire::FromWorker seen, finished;
  seen.mutable_observed()->set_id("a");
  seen.mutable_observed()->set_first_impact_ns(1'800'000'000'500'000'000);
  worker.says.push_back(seen);
  Pass(seconds(1));
  // The worker computes it anew each time, and the host's clock was stepped meanwhile.
  seen.mutable_observed()->set_first_impact_ns(1'900'000'000'500'000'000);
  worker.says.push_back(seen);
  Pass(seconds(1));
  EXPECT_EQ(last_["a"].first_impact_at().seconds(), 1'800'000'000);
  worker.obeys = false;
  supervisor_->End("a", v1::END_REASON_REQUESTED);
  finished.mutable_finished()->set_id("a");
  *finished.mutable_finished()->mutable_last() = seen.observed();
  worker.says.push_back(finished);
  Pass(seconds(5));
  EXPECT_EQ(last_["a"].state(), v1::INJECTION_STATE_ENDED);
  EXPECT_EQ(last_["a"].first_impact_at().seconds(), 1'800'000'000);
}

TEST_F(SupervisorTest, ARecordThatLacksAFieldIsToldAndNoReasonToCrash) {
  ASSERT_TRUE(
      journal_->Record(kInjectionRecord, {{"id", "a"}, {"fault", ""}, {kWorkerPid, "7"}}).ok());
  EXPECT_THAT(std::string(supervisor_->Recover().message()), HasSubstr("holds no injection"));
}

v1::Apply KillPreview(const std::string& id) {
  v1::Apply apply;
  apply.set_injection_id(id);
  apply.set_run_id("preview-1");
  apply.mutable_fault()->mutable_process_kill()->mutable_processes()->set_name("redis-server");
  *apply.mutable_duration() = ToProto(seconds(5));
  *apply.mutable_lease() = ToProto(seconds(15));
  apply.set_preview(true);
  return apply;
}

// What touches nothing needs no permission, is no live fault, and has nothing to prove.
TEST_F(SupervisorTest, APreviewNeedsNoPermissionAndCountsAsNoFault) {
  SupervisorOptions options;
  options.max_live_faults = 1;
  Restart(options);
  left_behind_ = true;  // what the fault itself would have to prove
  supervisor_->Apply(Loss("a"));
  supervisor_->Apply(KillPreview("p1"));
  Pass(seconds(1));
  EXPECT_EQ(last_["a"].state(), v1::INJECTION_STATE_ACTIVE);
  EXPECT_EQ(last_["p1"].state(), v1::INJECTION_STATE_ACTIVE) << last_["p1"].error();
  EXPECT_TRUE(spawner_.workers[1]->heard[0].begin().preview());
  EXPECT_FALSE(spawner_.workers[0]->heard[0].begin().preview());
  EXPECT_EQ(supervisor_->counts().live, 1);
  supervisor_->Apply(KillPreview("p2"));
  EXPECT_THAT(last_["p2"].error(), HasSubstr("no more are allowed"));
  Pass(seconds(6));
  EXPECT_EQ(last_["p1"].state(), v1::INJECTION_STATE_ENDED);
  EXPECT_EQ(last_["p1"].end_reason(), v1::END_REASON_DURATION);
  EXPECT_TRUE(last_["p1"].end_proven());
  EXPECT_TRUE(spawner_.workers[1]->gone);
}

TEST_F(SupervisorTest, APreviewEndsWithItsLeaseAndHasALength) {
  v1::Apply apply = KillPreview("p1");
  *apply.mutable_duration() = ToProto(minutes(4));
  *apply.mutable_lease() = ToProto(seconds(3));
  supervisor_->Apply(apply);
  Pass(seconds(4));
  EXPECT_EQ(last_["p1"].end_reason(), v1::END_REASON_LEASE);
  apply = KillPreview("p2");
  apply.clear_duration();
  supervisor_->Apply(apply);
  EXPECT_THAT(last_["p2"].error(), HasSubstr("a preview lasts over 0s and at most 5m"));
}

TEST_F(SupervisorTest, RefusesToPreviewWhatHasNoChoice) {
  v1::Apply apply = Cpu("p1");
  apply.set_preview(true);
  supervisor_->Apply(apply);
  EXPECT_EQ(last_["p1"].state(), v1::INJECTION_STATE_FAILED);
  EXPECT_THAT(last_["p1"].error(), HasSubstr("what a cpu would touch cannot be counted"));
}

TEST_F(SupervisorTest, RefusesWhatAParameterNeedsAndTheHostLacks) {
  v1::Apply apply = Loss("a");
  apply.mutable_fault()->mutable_packet_loss()->set_counting(v1::COUNTING_EXACT);
  supervisor_->Apply(apply);
  EXPECT_EQ(last_["a"].error(),
            "packet_loss with these parameters needs delay_line of this host: this agent does not "
            "know it");
  SupervisorOptions options;
  options.abilities.emplace_back();
  options.abilities[0].set_name("delay_line");
  options.abilities[0].set_reason("/dev/net/tun is missing");
  Restart(options);
  apply.set_injection_id("b");
  supervisor_->Apply(apply);
  EXPECT_THAT(last_["b"].error(),
              HasSubstr("needs delay_line of this host: /dev/net/tun is missing"));
  options.abilities[0].set_available(true);
  Restart(options);
  apply.set_injection_id("c");
  supervisor_->Apply(apply);
  EXPECT_EQ(last_["c"].error(), "");
}

}  // namespace
}  // namespace firedrill::agent
