// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/support/clock.h"

namespace firedrill::cli {

/// What a program printed on its output, at most 1 MiB of it. NOT_FOUND if there is no such
/// program, DEADLINE_EXCEEDED (and the program killed) if it takes longer, INTERNAL with its exit
/// code if it failed.
absl::StatusOr<std::string> OutputOf(const std::vector<std::string>& argv, Nanoseconds deadline,
                                     const Clock& clock);

}  // namespace firedrill::cli
