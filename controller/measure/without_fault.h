// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "firedrill/v1/run.pb.h"

// An experiment whose steps are all `none` measures a healthy system.
namespace firedrill::controller {

/// Whether nothing is done to any host: there are steps, and each is `none`.
bool InjectsNothing(const v1::Experiment& experiment);

/// What the alert of `detection(i)` ought to do in this experiment: what that says or, where
/// nothing is injected, to stay silent from beginning to end.
v1::Detection ExpectedOf(const v1::Experiment& experiment, int i);

/// Whether `detection`, one of the experiment's, may wait for its alert to fire: nothing that ought
/// to stay silent, and none where nothing is injected. `if_breached` counts as expected.
bool ExpectsFiring(const v1::Experiment& experiment, const v1::Detection& detection);

/// How often an alert that ought to have stayed silent began to fire.
std::uint32_t FalseAlarmsIn(const v1::AlertResult& result);

}  // namespace firedrill::controller
