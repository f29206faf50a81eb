// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "controller/measure/measure.h"

namespace firedrill::controller {

/// What the team could change about the alert of `result`, found in its rule, its route and what
/// this run showed (`result.stages`). Says nothing where the rule or the route is not known. A gain
/// is of the time to detect, as the model of docs/measuring.md gives it. Pure.
std::vector<v1::Advice> AdviseOn(const v1::AlertResult& result, const AlertEvidence& evidence);

}  // namespace firedrill::controller
