// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// No damage at all: the measurement on a healthy system, which counts false alarms.
namespace firedrill::agent {

/// Every host can be left as it is.
absl::Status NoFaultSupported(const Host& host);
/// Changes nothing. Its first impact is the instant of this call, by the wall clock: there the
/// measurement begins.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyNoFault(const InjectionRequest& request,
                                                          WorkerContext& context);
/// Nothing was done, so nothing can be left: OK.
absl::Status VerifyNoFaultGone(const InjectionRequest& request, const Host& host);

}  // namespace firedrill::agent
