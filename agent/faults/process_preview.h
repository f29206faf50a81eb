// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

namespace firedrill::agent {

/// What process_kill, process_pause or descriptors would find, without touching any: the counters
/// processes_found and processes_picked, and an event "match" for each found (the first hundred).
/// NOT_FOUND as SelectProcesses.
absl::StatusOr<std::unique_ptr<ActiveFault>> PreviewProcesses(const InjectionRequest& request,
                                                              WorkerContext& context);

}  // namespace firedrill::agent
