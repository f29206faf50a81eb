// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/statusor.h"
#include "controller/store/store.h"
#include "firedrill/v1/operator.pb.h"

namespace firedrill::controller {

/// Reads finished runs page by page, the newest first, and tells what those that were asked for say
/// together. A run's time is that of its creation: `since` counts in, `until` does not.
/// INVALID_ARGUMENT: the request's bounds; else the store's errors. May take seconds: of each run
/// the whole message is read, without series.
absl::StatusOr<v1::GetTrendResponse> ReadTrend(Store& store, const v1::GetTrendRequest& request);

}  // namespace firedrill::controller
