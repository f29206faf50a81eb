// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "firedrill/v1/experiment.pb.h"
#include "firedrill/v1/operator.pb.h"
#include "firedrill/v1/run.pb.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// What a plan depends on besides the experiment.
struct PlanContext {
  std::vector<v1::Agent> agents;  ///< As the registry knows them.
  bool has_probe = false;         ///< A Prometheus is configured.
  /// Hosts that a run uses now, and its id.
  std::map<std::string, std::string> busy_hosts;
  /// A random number from 0 to `below` - 1; `below` is at least 1.
  std::function<std::uint64_t(std::uint64_t below)> random;
};

struct PlanResult {
  v1::Plan plan;                          ///< For people.
  std::vector<v1::Injection> injections;  ///< PLANNED, without ids; empty if a problem is fatal.
};

/// What a run of a valid experiment would do now. No side effects.
PlanResult MakePlan(const v1::Experiment& experiment, const PlanContext& context);

/// The fatal problems, one a line; empty if there are none.
std::string FatalProblems(const v1::Plan& plan);

}  // namespace firedrill::controller
