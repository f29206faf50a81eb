// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controller/measure/parts.h"

// How deep an indicator fell and how much was lost on the way. Pure functions.
namespace firedrill::controller {

/// What depth is computed from.
struct DepthInput {
  const v1::Indicator& indicator;
  const std::vector<RawSample>& samples;  ///< In order of time.
  SystemTime shows;   ///< Samples before this instant cannot show the fault: the baseline's.
  SystemTime impact;  ///< From here to
  SystemTime until;   ///< here is integrated: recovery, the fault's end, or how far was seen.
  std::optional<double> worst;  ///< The worst value after the impact.
  /// Samples that are further apart hide what was between them; nothing is integrated over that.
  Nanoseconds longest_step;
};

/// Writes `baseline`, `lowest_quality`, `lost` and `budget_burned` into the result, each where it
/// can be known.
///
/// Baseline: the median of the samples before the impact. Quality Q = value / baseline where more
/// is better (`expect` with > or >=), baseline / value where less is better (< or <=), kept within
/// 0 and 1; none with == and !=, nor with a baseline that is not positive. Lost: ∫(1 − Q)dt
/// (Bruneau 2003, doi 10.1193/1.1623497: the loss of resilience), each sample holding until the
/// next. Budget: ∫(1 − value)dt / ((1 − objective) · period), of a ratio of good events whose
/// number does not change much. An integral is left out where samples are missing.
void MeasureDepth(const DepthInput& input, v1::IndicatorResult& result);

}  // namespace firedrill::controller
