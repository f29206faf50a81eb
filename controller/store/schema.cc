// SPDX-License-Identifier: Apache-2.0
#include "controller/store/schema.h"

#include <fmt/format.h>

#include <array>

#include "proto/support/status_macros.h"

namespace firedrill::controller {
namespace {

// Line n brings a file of version n to version n + 1. A line that was released is never edited.
// Instants are nanoseconds since 1970; `run` and `experiment` are the serialized messages, whose
// own evolution follows protobuf's rules.
constexpr std::array kMigrations = {
    R"sql(
CREATE TABLE runs (
  id TEXT PRIMARY KEY,
  experiment TEXT NOT NULL,
  created_ns INTEGER NOT NULL,
  finished INTEGER NOT NULL CHECK (finished IN (0, 1)),
  verdict INTEGER NOT NULL,
  run BLOB NOT NULL
) STRICT;
CREATE INDEX runs_by_time ON runs (created_ns, id);
CREATE INDEX runs_unfinished ON runs (created_ns) WHERE finished = 0;
CREATE TABLE experiments (
  name TEXT PRIMARY KEY,
  experiment BLOB NOT NULL,
  applied_ns INTEGER NOT NULL,
  applied_by TEXT NOT NULL,
  last_run_id TEXT NOT NULL DEFAULT '',
  schedule_seen_ns INTEGER NOT NULL
) STRICT;
CREATE TABLE audit (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ns INTEGER NOT NULL,
  who TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
)sql",
    // Samples come every second: appended here, not written again with the whole run.
    R"sql(
CREATE TABLE samples (
  run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  indicator TEXT NOT NULL,
  at_ns INTEGER NOT NULL,
  value REAL,  -- NULL is NaN, which SQLite cannot hold
  PRIMARY KEY (run_id, indicator, at_ns)
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_by_experiment ON runs (experiment, created_ns, id);
)sql",
};

absl::StatusOr<int> ReadVersion(Database& database) {
  Statement statement(database, "PRAGMA user_version");
  ASSIGN_OR_RETURN(const bool row, statement.Step());
  return row ? static_cast<int>(statement.Integer(0)) : 0;
}

}  // namespace

int SchemaVersion() { return static_cast<int>(kMigrations.size()); }

absl::Status Migrate(Database& database, const std::string& path) {
  ASSIGN_OR_RETURN(const int found, ReadVersion(database));
  if (found > SchemaVersion() || found < 0) {
    return absl::FailedPreconditionError(fmt::format(
        "{} was written by a newer Firedrill (schema version {}; this one knows up to {}). Start "
        "that version again, or give this one another --data folder; the file was not changed",
        path, found, SchemaVersion()));
  }
  for (int version = found; version < SchemaVersion(); ++version) {
    Transaction transaction(database);
    RETURN_IF_ERROR(transaction.begun());
    RETURN_IF_ERROR(database.Execute(kMigrations[static_cast<std::size_t>(version)]));
    RETURN_IF_ERROR(database.Execute(fmt::format("PRAGMA user_version = {}", version + 1)));
    RETURN_IF_ERROR(transaction.Commit());
  }
  return absl::OkStatus();
}

}  // namespace firedrill::controller
