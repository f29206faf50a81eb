// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "firedrill/v1/experiment.pb.h"
#include "proto/support/clock.h"

// What an experiment means where its file is silent; the figures stand in experiment.proto.
namespace firedrill::controller {

Nanoseconds RecoverWithin(const v1::Experiment& experiment);
Nanoseconds Longest(const v1::Experiment& experiment);
Nanoseconds Hold(const v1::Indicator& indicator);
Nanoseconds RestartWithin(const v1::RestartWatch& restart);
v1::Amount Pick(const v1::Target& target);

}  // namespace firedrill::controller
