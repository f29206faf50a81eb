// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "firedrill/v1/operator.pb.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// A time that was watched for: how long it took, or how long it had not happened when the watch
/// ended. Below zero counts as zero.
struct Observation {
  Nanoseconds time{0};
  bool censored = false;
};

/// The Kaplan–Meier estimate (Kaplan and Meier 1958, doi 10.1080/01621459.1958.10501452) with 95 %
/// intervals: of the curve by Greenwood's variance on the log-log scale, of the quantiles by
/// Brookmeyer and Crowley (1982), of the rate by Wilson (1927). A censoring at the instant of an
/// event counts as after it. Where the curve lies exactly on a quantile's share, the quantile is
/// the middle until the next event. Where nothing remains there is no variance: the curve's upper
/// bound is then the one before, and the quantiles' bounds do not use it. Without observations the
/// rate's interval is 0 to 1. `aborted` is only passed on. Pure.
v1::Survival Estimate(std::vector<Observation> observations, std::uint32_t aborted = 0);

}  // namespace firedrill::controller
