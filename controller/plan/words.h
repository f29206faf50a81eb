// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "firedrill/v1/experiment.pb.h"
#include "firedrill/v1/fault.pb.h"

namespace firedrill::controller {

/// What the fault does, on one line: "drop 33 % of TCP packets, both directions, port 6379".
std::string FaultInWords(const v1::Fault& fault);

/// What peers and users of the host will feel; each a sentence.
std::vector<std::string> EffectsInWords(const v1::Fault& fault);

/// What aborts a run of it, or keeps it from beginning; each a sentence.
std::vector<std::string> GuardsInWords(const v1::Experiment& experiment);

}  // namespace firedrill::controller
