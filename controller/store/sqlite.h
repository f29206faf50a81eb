// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct sqlite3;
struct sqlite3_stmt;

namespace firedrill::controller {

/// One connection to a SQLite file. Not thread-safe. Errors name the file and follow Store's codes.
class Database {
 public:
  /// Opens or makes the file, with WAL, synchronous=FULL, foreign keys and a busy timeout of 5 s.
  static absl::StatusOr<Database> Open(const std::string& path);
  Database(Database&& other) noexcept;
  Database& operator=(Database&& other) noexcept;
  ~Database();

  /// Runs statements without results.
  absl::Status Execute(const std::string& sql);

  /// The status for the result code of the last call on this connection.
  absl::Status Error(int code, std::string_view doing) const;

  sqlite3* handle() const { return handle_; }

 private:
  Database(sqlite3* handle, std::string path) : handle_(handle), path_(std::move(path)) {}

  sqlite3* handle_;
  std::string path_;
};

/// One prepared statement with its parameters, bound in order, and its current row. Failures of
/// Bind show at the next Step. Not thread-safe; must not outlive its database.
class Statement {
 public:
  Statement(Database& database, std::string_view sql);
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  Statement& Bind(std::int64_t value);
  Statement& Bind(double value);
  Statement& Text(std::string_view value);
  Statement& Blob(std::string_view value);

  /// True: there is a row. False: done.
  absl::StatusOr<bool> Step();
  /// Runs to the end, ignoring rows.
  absl::Status Run();
  /// Makes it ready for new parameters.
  void Reset();

  std::int64_t Integer(int column) const;
  double Real(int column) const;
  std::string Bytes(int column) const;

 private:
  void Note(int code);

  Database& database_;
  std::string sql_;
  sqlite3_stmt* statement_ = nullptr;
  int next_parameter_ = 1;
  int failure_ = 0;
};

/// BEGIN IMMEDIATE, and ROLLBACK unless Commit() succeeded.
class Transaction {
 public:
  explicit Transaction(Database& database);
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction();

  const absl::Status& begun() const { return begun_; }
  absl::Status Commit();

 private:
  Database& database_;
  absl::Status begun_;
  bool open_ = false;
};

}  // namespace firedrill::controller
