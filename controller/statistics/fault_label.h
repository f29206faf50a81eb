// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "firedrill/v1/experiment.pb.h"

// The kinds of fault of an experiment: by them its runs are put together.
namespace firedrill::controller {

/// The kinds of its steps, each once: "cpu+packet_loss". The label `fault` of the metrics, and what
/// a trend and the dashboards show. By name and not as the steps stand, for it is a key: who moves
/// a step begins no new series, and two experiments that do the same damage have the same one.
std::string FaultLabel(const v1::Experiment& experiment);

/// Whether a step is of this kind.
bool HasFaultKind(const v1::Experiment& experiment, const std::string& kind);

}  // namespace firedrill::controller
