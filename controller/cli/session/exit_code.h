// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "firedrill/v1/run.pb.h"

namespace firedrill::cli {

/// What the command tells its caller. `firedrill help` lists them.
enum class ExitCode {
  kPassed = 0,        ///< Also: done what was asked.
  kFailed = 1,        ///< The hypothesis failed.
  kUsage = 2,         ///< Usage or validation; nothing was done.
  kAborted = 3,       ///< By a person or by a guard.
  kUnreachable = 4,   ///< The controller is unreachable or refuses.
  kUnclean = 5,       ///< A fault's end is not proven.
  kInconclusive = 6,  ///< No impact, or data missing.
};

ExitCode ExitCodeOf(v1::Verdict verdict);
ExitCode ExitCodeOf(const absl::Status& status);

}  // namespace firedrill::cli
