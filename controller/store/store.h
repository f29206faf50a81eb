// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "firedrill/v1/operator.pb.h"
#include "firedrill/v1/run.pb.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// Which runs, newest first.
struct RunQuery {
  std::string experiment;     ///< Empty: of all experiments.
  std::string before_run_id;  ///< Only runs created before this one; empty: from the newest.
  bool finished_only = false;
  std::size_t limit = 50;
};

/// An applied experiment and how far its schedule has been dealt with.
struct StoredExperiment {
  v1::AppliedExperiment applied;  ///< Without next_run_at, which the schedule computes.
  SystemTime schedule_seen;       ///< Every scheduled time up to this one has run or been skipped.
};

/// Who did what, when.
struct AuditLine {
  SystemTime at;
  std::string who;      ///< The certificate's name; "schedule" and "controller" for itself.
  std::string action;   ///< run.start, run.abort, halt, experiment.apply, …
  std::string subject;  ///< A run's id or an experiment's name.
  std::string detail;
};

/// What outlives the controller. A call that returned OK is on disk. Thread-safe.
///
/// Errors of all calls: UNAVAILABLE (locked by another process), RESOURCE_EXHAUSTED (disk full),
/// DATA_LOSS (corrupt), PERMISSION_DENIED (read-only), INTERNAL (anything else), each with the
/// file.
class Store {
 public:
  virtual ~Store() = default;

  /// Writes a run as it is now, and samples in addition to those written before. `run.series` is
  /// ignored. A sample at an instant that is there already is replaced.
  virtual absl::Status SaveRun(const v1::Run& run, const std::vector<v1::Series>& new_samples) = 0;

  /// A run with its series. `id` may be a prefix that names one run. NOT_FOUND; INVALID_ARGUMENT
  /// if several runs begin so.
  virtual absl::StatusOr<v1::Run> GetRun(std::string_view id) = 0;

  /// Without series. NOT_FOUND if `before_run_id` is not there.
  virtual absl::StatusOr<std::vector<v1::Run>> ListRuns(const RunQuery& query) = 0;

  /// Runs that are not finished, with their series; oldest first.
  virtual absl::StatusOr<std::vector<v1::Run>> UnfinishedRuns() = 0;

  /// Writes or replaces the experiment of this name. True if it is new.
  virtual absl::StatusOr<bool> SaveExperiment(const StoredExperiment& experiment) = 0;
  virtual absl::StatusOr<StoredExperiment> GetExperiment(std::string_view name) = 0;  ///< NOT_FOUND
  virtual absl::Status DeleteExperiment(std::string_view name) = 0;                   ///< NOT_FOUND
  /// By name.
  virtual absl::StatusOr<std::vector<StoredExperiment>> ListExperiments() = 0;
  /// Moves an experiment's schedule on. OK and nothing if it has been deleted meanwhile.
  virtual absl::Status SetScheduleSeen(std::string_view name, SystemTime seen) = 0;
  /// Remembers the last run of an experiment, if it is an applied one.
  virtual absl::Status SetLastRun(std::string_view experiment, std::string_view run_id) = 0;

  virtual absl::Status Audit(const AuditLine& line) = 0;
  /// The last `limit` lines, newest first.
  virtual absl::StatusOr<std::vector<AuditLine>> ListAudit(std::size_t limit) = 0;

  /// Deletes finished runs that were created before `created_before`, or that are not among the
  /// `most` newest finished ones, and audit lines older than `created_before`. Returns how many
  /// runs.
  virtual absl::StatusOr<std::size_t> Prune(std::optional<SystemTime> created_before,
                                            std::optional<std::size_t> most) = 0;
};

}  // namespace firedrill::controller
