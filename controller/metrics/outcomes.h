// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <string>

#include "firedrill/v1/run.pb.h"

// What a finished run is counted by.
namespace firedrill::controller {

/// A time that a run may have taken.
struct Timed {
  const char* what;  ///< detect: firedrill_time_to_detect_seconds
  const char* help;
  bool (v1::Run::*has)() const;
  const v1::Measure& (v1::Run::*get)() const;
  bool of_indicators;  ///< Else of alerts.
};
extern const std::array<Timed, 5> kTimes;

/// Seconds; nothing for what did not happen.
std::optional<double> Happened(const v1::Run& run, const Timed& timed);

/// PREFIX_SOME_THING of an enum as a label's value: some_thing. What ends in UNSPECIFIED is none.
std::string LabelOf(const std::string& name, const std::string& prefix);
std::string DetectionLabel(v1::DetectionOutcome outcome);
std::string RecoveryLabel(v1::RecoveryOutcome outcome);
std::string VerdictLabel(v1::Verdict verdict);

}  // namespace firedrill::controller
