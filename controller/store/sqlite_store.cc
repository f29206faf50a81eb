// SPDX-License-Identifier: Apache-2.0
#include "controller/store/sqlite_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <google/protobuf/util/field_mask_util.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "controller/store/schema.h"
#include "controller/store/sqlite.h"
#include "proto/support/status_macros.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

std::int64_t Ns(SystemTime time) { return time.time_since_epoch().count(); }
SystemTime FromNs(std::int64_t ns) { return SystemTime(Nanoseconds(ns)); }

// Keeps a second controller out of the folder, whatever SQLite's own locks allow.
class FolderLock {
 public:
  static absl::StatusOr<FolderLock> Take(const std::string& folder) {
    const std::string path = folder + "/lock";
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return absl::ErrnoToStatus(errno, "open " + path);
    FolderLock lock(fd);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
      return absl::UnavailableError(fmt::format(
          "{} is in use by another firedrill-controller; stop it, or choose another --data folder",
          folder));
    }
    return lock;
  }
  FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock() {
    if (fd_ >= 0) close(fd_);
  }

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_;
};

absl::StatusOr<v1::Run> ParseRun(const std::string& bytes, std::string_view id) {
  v1::Run run;
  if (!run.ParseFromString(bytes)) {
    return absl::DataLossError(fmt::format("read run {}: the stored message is damaged", id));
  }
  return run;
}

// Series are long, and are stored by themselves: they are not even copied.
v1::Run WithoutSeries(const v1::Run& run) {
  static const google::protobuf::FieldMask kMask = [] {
    google::protobuf::FieldMask mask;
    for (int i = 0; i < v1::Run::descriptor()->field_count(); ++i) {
      const google::protobuf::FieldDescriptor& field = *v1::Run::descriptor()->field(i);
      if (field.number() != v1::Run::kSeriesFieldNumber) mask.add_paths(field.name());
    }
    return mask;
  }();
  v1::Run bare;
  google::protobuf::util::FieldMaskUtil::MergeMessageTo(run, kMask, {}, &bare);
  return bare;
}

class SqliteStore : public Store {
 public:
  SqliteStore(FolderLock lock, Database database)
      : lock_(std::move(lock)), database_(std::move(database)) {}

