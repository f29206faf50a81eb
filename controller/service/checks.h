// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"

// What requests may hold. INVALID_ARGUMENT names the field, what was found and what is allowed.
namespace firedrill::controller {

/// Letters, digits, dots, dashes and underscores, at most 63; may be empty.
absl::Status CheckRunId(const std::string& id);

/// At most `most` bytes.
absl::Status CheckLength(const char* field, const std::string& text, std::size_t most);

/// Why something is done: at most 500 bytes.
absl::Status CheckReason(const std::string& reason);

}  // namespace firedrill::controller
