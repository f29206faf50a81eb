// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controller/cli/view/flatten.h"
#include "controller/cli/view/style.h"
#include "firedrill/v1/run.pb.h"
#include "proto/support/clock.h"

namespace firedrill::cli {

/// What can be said of two measures of the same thing.
enum class Difference {
  kUnknown,      ///< One is missing, or both are censored.
  kWithinError,  ///< Not larger than both uncertainties together.
  /// Larger, but explained by where in Prometheus' rhythm each fault began: it looks only once a
  /// scrape and, for alerts, once an evaluation.
  kWithinPhase,
  kBeyondError,
  kAtLeast,  ///< One is censored: it differs by so much or more.
};

struct ComparedMeasure {
  std::string name;     ///< time to detect
  std::string subject;  ///< The alert or indicator, where both have one name; may be empty.
  std::optional<v1::Measure> first, second;
  Difference difference = Difference::kUnknown;
  Nanoseconds by{0};  ///< second - first; 0 if unknown.
  bool of_alert = false;
};

/// One stage of an alert's time to detect; a stage that one of them has not took no time.
struct ComparedStage {
  std::string alert, stage;
  std::optional<Nanoseconds> first, second;  ///< Absent: this run has no stages of the alert.
};

/// Two runs side by side.
struct RunComparison {
  std::vector<Change> outcomes;  ///< Every one, also where both are the same.
  std::vector<ComparedMeasure> measures;
  std::vector<ComparedStage> stages;
  std::vector<Change> changes;  ///< What differed in the experiment and in what watched it.
};

/// Pure.
RunComparison Compare(const v1::Run& first, const v1::Run& second);

/// For people. `width` as Table's.
std::string CompareText(const v1::Run& first, const v1::Run& second, const Style& style, int width);

/// For programs: {"runs", "outcomes", "measures", "stages", "changes"}, times in seconds.
std::string CompareJson(const v1::Run& first, const v1::Run& second);

}  // namespace firedrill::cli
