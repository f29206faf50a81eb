// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"

// Restarts the host. Its end is the next boot, and the agent that starts then tells it.
namespace firedrill::agent {

absl::Status RebootSupported(const Host& host);
/// The restart comes half a second later, so that the controller knows before; until then Revert
/// calls it off.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyReboot(const InjectionRequest& request,
                                                         WorkerContext& context);
/// Verification looks whether the record of a restart that was begun is left.
absl::Status VerifyRebootGone(const InjectionRequest& request, const Host& host);

inline constexpr const char* kRebootRecord = "reboot";
/// FAILED_PRECONDITION during the boot in which the record was written: there is no way back.
absl::Status UndoReboot(const UndoRecord& record, const Host& host);
/// What a restart, whose record an earlier boot wrote, has done.
Impact AfterReboot(const UndoRecord& record, const Host& host);

/// The words that restart the host in good order, by what its first process is: systemctl where
/// systemd is, reboot(8) with other init systems. UNIMPLEMENTED names a first process that is none.
absl::StatusOr<std::vector<std::string>> OrderlyRebootCommand(const Host& host);

}  // namespace firedrill::agent
