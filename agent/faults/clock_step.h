// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/faults/fault.h"
#include "proto/support/clock.h"

// Lets the host's wall clock jump, and jump back by as much at the end. The kernel does not undo
// it: a record of the journal does.
namespace firedrill::agent {

/// What became of a step: `distance` is the wall clock - CLOCK_BOOTTIME, which only steps change.
enum class StepLeft {
  kWhole,     ///< As we left it, or moved by others by less than half of it: ours is in there.
  kNone,      ///< Where it was before, within half of the step: somebody has put it right.
  kReplaced,  ///< Somewhere else: somebody has set it to another time, ours is lost in that.
};

/// `moved`: by how much the distance differs from the one that our step `by` led to.
StepLeft WhatIsLeft(Nanoseconds moved, Nanoseconds by);

absl::Status ClockStepSupported(const Host& host);
/// FAILED_PRECONDITION names what synchronises the clock, or another clock_step that lives.
absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyClockStep(const InjectionRequest& request,
                                                            WorkerContext& context);
/// The record's undo has read the clock back; Verification looks whether the record is left.
absl::Status VerifyClockStepGone(const InjectionRequest& request, const Host& host);

inline constexpr const char* kClockRecord = "clock";
/// Takes back what is still ours of the step. After a reboot there is nothing to take back: the
/// kernel has its time from the hardware clock, which the fault does not write.
absl::Status UndoClockStep(const UndoRecord& record, const Host& host);

}  // namespace firedrill::agent
