// SPDX-License-Identifier: Apache-2.0
#include "controller/experiment/defaults.h"

#include <string>

#include "proto/support/field_rules.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

// A test holds that every default that is asked for here can be read.
template <typename Message>
const std::string& DefaultText(int field_number) {
  return RulesOf(*Message::descriptor()->FindFieldByNumber(field_number)).default_text();
}

}  // namespace

Nanoseconds RecoverWithin(const v1::Experiment& experiment) {
  if (experiment.has_recover_within()) return FromProto(experiment.recover_within());
  return ParseDuration(DefaultText<v1::Experiment>(v1::Experiment::kRecoverWithinFieldNumber))
      .value();
}

Nanoseconds Longest(const v1::Experiment& experiment) {
  if (experiment.has_longest()) return FromProto(experiment.longest());
  return ParseDuration(DefaultText<v1::Experiment>(v1::Experiment::kLongestFieldNumber)).value();
}

Nanoseconds Hold(const v1::Indicator& indicator) {
  if (indicator.has_hold()) return FromProto(indicator.hold());
  return ParseDuration(DefaultText<v1::Indicator>(v1::Indicator::kHoldFieldNumber)).value();
}

Nanoseconds RestartWithin(const v1::RestartWatch& restart) {
  if (restart.has_within()) return FromProto(restart.within());
  return ParseDuration(DefaultText<v1::RestartWatch>(v1::RestartWatch::kWithinFieldNumber)).value();
}

v1::Amount Pick(const v1::Target& target) {
  if (target.has_pick()) return target.pick();
  return ParseAmount(DefaultText<v1::Target>(v1::Target::kPickFieldNumber)).value();
}

}  // namespace firedrill::controller
