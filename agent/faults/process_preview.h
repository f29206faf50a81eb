// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

namespace firedrill::agent {

/// What a fault that names processes would find, without touching any: the counter
/// processes_matched, and an event "match" for each (the first hundred). None is an answer, too.
/// UNIMPLEMENTED: it names none.
absl::StatusOr<std::unique_ptr<ActiveFault>> PreviewProcesses(const InjectionRequest& request,
                                                              WorkerContext& context);

}  // namespace firedrill::agent
