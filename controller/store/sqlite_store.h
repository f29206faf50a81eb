// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "controller/store/store.h"

namespace firedrill::controller {

/// Opens the store in `folder` (made if it is missing): the file firedrill.db, one connection, one
/// writer. Errors as Store's; also UNAVAILABLE if another controller uses the folder, and
/// FAILED_PRECONDITION for a file of a newer version.
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& folder);

}  // namespace firedrill::controller
