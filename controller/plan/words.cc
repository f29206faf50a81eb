// SPDX-License-Identifier: Apache-2.0
#include "controller/plan/words.h"

#include <fmt/format.h>

#include "controller/experiment/defaults.h"
#include "controller/plan/words_parts.h"
#include "proto/support/fault_rules.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::controller {

std::string FaultInWords(const v1::Fault& fault) {
  if (fault.kind_case() == v1::Fault::KIND_NOT_SET) return "nothing";
  std::string text = TrafficFaultInWords(fault);
  if (text.empty()) text = HostFaultInWords(fault);
  return text.empty() ? FaultText(fault) : text;
}

std::vector<std::string> EffectsInWords(const v1::Fault& fault) {
  std::vector<std::string> effects = TrafficEffects(fault);
  return effects.empty() ? HostEffects(fault) : effects;
}

std::vector<std::string> GuardsInWords(const v1::Experiment& experiment) {
  std::vector<std::string> guards;
  for (const v1::Indicator& indicator : experiment.steady_state()) {
    guards.push_back(fmt::format("begins only after {} was {} for {}", indicator.name(),
                                 FormatComparison(indicator.expect()),
                                 FormatDuration(Hold(indicator))));
  }
  for (const v1::Detection& detection : experiment.detection()) {
    guards.push_back(fmt::format("begins only while alert {} is not firing", detection.alert()));
  }
  for (const v1::StopCondition& condition : experiment.stop_when()) {
    const std::string& name = condition.name().empty() ? condition.query() : condition.name();
    guards.push_back(fmt::format("stops when \"{}\" holds, or is unknown for two scrapes", name));
  }
  guards.emplace_back("stops when an agent is lost, or a fault fails or ends early");
  guards.push_back(fmt::format("its faults live {} at most", FormatDuration(Longest(experiment))));
  return guards;
}

}  // namespace firedrill::controller
