// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "firedrill/v1/experiment.pb.h"
#include "proto/support/problem.h"

namespace firedrill::controller {

/// Appends every mistake in an experiment: what stands beside the fields (field_rules.h), the
/// faults' rule book (fault_rules.h), and what only the whole shows: names that nothing bears,
/// cycles, duplicates, targets that choose nothing, faults without an end, a method that is too
/// long.
void CheckExperiment(const v1::Experiment& experiment, Problems* problems);

/// The same as a status: InvalidArgument with one mistake a line.
absl::Status ValidateExperiment(const v1::Experiment& experiment);

}  // namespace firedrill::controller
