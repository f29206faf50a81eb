// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/session/exit_code.h"

namespace firedrill::cli {

ExitCode ExitCodeOf(v1::Verdict verdict) {
  switch (verdict) {
    case v1::VERDICT_PASSED:
      return ExitCode::kPassed;
    case v1::VERDICT_FAILED:
      return ExitCode::kFailed;
    case v1::VERDICT_ABORTED:
      return ExitCode::kAborted;
    case v1::VERDICT_UNCLEAN:
      return ExitCode::kUnclean;
    default:  // also what a newer controller says
      return ExitCode::kInconclusive;
  }
}

ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ExitCode::kPassed;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kResourceExhausted:
      return ExitCode::kUsage;
    case absl::StatusCode::kAborted:
      return ExitCode::kAborted;
    default:
      return ExitCode::kUnreachable;
  }
}

}  // namespace firedrill::cli
