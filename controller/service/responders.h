// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "controller/run/machine.h"

namespace firedrill::controller {

/// What an operator says of a run, checked and in words: "alice: restarted the cache", or "bob,
/// told by alice: …" if it is told for another. Instant: `now`, the arrival here. INVALID_ARGUMENT:
/// a field is too long, or a mitigation without a note.
absl::StatusOr<ResponderWord> WordOf(v1::MarkKind kind, const std::string& operator_name,
                                     const std::string& by, const std::string& note,
                                     SystemTime now);

/// The audit line's action: run.acknowledge or run.mitigate.
const char* ActionOf(v1::MarkKind kind);

}  // namespace firedrill::controller
