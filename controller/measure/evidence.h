// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "controller/measure/measure.h"
#include "firedrill/v1/run.pb.h"

// Evidence as messages, and back without loss.
namespace firedrill::controller {

/// The name of the n-th series of the experiment's i-th alert among the run's series: it begins
/// with kAlertSeriesPrefix, as no indicator's does.
std::string AlertSeriesName(std::size_t alert, std::size_t n);
/// Likewise of when its rule's expression held.
std::string TruthSeriesName(std::size_t alert);

/// So many sets of labels of one alert that fired are kept, those that came first, with the series
/// of each: pending and firing. Of sets that were only pending no more than there is room for below
/// that; they take no room from one that fires.
inline constexpr std::size_t kMostAlertSets = 32;

/// The evidence of a stored run with its series.
Evidence EvidenceOf(const v1::Run& run);

/// All of it but samples; they are looked for under the names above.
v1::Evidence ToMessage(const Evidence& evidence);

v1::Sample ToMessage(const RawSample& sample);

/// In order of time; of several at one instant the last one counts, as in the store.
std::vector<RawSample> SamplesOf(const v1::Series& series);

}  // namespace firedrill::controller
