// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

// Tokens, passwords and keys that somebody put into files. They are rotated: whoever uses one reads
// it anew each time. Spaces around a secret are no part of it. INVALID_ARGUMENT names the file and
// what is wrong, never what it holds.
namespace firedrill {

/// The one line of a file of at most 64 KiB.
absl::StatusOr<std::string> ReadSecretFile(const std::string& path);

/// One secret a line, 1 to 16 of them; empty lines do not count.
absl::StatusOr<std::vector<std::string>> ReadSecretLines(const std::string& path);

}  // namespace firedrill
