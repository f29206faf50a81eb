// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// A systemd unit is stopped, and started again at the end.
namespace firedrill::agent {

/// Asks systemd whether it is there.
absl::Status ServiceStopSupported(const Host& host);
/// NOT_FOUND: there is no such unit. FAILED_PRECONDITION: it is not active, is masked, cannot be
/// stopped, or the agent would end with it. OK: systemd shows that it is not active any more.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyServiceStop(const InjectionRequest& request,
                                                              WorkerContext& context);
/// OK if the injection has stopped nothing that is not active again.
absl::Status VerifyServiceStopGone(const InjectionRequest& request, const Host& host);

/// Starts what a dead worker had stopped, unless somebody has started it meanwhile.
absl::Status UndoServiceStop(const UndoRecord& record, const Host& host);
inline constexpr const char* kServiceRecord = "service_stop";

}  // namespace firedrill::agent
