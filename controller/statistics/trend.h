// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "firedrill/v1/operator.pb.h"
#include "firedrill/v1/run.pb.h"

namespace firedrill::controller {

/// Detection and recovery over finished runs, given oldest first. Pure.
///
/// Counted: runs in which the alert was expected to fire. One that fired is an event at its time to
/// detect, though later than `within`; one that did not is censored at the time watched. Likewise
/// for recovery, where an indicator had left its steady state.
///
/// Points, but not counted: aborted runs, whatever they had shown (their watch ended because of the
/// fault itself; keeping only those that were quick would flatter); those whose alert fired already
/// or whose data were missing (they have no time); those that were to stay silent; absorbed faults.
v1::GetTrendResponse TrendOf(const std::vector<v1::Run>& runs);

}  // namespace firedrill::controller
