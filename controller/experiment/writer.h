// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "firedrill/v1/experiment.pb.h"

namespace firedrill::controller {

/// The experiment as a file that ReadExperiment reads back to the same message. Thread-safe.
std::string WriteExperiment(const v1::Experiment& experiment);

}  // namespace firedrill::controller
