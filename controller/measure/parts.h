// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controller/measure/measure.h"

// What detection.cc, recovery.cc and measure.cc share. Of no use elsewhere.
namespace firedrill::controller {

/// One part's result and its marks.
template <typename Result>
struct Measured {
  Result result;
  std::vector<v1::Mark> marks;
  bool settled = false;                     ///< Watching longer changes nothing.
  std::optional<SystemTime> holding_until;  ///< See Measures.
  std::vector<std::string> caveats;         ///< Likewise.
};

/// Whether any indicator left its steady state, as far as `if_breached` asks.
enum class Breach { kUnknown, kNone, kBreached };

Measured<v1::AlertResult> MeasureAlert(const v1::Detection& detection,
                                       const AlertEvidence& evidence, const Evidence& run,
                                       Breach breach);

Measured<v1::IndicatorResult> MeasureIndicator(const v1::Indicator& indicator,
                                               const IndicatorEvidence& evidence,
                                               const Evidence& run);

v1::Mark MakeMark(v1::MarkKind kind, const Instant& instant, v1::MarkSource source,
                  const std::string& subject, const std::string& detail = "");

/// to - from, never negative: a difference below zero is within the uncertainty, or the caller's
/// mistake.
v1::Measure MakeMeasure(v1::MarkKind from_kind, const Instant& from, v1::MarkKind to_kind,
                        const Instant& to, const std::string& subject);

/// It had not happened when the watch was over at `watched`.
v1::Measure MakeCensored(v1::MarkKind from_kind, const Instant& from, v1::MarkKind to_kind,
                         SystemTime watched, const std::string& subject);

/// What the webhook and the samples say of one firing, where they disagree; see IsMeasuredCaveat.
std::string Disagreement(const std::string& alert, SystemTime webhook, SystemTime sample);
/// More series of an alert were there than are kept; likewise.
std::string SeriesLeftOut(const std::string& alert);
/// Whether a run's caveat is one that is found by measuring.
bool IsMeasuredCaveat(const std::string& caveat);

/// "12.3s after the first impact"
std::string AfterImpact(const Instant& instant, const Instant& impact);

}  // namespace firedrill::controller
