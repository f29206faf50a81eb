// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "firedrill/v1/operator.pb.h"
#include "firedrill/v1/run.pb.h"

namespace firedrill::controller {

/// Detection and recovery over finished runs, given oldest first. Undetected runs are censored at
/// the time watched; aborted ones, and those whose data were missing or whose alert fired already,
/// are points but are not counted. Pure.
v1::GetTrendResponse TrendOf(const std::vector<v1::Run>& runs);

}  // namespace firedrill::controller
