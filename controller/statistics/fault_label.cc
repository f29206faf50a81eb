// SPDX-License-Identifier: Apache-2.0
#include "controller/statistics/fault_label.h"

#include <set>

#include "proto/support/fault_rules.h"

namespace firedrill::controller {
namespace {

std::set<std::string> KindsOf(const v1::Experiment& experiment) {
  std::set<std::string> kinds;
  for (const v1::Step& step : experiment.method()) {
    kinds.insert(FaultName(step.fault().kind_case()));
  }
  kinds.erase("");  // a step without one
  return kinds;
}

}  // namespace

std::string FaultLabel(const v1::Experiment& experiment) {
  std::string label;
  for (const std::string& kind : KindsOf(experiment)) label += (label.empty() ? "" : "+") + kind;
  return label;
}

bool HasFaultKind(const v1::Experiment& experiment, const std::string& kind) {
  return KindsOf(experiment).count(kind) > 0;
}

}  // namespace firedrill::controller
