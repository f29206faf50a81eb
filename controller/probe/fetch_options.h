// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/statusor.h"
#include "controller/probe/fetch.h"
#include "controller/probe/prometheus.h"

namespace firedrill::controller {

/// How a Prometheus is asked. Reads the files of secrets anew, for they may be rotated.
/// INVALID_ARGUMENT: one that cannot be read, or that holds more than one line.
absl::StatusOr<FetchOptions> ReadFetchOptions(const PrometheusOptions& options);

/// OK if a Prometheus can be asked so: its URL, files that are there, one way to prove who asks.
/// INVALID_ARGUMENT otherwise.
absl::Status ValidatePrometheusOptions(const PrometheusOptions& options);

}  // namespace firedrill::controller
