// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "controller/measure/measure.h"

namespace firedrill::controller {

/// What the team could change about the alert of `result`, found in its rule, its route and what
/// this run showed. Pure.
std::vector<v1::Advice> AdviseOn(const v1::AlertResult& result, const AlertEvidence& evidence);

}  // namespace firedrill::controller
