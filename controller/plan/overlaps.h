// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "firedrill/v1/fault.pb.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// A step as it is planned on one host.
struct PlannedStep {
  std::string name;
  Nanoseconds begin{0};
  Nanoseconds end{0};
  const v1::Fault* fault = nullptr;
};

/// What the packets feel that `late` meets together with earlier steps of the same host, in words:
/// delays add up, losses multiply, the lowest rate holds. Empty if none lives at the same time, or
/// if no packet can be met by both.
std::vector<std::string> OverlapsInWords(const PlannedStep& late,
                                         const std::vector<PlannedStep>& earlier);

}  // namespace firedrill::controller
