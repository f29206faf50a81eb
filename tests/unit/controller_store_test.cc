// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "controller/store/schema.h"
#include "controller/store/sqlite.h"
#include "controller/store/sqlite_store.h"
#include "controller/store/store.h"
#include "proto/support/time.h"
#include "tests/lib/process.h"

namespace firedrill::controller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

SystemTime At(int seconds) { return SystemTime(std::chrono::seconds(1'800'000'000 + seconds)); }

v1::Run MakeRun(const std::string& id, int created, bool finished,
                const std::string& experiment = "cache-loss") {
  v1::Run run;
  run.set_id(id);
  run.mutable_experiment()->set_name(experiment);
  *run.mutable_created_at() = ToProto(At(created));
  run.set_state(finished ? v1::RUN_STATE_FINISHED : v1::RUN_STATE_INJECTING);
  return run;
}

v1::Series MakeSeries(const std::string& name, std::vector<std::pair<int, double>> samples) {
  v1::Series series;
  series.set_name(name);
  for (const auto& [at, value] : samples) {
    v1::Sample* sample = series.add_samples();
    *sample->mutable_at() = ToProto(At(at));
    sample->set_value(value);
  }
  return series;
}

std::vector<std::string> Ids(const std::vector<v1::Run>& runs) {
  std::vector<std::string> ids;
  for (const v1::Run& run : runs) ids.push_back(run.id());
  return ids;
}

class StoreTest : public ::testing::Test {
 protected:
  void Open() {
    absl::StatusOr<std::unique_ptr<Store>> store = OpenSqliteStore(folder_.path());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  void Reopen() {
    store_.reset();
    Open();
  }
  std::string File() const { return folder_.path() + "/firedrill.db"; }

  test::TemporaryFolder folder_;
  std::unique_ptr<Store> store_;
};

TEST_F(StoreTest, KeepsRunsWithTheirSamplesOverARestart) {
  Open();
  v1::Run run = MakeRun("r1", 0, false);
  ASSERT_TRUE(store_->SaveRun(run, {MakeSeries("ratio", {{1, 0.5}, {2, NAN}})}).ok());
  run.set_state(v1::RUN_STATE_RECOVERING);
  ASSERT_TRUE(store_->SaveRun(run, {MakeSeries("ratio", {{2, 0.25}, {3, 1}})}).ok());
  ASSERT_TRUE(store_->SaveRun(run, {MakeSeries("other", {{3, NAN}})}).ok());
  Reopen();
  const absl::StatusOr<v1::Run> read = store_->GetRun("r1");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->state(), v1::RUN_STATE_RECOVERING);
  ASSERT_EQ(read->series_size(), 2);
  EXPECT_TRUE(std::isnan(read->series(0).samples(0).value()));
  ASSERT_EQ(read->series(1).name(), "ratio");
  ASSERT_EQ(read->series(1).samples_size(), 3);
  EXPECT_EQ(read->series(1).samples(1).value(), 0.25);
  EXPECT_EQ(FromProto(read->series(1).samples(2).at()), At(3));
  EXPECT_EQ(store_->UnfinishedRuns()->front().series_size(), 2);
}

TEST_F(StoreTest, KeepsTheEvidenceThatMeasuresAreComputedFrom) {
  Open();
  v1::Run run = MakeRun("r1", 0, false);
  v1::AlertEvidence& alert = *run.mutable_evidence()->add_alerts();
  alert.add_series()->set_series("ALERTS/0/0");
  alert.mutable_rule()->set_expression("up == 0");
  alert.add_notifications()->set_fingerprint("f");
  alert.mutable_notifications(0)->mutable_starts_at()->set_seconds(-62135596800);  // 0001-01-01
  run.mutable_evidence()->add_blind();
  run.mutable_random_wait()->set_nanos(5);
  run.add_caveats("the clock of cache1 was set");
  *run.add_series() = MakeSeries("ALERTS/0/0", {{1, 1}});
  ASSERT_TRUE(store_->SaveRun(run, {run.series(0)}).ok());
  Reopen();
  const absl::StatusOr<v1::Run> read = store_->GetRun("r1");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->SerializeAsString(), run.SerializeAsString());
}

TEST_F(StoreTest, AnHourOfAlertsAndIndicatorsIsSmall) {
  Open();
  v1::Run run = MakeRun("20270115-080000-abcdef", 0, false);
  for (int minute = 0; minute < 60; ++minute) {
    std::vector<v1::Series> samples;
    for (const char* name : {"success ratio", "ALERTS/0/0", "ALERTS/0/rule"}) {
      std::vector<std::pair<int, double>> minutes;
      for (int second = 0; second < 60; ++second) minutes.push_back({minute * 60 + second, 1});
      samples.push_back(MakeSeries(name, minutes));
    }
    ASSERT_TRUE(store_->SaveRun(run, samples).ok());
  }
  store_.reset();  // what is in the log is in the file now
  const auto bytes = std::filesystem::file_size(File());
  RecordProperty("bytes_for_an_hour", static_cast<int>(bytes));
  EXPECT_LT(bytes, 3 * 3600 * 80U) << "80 bytes a sample, a sample a second of each of three";
  Open();
  EXPECT_EQ(store_->GetRun(run.id())->series_size(), 3);
}

TEST_F(StoreTest, FindsARunByAPrefixThatNamesOne) {
  Open();
  for (const char* id : {"20261122-a1", "20261122-b1", "20261122-b1-again"}) {
    ASSERT_TRUE(store_->SaveRun(MakeRun(id, 0, true), {}).ok());
  }
  EXPECT_EQ(store_->GetRun("20261122-a")->id(), "20261122-a1");
  EXPECT_EQ(store_->GetRun("20261122-b1")->id(), "20261122-b1") << "an exact id wins";
  const absl::Status several = store_->GetRun("20261122").status();
  EXPECT_EQ(several.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(several.message()), HasSubstr("several runs begin with \"20261122\""));
  EXPECT_EQ(store_->GetRun("2027").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store_->GetRun("").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(StoreTest, ListsNewestFirstByPagesAndExperiment) {
  Open();
  for (int i = 0; i < 5; ++i) {
    const std::string id = "r" + std::to_string(i);
    ASSERT_TRUE(store_->SaveRun(MakeRun(id, i / 2, i != 4, i % 2 == 0 ? "even" : "odd"), {}).ok());
  }
  EXPECT_THAT(Ids(*store_->ListRuns({})), ElementsAre("r4", "r3", "r2", "r1", "r0"));
  EXPECT_THAT(Ids(*store_->ListRuns({.before_run_id = "r3", .limit = 2})), ElementsAre("r2", "r1"));
  EXPECT_THAT(Ids(*store_->ListRuns({.experiment = "even"})), ElementsAre("r4", "r2", "r0"));
  EXPECT_THAT(Ids(*store_->ListRuns({.experiment = "even", .finished_only = true})),
              ElementsAre("r2", "r0"));
  EXPECT_EQ(store_->ListRuns({.before_run_id = "none"}).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_THAT(Ids(*store_->UnfinishedRuns()), ElementsAre("r4"));
}

TEST_F(StoreTest, KeepsExperimentsAndHowFarTheirScheduleIs) {
  Open();
  StoredExperiment stored;
  stored.applied.mutable_experiment()->set_name("weekly");
  stored.applied.set_applied_by("operator/ana");
  *stored.applied.mutable_applied_at() = ToProto(At(1));
  stored.schedule_seen = At(1);
  EXPECT_TRUE(*store_->SaveExperiment(stored));
  ASSERT_TRUE(store_->SetScheduleSeen("weekly", At(60)).ok());
  ASSERT_TRUE(store_->SetLastRun("weekly", "r7").ok());
  Reopen();
  const absl::StatusOr<StoredExperiment> read = store_->GetExperiment("weekly");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->schedule_seen, At(60));
  EXPECT_EQ(read->applied.last_run_id(), "r7");
  EXPECT_EQ(read->applied.applied_by(), "operator/ana");
  stored.applied.mutable_experiment()->set_hypothesis("changed");
  EXPECT_FALSE(*store_->SaveExperiment(stored)) << "replaced, not created";
  EXPECT_EQ(store_->GetExperiment("weekly")->applied.last_run_id(), "r7")
      << "the history belongs to the name";
  EXPECT_EQ(store_->ListExperiments()->size(), 1U);
  EXPECT_TRUE(store_->DeleteExperiment("weekly").ok());
  EXPECT_EQ(store_->DeleteExperiment("weekly").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store_->GetExperiment("weekly").status().code(), absl::StatusCode::kNotFound);
  Reopen();
  EXPECT_TRUE(store_->ListExperiments()->empty());
}

TEST_F(StoreTest, KeepsWhoDidWhat) {
  Open();
  ASSERT_TRUE(store_->Audit({At(1), "operator/ana", "run.start", "r1", ""}).ok());
  ASSERT_TRUE(store_->Audit({At(2), "operator/bo", "run.abort", "r1", "too loud"}).ok());
  Reopen();
  const absl::StatusOr<std::vector<AuditLine>> lines = store_->ListAudit(10);
  ASSERT_TRUE(lines.ok());
  ASSERT_EQ(lines->size(), 2U);
  EXPECT_EQ(lines->front().who, "operator/bo");
  EXPECT_EQ(lines->front().detail, "too loud");
  EXPECT_EQ(lines->front().at, At(2));
  EXPECT_EQ(store_->ListAudit(1)->size(), 1U);
}

TEST_F(StoreTest, DropsFinishedRunsByAgeAndNumberNeverUnfinishedOnes) {
  Open();
  for (int i = 0; i < 6; ++i) {
    const std::string id = "r" + std::to_string(i);
    ASSERT_TRUE(
        store_->SaveRun(MakeRun(id, i * 10, i != 0), {MakeSeries("ratio", {{i, 1.0}})}).ok());
  }
  EXPECT_EQ(*store_->Prune(At(15), std::nullopt), 1U);
  EXPECT_THAT(Ids(*store_->ListRuns({})), ElementsAre("r5", "r4", "r3", "r2", "r0"));
  EXPECT_EQ(*store_->Prune(std::nullopt, 2), 2U);
  EXPECT_THAT(Ids(*store_->ListRuns({})), ElementsAre("r5", "r4", "r0"));
  EXPECT_EQ(*store_->Prune(std::nullopt, std::nullopt), 0U);
  store_.reset();
  absl::StatusOr<Database> database = Database::Open(File());
  ASSERT_TRUE(database.ok());
  Statement left(*database, "SELECT count(*) FROM samples");
  ASSERT_TRUE(*left.Step());
  EXPECT_EQ(left.Integer(0), 3) << "samples go with their run";
}

TEST_F(StoreTest, MigratesAFileOfTheFirstVersionAndKeepsItsRuns) {
  {
    absl::StatusOr<Database> old = Database::Open(File());
    ASSERT_TRUE(old.ok()) << old.status();
    // As version 1 wrote it.
    ASSERT_TRUE(old->Execute(R"sql(
      CREATE TABLE runs (id TEXT PRIMARY KEY, experiment TEXT NOT NULL, created_ns INTEGER NOT NULL,
        finished INTEGER NOT NULL CHECK (finished IN (0, 1)), verdict INTEGER NOT NULL,
        run BLOB NOT NULL) STRICT;
      CREATE INDEX runs_by_time ON runs (created_ns, id);
      CREATE INDEX runs_unfinished ON runs (created_ns) WHERE finished = 0;
      CREATE TABLE experiments (name TEXT PRIMARY KEY, experiment BLOB NOT NULL,
        applied_ns INTEGER NOT NULL, applied_by TEXT NOT NULL, last_run_id TEXT NOT NULL DEFAULT '',
        schedule_seen_ns INTEGER NOT NULL) STRICT;
      CREATE TABLE audit (number INTEGER PRIMARY KEY AUTOINCREMENT, at_ns INTEGER NOT NULL,
        who TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL) STRICT;
      PRAGMA user_version = 1;)sql")
                    .ok());
    Statement insert(*old, "INSERT INTO runs VALUES ('old', 'x', 5, 1, 1, ?)");
    ASSERT_TRUE(insert.Blob(MakeRun("old", 0, true, "x").SerializeAsString()).Run().ok());
  }
  Open();
  EXPECT_EQ(store_->GetRun("old")->experiment().name(), "x");
  EXPECT_TRUE(store_->SaveRun(MakeRun("new", 1, true), {MakeSeries("ratio", {{1, 1}})}).ok());
  store_.reset();
  absl::StatusOr<Database> database = Database::Open(File());
  Statement version(*database, "PRAGMA user_version");
  ASSERT_TRUE(*version.Step());
  EXPECT_EQ(version.Integer(0), SchemaVersion());
}

TEST_F(StoreTest, RefusesAFileOfANewerVersionAndLeavesItAlone) {
  {
    absl::StatusOr<Database> newer = Database::Open(File());
    ASSERT_TRUE(
        newer->Execute("CREATE TABLE future (x INTEGER) STRICT; PRAGMA user_version = 999").ok());
  }
  const absl::Status status = OpenSqliteStore(folder_.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("written by a newer Firedrill"));
  EXPECT_THAT(std::string(status.message()), HasSubstr(File()));
  absl::StatusOr<Database> database = Database::Open(File());
  Statement tables(*database, "SELECT count(*) FROM sqlite_schema");
  ASSERT_TRUE(*tables.Step());
  EXPECT_EQ(tables.Integer(0), 1);
}

TEST_F(StoreTest, RefusesAFolderThatAnotherControllerUses) {
  Open();
  const absl::Status second = OpenSqliteStore(folder_.path()).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.message()), HasSubstr("in use by another firedrill-controller"));
}

TEST_F(StoreTest, SaysThatAFileIsDamaged) {
  std::ofstream(File()) << std::string(8192, 'x');
  const absl::Status status = OpenSqliteStore(folder_.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(File()));
}

TEST_F(StoreTest, SaysThatPagesAreDamaged) {
  Open();
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(store_->SaveRun(MakeRun("r" + std::to_string(i), i, true), {}).ok());
  }
  store_.reset();
  {
    std::fstream file(File(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(8192);
    file << std::string(16384, '\x5a');
  }
  EXPECT_EQ(OpenSqliteStore(folder_.path()).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(StoreTest, SaysThatTheDiskIsFullAndWorksAgainAfterwards) {
  Open();
  v1::Run run = MakeRun("r1", 0, false);
  ASSERT_TRUE(store_->SaveRun(run, {}).ok());
  // A file that may not grow is a disk without room.
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  auto* handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 1;
  setrlimit(RLIMIT_FSIZE, &small);
  run.set_state_detail(std::string(100'000, 'd'));
  const absl::Status full = store_->SaveRun(run, {});
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_FALSE(full.ok());
  EXPECT_THAT(std::string(full.message()), HasSubstr(File()));
  EXPECT_EQ(store_->GetRun("r1")->state_detail(), "") << "nothing half written";
  EXPECT_TRUE(store_->SaveRun(run, {}).ok());
}

TEST_F(StoreTest, SaysThatAnotherProcessHoldsTheFile) {
  absl::StatusOr<Database> database = Database::Open(File());
  ASSERT_TRUE(database->Execute("PRAGMA busy_timeout = 0; CREATE TABLE t (x INTEGER) STRICT").ok());
  absl::StatusOr<Database> other = Database::Open(File());
  Transaction holds(*other);
  ASSERT_TRUE(holds.begun().ok());
  const absl::Status locked = database->Execute("INSERT INTO t VALUES (1)");
  EXPECT_EQ(locked.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(locked.message()), HasSubstr("locked by another process"));
}

}  // namespace
}  // namespace firedrill::controller
