// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/replay/rule_past.h"
#include "firedrill/v1/operator.pb.h"
#include "firedrill/v1/run.pb.h"

// The counterfactual: a run's alert with another `for`. A rule that becomes true at the evaluation
// A fires at A + E·⌈for/E⌉, if it is still true then; E is the evaluation interval.
namespace firedrill::controller {

/// What is to be replayed, read from a request and from the run's evidence.
struct ReplayPlan {
  int alert = 0;                        ///< Its place in the experiment's `detection`.
  v1::AlertRule rule;                   ///< As it was in the run.
  std::vector<Nanoseconds> candidates;  ///< Each once; not the rule's own.
  RulePastQuestion question;
};

/// INVALID_ARGUMENT: the request's bounds; NOT_FOUND: no such alert in the experiment;
/// FAILED_PRECONDITION: the run does not hold the alert's rule.
absl::StatusOr<ReplayPlan> PlanReplay(const v1::Run& run, const v1::ReplayRuleRequest& request);

/// How often the rule would have begun to fire: once for each stretch that lasts E·⌈pending_for/E⌉,
/// of each series; one that follows within `keep_firing_for` goes on with the one before. What was
/// true already at the first evaluation is not counted: it began before.
std::uint32_t PagesOf(const RulePast& past, const v1::AlertRule& rule, Nanoseconds pending_for);

/// When the run's alert would have fired after the first impact; nullopt: it would not have, or it
/// cannot be told. From the stored samples of ALERTS; without them, from the run's marks.
std::optional<Nanoseconds> TimeToDetectWith(const v1::Run& run, const ReplayPlan& plan,
                                            Nanoseconds pending_for);

/// The answer. Pure.
v1::ReplayRuleResponse Replay(const v1::Run& run, const ReplayPlan& plan, const RulePast& past);

}  // namespace firedrill::controller
