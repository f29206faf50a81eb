// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "controller/store/sqlite.h"

namespace firedrill::controller {

/// The schema's version that this program writes.
int SchemaVersion();

/// Brings the file to SchemaVersion(), step by step, each step in one transaction with its
/// user_version. FAILED_PRECONDITION for a file of a newer Firedrill, which is left alone.
absl::Status Migrate(Database& database, const std::string& path);

}  // namespace firedrill::controller