  absl::Status SaveRun(const v1::Run& run, const std::vector<v1::Series>& new_samples) override {
    const std::string bytes = WithoutSeries(run).SerializeAsString();
    absl::MutexLock lock(&mutex_);
    Transaction transaction(database_);
    RETURN_IF_ERROR(transaction.begun());
    RETURN_IF_ERROR(
        Statement(database_,
                  "INSERT INTO runs (id, experiment, created_ns, finished, verdict, run) "
                  "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                  "finished = excluded.finished, verdict = excluded.verdict, run = excluded.run")
            .Text(run.id())
            .Text(run.experiment().name())
            .Bind(Ns(FromProto(run.created_at())))
            .Bind(std::int64_t{run.state() == v1::RUN_STATE_FINISHED})
            .Bind(std::int64_t{run.verdict().verdict()})
            .Blob(bytes)
            .Run());
    RETURN_IF_ERROR(WriteSamples(run.id(), new_samples));
    return transaction.Commit();
  }

  absl::StatusOr<v1::Run> GetRun(std::string_view id) override {
    absl::MutexLock lock(&mutex_);
    if (id.empty()) return absl::InvalidArgumentError("a run's id, or how it begins, is needed");
    // Exactly this one, or all that begin so: ids have no character above '~'.
    Statement statement(database_,
                        "SELECT id, run FROM runs WHERE id = ?1 UNION ALL SELECT id, run FROM runs "
                        "WHERE id > ?1 AND id < ?1 || '~' AND NOT EXISTS (SELECT 1 FROM runs WHERE "
                        "id = ?1) LIMIT 2");
    statement.Text(id);
    ASSIGN_OR_RETURN(const bool found, statement.Step());
    if (!found) return absl::NotFoundError(fmt::format("no run \"{}\"", id));
    const std::string full_id = statement.Bytes(0);
    ASSIGN_OR_RETURN(v1::Run run, ParseRun(statement.Bytes(1), full_id));
    ASSIGN_OR_RETURN(const bool second, statement.Step());
    if (second) {
      return absl::InvalidArgumentError(
          fmt::format("several runs begin with \"{}\": {}, {}, …; give more of the id", id, full_id,
                      statement.Bytes(0)));
    }
    RETURN_IF_ERROR(ReadSamples(run));
    return run;
  }

  absl::StatusOr<std::vector<v1::Run>> ListRuns(const RunQuery& query) override {
    absl::MutexLock lock(&mutex_);
    std::int64_t before_ns = std::numeric_limits<std::int64_t>::max();
    if (!query.before_run_id.empty()) {
      Statement before(database_, "SELECT created_ns FROM runs WHERE id = ?");
      before.Text(query.before_run_id);
      ASSIGN_OR_RETURN(const bool found, before.Step());
      if (!found) return absl::NotFoundError(fmt::format("no run \"{}\"", query.before_run_id));
      before_ns = before.Integer(0);
    }
    std::string sql = "SELECT id, run FROM runs WHERE (created_ns, id) < (?, ?)";
    if (!query.experiment.empty()) sql += " AND experiment = ?";
    if (query.finished_only) sql += " AND finished = 1";
    sql += " ORDER BY created_ns DESC, id DESC LIMIT ?";
    Statement statement(database_, sql);
    statement.Bind(before_ns).Text(query.before_run_id);
    if (!query.experiment.empty()) statement.Text(query.experiment);
    statement.Bind(static_cast<std::int64_t>(query.limit));
    return ReadRuns(statement);
  }

  absl::StatusOr<std::vector<v1::Run>> UnfinishedRuns() override {
    absl::MutexLock lock(&mutex_);
    Statement statement(database_,
                        "SELECT id, run FROM runs WHERE finished = 0 ORDER BY created_ns");
    ASSIGN_OR_RETURN(std::vector<v1::Run> runs, ReadRuns(statement));
    for (v1::Run& run : runs) RETURN_IF_ERROR(ReadSamples(run));
    return runs;
  }

  absl::StatusOr<bool> SaveExperiment(const StoredExperiment& stored) override {
    const v1::AppliedExperiment& applied = stored.applied;
    absl::MutexLock lock(&mutex_);
    Transaction transaction(database_);
    RETURN_IF_ERROR(transaction.begun());
    Statement existing(database_, "SELECT 1 FROM experiments WHERE name = ?");
    existing.Text(applied.experiment().name());
    ASSIGN_OR_RETURN(const bool replaced, existing.Step());
    existing.Reset();
    RETURN_IF_ERROR(
        Statement(database_,
                  "INSERT INTO experiments (name, experiment, applied_ns, applied_by, last_run_id, "
                  "schedule_seen_ns) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                  "experiment = excluded.experiment, applied_ns = excluded.applied_ns, "
                  "applied_by = excluded.applied_by, "
                  "schedule_seen_ns = excluded.schedule_seen_ns")
            .Text(applied.experiment().name())
            .Blob(applied.experiment().SerializeAsString())
            .Bind(Ns(FromProto(applied.applied_at())))
            .Text(applied.applied_by())
            .Text(applied.last_run_id())
            .Bind(Ns(stored.schedule_seen))
            .Run());
    RETURN_IF_ERROR(transaction.Commit());
    return !replaced;
  }

  absl::StatusOr<StoredExperiment> GetExperiment(std::string_view name) override {
    absl::MutexLock lock(&mutex_);
    Statement statement(database_, std::string(kExperimentColumns) + " WHERE name = ?");
    statement.Text(name);
    ASSIGN_OR_RETURN(const bool found, statement.Step());
    if (!found) return absl::NotFoundError(fmt::format("no experiment \"{}\" is applied", name));
    return ReadExperiment(statement);
  }

  absl::Status DeleteExperiment(std::string_view name) override {
    absl::MutexLock lock(&mutex_);
    Statement statement(database_, "DELETE FROM experiments WHERE name = ? RETURNING name");
    statement.Text(name);
    ASSIGN_OR_RETURN(const bool deleted, statement.Step());
    if (!deleted) return absl::NotFoundError(fmt::format("no experiment \"{}\" is applied", name));
    return statement.Run();  // a RETURNING statement commits when it is done
  }

  absl::StatusOr<std::vector<StoredExperiment>> ListExperiments() override {
    absl::MutexLock lock(&mutex_);
    Statement statement(database_, std::string(kExperimentColumns) + " ORDER BY name");
    std::vector<StoredExperiment> experiments;
    while (true) {
      ASSIGN_OR_RETURN(const bool row, statement.Step());
      if (!row) return experiments;
      ASSIGN_OR_RETURN(StoredExperiment stored, ReadExperiment(statement));
      experiments.push_back(std::move(stored));
    }
  }

  absl::Status SetScheduleSeen(std::string_view name, SystemTime seen) override {
    absl::MutexLock lock(&mutex_);
    return Statement(database_, "UPDATE experiments SET schedule_seen_ns = ? WHERE name = ?")
        .Bind(Ns(seen))
        .Text(name)
        .Run();
  }

  absl::Status SetLastRun(std::string_view experiment, std::string_view run_id) override {
    absl::MutexLock lock(&mutex_);
    return Statement(database_, "UPDATE experiments SET last_run_id = ? WHERE name = ?")
        .Text(run_id)
        .Text(experiment)
        .Run();
  }

  absl::Status Audit(const AuditLine& line) override {
    absl::MutexLock lock(&mutex_);
    return Statement(
               database_,
               "INSERT INTO audit (at_ns, who, action, subject, detail) VALUES (?, ?, ?, ?, ?)")
        .Bind(Ns(line.at))
        .Text(line.who)
        .Text(line.action)
        .Text(line.subject)
        .Text(line.detail)
        .Run();
  }

  absl::StatusOr<std::vector<AuditLine>> ListAudit(std::size_t limit) override {
    absl::MutexLock lock(&mutex_);
    Statement statement(
        database_,
        "SELECT at_ns, who, action, subject, detail FROM audit ORDER BY number DESC LIMIT ?");
    statement.Bind(static_cast<std::int64_t>(limit));
    std::vector<AuditLine> lines;
    while (true) {
      ASSIGN_OR_RETURN(const bool row, statement.Step());
      if (!row) return lines;
      lines.push_back({FromNs(statement.Integer(0)), statement.Bytes(1), statement.Bytes(2),
                       statement.Bytes(3), statement.Bytes(4)});
    }
  }

  absl::StatusOr<std::size_t> Prune(std::optional<SystemTime> created_before,
                                    std::optional<std::size_t> most) override {
    absl::MutexLock lock(&mutex_);
    Transaction transaction(database_);
    RETURN_IF_ERROR(transaction.begun());
    std::size_t deleted = 0;
    if (created_before) {
      Statement statement(database_,
                          "DELETE FROM runs WHERE finished = 1 AND created_ns < ? RETURNING id");
      statement.Bind(Ns(*created_before));
      RETURN_IF_ERROR(CountRows(statement, deleted));
      RETURN_IF_ERROR(Statement(database_, "DELETE FROM audit WHERE at_ns < ?")
                          .Bind(Ns(*created_before))
                          .Run());
    }
    if (most) {
      Statement statement(database_,
                          "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE finished = 1 "
                          "ORDER BY created_ns DESC, id DESC LIMIT -1 OFFSET ?) RETURNING id");
      statement.Bind(static_cast<std::int64_t>(*most));
      RETURN_IF_ERROR(CountRows(statement, deleted));
    }
    RETURN_IF_ERROR(transaction.Commit());
    return deleted;
  }

 private:
  static constexpr std::string_view kExperimentColumns =
      "SELECT experiment, applied_ns, applied_by, last_run_id, schedule_seen_ns, name FROM "
      "experiments";

  static absl::Status CountRows(Statement& statement, std::size_t& count) {
    while (true) {
      ASSIGN_OR_RETURN(const bool row, statement.Step());
      if (!row) return absl::OkStatus();
      ++count;
    }
  }

  static absl::StatusOr<std::vector<v1::Run>> ReadRuns(Statement& statement) {
    std::vector<v1::Run> runs;
    while (true) {
      ASSIGN_OR_RETURN(const bool row, statement.Step());
      if (!row) return runs;
      ASSIGN_OR_RETURN(v1::Run run, ParseRun(statement.Bytes(1), statement.Bytes(0)));
      runs.push_back(std::move(run));
    }
  }

  static absl::StatusOr<StoredExperiment> ReadExperiment(Statement& statement) {
    StoredExperiment stored;
    if (!stored.applied.mutable_experiment()->ParseFromString(statement.Bytes(0))) {
      return absl::DataLossError(
          fmt::format("read experiment {}: the stored message is damaged", statement.Bytes(5)));
    }
    *stored.applied.mutable_applied_at() = ToProto(FromNs(statement.Integer(1)));
    stored.applied.set_applied_by(statement.Bytes(2));
    stored.applied.set_last_run_id(statement.Bytes(3));
    stored.schedule_seen = FromNs(statement.Integer(4));
    return stored;
  }

  absl::Status WriteSamples(const std::string& run_id, const std::vector<v1::Series>& all)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Statement statement(database_, "INSERT OR REPLACE INTO samples VALUES (?, ?, ?, ?)");
    for (const v1::Series& series : all) {
      for (const v1::Sample& sample : series.samples()) {
        statement.Reset();
        statement.Text(run_id).Text(series.name()).Bind(Ns(FromProto(sample.at())));
        statement.Bind(sample.value());  // NaN becomes NULL
        RETURN_IF_ERROR(statement.Run());
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadSamples(v1::Run& run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Statement statement(database_,
                        "SELECT indicator, at_ns, value, value IS NULL FROM samples WHERE run_id = "
                        "? ORDER BY indicator, at_ns");
    statement.Text(run.id());
    v1::Series* series = nullptr;
    while (true) {
      ASSIGN_OR_RETURN(const bool row, statement.Step());
      if (!row) return absl::OkStatus();
      const std::string name = statement.Bytes(0);
      if (series == nullptr || series->name() != name) {
        series = run.add_series();
        series->set_name(name);
      }
      v1::Sample* sample = series->add_samples();
      *sample->mutable_at() = ToProto(FromNs(statement.Integer(1)));
      sample->set_value(statement.Integer(3) != 0 ? std::nan("") : statement.Real(2));
    }
  }

  const FolderLock lock_;
  absl::Mutex mutex_;
  Database database_ ABSL_GUARDED_BY(mutex_);
};

absl::Status QuickCheck(Database& database, const std::string& path) {
  Statement statement(database, "PRAGMA quick_check(1)");
  ASSIGN_OR_RETURN(const bool row, statement.Step());
  const std::string answer = row ? statement.Bytes(0) : "no answer";
  if (answer == "ok") return absl::OkStatus();
  return absl::DataLossError(
      fmt::format("check {}: the file is damaged; restore a backup, or move it away to begin with "
                  "an empty one ({})",
                  path, answer));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return absl::PermissionDeniedError(fmt::format("make folder {}: {}", folder, error.message()));
  }
  ASSIGN_OR_RETURN(FolderLock lock, FolderLock::Take(folder));
  const std::string path = folder + "/firedrill.db";
  ASSIGN_OR_RETURN(Database database, Database::Open(path));
  RETURN_IF_ERROR(QuickCheck(database, path));
  RETURN_IF_ERROR(Migrate(database, path));
  return std::make_unique<SqliteStore>(std::move(lock), std::move(database));
}

}  // namespace firedrill::controller
