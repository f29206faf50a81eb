// SPDX-License-Identifier: Apache-2.0
#include "controller/store/sqlite.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <utility>

#include "proto/support/status_macros.h"

namespace firedrill::controller {
namespace {

constexpr int kBusyTimeoutMs = 5000;

absl::Status ToStatus(int code, const std::string& path, std::string_view doing,
                      std::string_view message) {
  const auto text = [&](std::string_view what) {
    return fmt::format("{} {}: {} ({})", doing, path, what, message);
  };
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::UnavailableError(text("the database is locked by another process"));
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(text("the disk is full"));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(
          text("the file is damaged or no database; restore a backup, or move it away to begin "
               "with an empty one"));
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return absl::PermissionDeniedError(text("not writable"));
    case SQLITE_CANTOPEN:
      return absl::PermissionDeniedError(
          text("cannot be opened; the folder must exist and be writable"));
    default:
      return absl::InternalError(text("SQLite failed"));
  }
}

}  // namespace

absl::StatusOr<Database> Database::Open(const std::string& path) {
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(
      path.c_str(), &handle,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_EXRESCODE,
      nullptr);
  Database database(handle, path);  // owns the handle also after a failed open
  if (code != SQLITE_OK) return database.Error(code, "open");
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  RETURN_IF_ERROR(database.Execute(
      "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"));
  return database;
}

Database::Database(Database&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)), path_(std::move(other.path_)) {}

Database& Database::operator=(Database&& other) noexcept {
  std::swap(handle_, other.handle_);
  std::swap(path_, other.path_);
  return *this;
}

Database::~Database() { sqlite3_close_v2(handle_); }

absl::Status Database::Execute(const std::string& sql) {
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Error(code, "write");
}

absl::Status Database::Error(int code, std::string_view doing) const {
  return ToStatus(code, path_, doing,
                  handle_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(handle_));
}

Statement::Statement(Database& database, std::string_view sql) : database_(database), sql_(sql) {
  Note(sqlite3_prepare_v2(database_.handle(), sql_.c_str(), -1, &statement_, nullptr));
}

Statement::~Statement() { sqlite3_finalize(statement_); }

void Statement::Note(int code) {
  if (failure_ == SQLITE_OK) failure_ = code;
}

Statement& Statement::Bind(std::int64_t value) {
  if (statement_ != nullptr) Note(sqlite3_bind_int64(statement_, next_parameter_++, value));
  return *this;
}

Statement& Statement::Bind(double value) {
  if (statement_ != nullptr) Note(sqlite3_bind_double(statement_, next_parameter_++, value));
  return *this;
}

Statement& Statement::Text(std::string_view value) {
  if (statement_ != nullptr) {
    Note(sqlite3_bind_text64(statement_, next_parameter_++, value.data(), value.size(),
                             SQLITE_TRANSIENT, SQLITE_UTF8));
  }
  return *this;
}

Statement& Statement::Blob(std::string_view value) {
  if (statement_ != nullptr) {
    Note(sqlite3_bind_blob64(statement_, next_parameter_++, value.empty() ? "" : value.data(),
                             value.size(), SQLITE_TRANSIENT));
  }
  return *this;
}

absl::StatusOr<bool> Statement::Step() {
  if (failure_ == SQLITE_OK) {
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    failure_ = code;
  }
  return database_.Error(failure_, "use");
}

absl::Status Statement::Run() {
  while (true) {
    ASSIGN_OR_RETURN(const bool row, Step());
    if (!row) return absl::OkStatus();
  }
}

void Statement::Reset() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
  next_parameter_ = 1;
  failure_ = SQLITE_OK;
}

std::int64_t Statement::Integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

double Statement::Real(int column) const { return sqlite3_column_double(statement_, column); }

std::string Statement::Bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  if (data == nullptr || size <= 0) return {};
  return {static_cast<const char*>(data), static_cast<std::size_t>(size)};
}

Transaction::Transaction(Database& database)
    : database_(database), begun_(database.Execute("BEGIN IMMEDIATE")), open_(begun_.ok()) {}

Transaction::~Transaction() {
  // A failed statement may have ended the transaction already: nothing to roll back then.
  if (open_) database_.Execute("ROLLBACK").IgnoreError();
}

absl::Status Transaction::Commit() {
  RETURN_IF_ERROR(begun_);
  RETURN_IF_ERROR(database_.Execute("COMMIT"));
  open_ = false;
  return absl::OkStatus();
}

}  // namespace firedrill::controller
