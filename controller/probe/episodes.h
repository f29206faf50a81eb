// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "controller/probe/answer.h"
#include "controller/probe/probe.h"

namespace firedrill::controller {

struct EpisodeOptions {
  std::int64_t interval_ms = 0;  ///< The rule's evaluation interval.
  std::int64_t now_ms = 0;       ///< Prometheus' time of the answer.
  /// Times in which Prometheus scraped nothing, in its own time: it was down, or cut off.
  struct Hole {
    std::int64_t from_ms;
    std::int64_t to_ms;
  };
  std::vector<Hole> blind;
  Nanoseconds clock_offset{0};  ///< Added to Prometheus' time: the controller's minus Prometheus'.
};

/// From raw samples of ALERTS{…} (one series for each alertstate and set of labels) to episodes.
///
/// Each evaluation writes one sample while an alert is pending or firing, stamped with the
/// evaluation's instant; none once it is inactive. So with E the evaluation interval
///  - an episode begins with a sample that has no other within the 2.5 E before it,
///  - it ends E after its last sample, once 2.5 E have passed without another,
///  - a pause does not split an episode as far as Prometheus was blind in it: what was not looked
///  at
///    did not resolve. After a restart a rule with a short `for` begins again as pending; its alert
///    stays the one that fired.
/// An alert that is still active at a hole that lasts until now has not resolved.
/// Episodes of different labels are different; they are returned in the order of their begin.
std::vector<AlertEpisode> EpisodesOf(const std::vector<PrometheusSeries>& series,
                                     const EpisodeOptions& options);

/// Puts what Prometheus says now in the place of what it said before. An instant that moved by less
/// than two alignments of clocks differ stays as it was told; an episode, or its beginning, that a
/// Prometheus without its storage no longer knows stays too. `known` may carry fewer labels.
void MergeEpisodes(std::vector<AlertEpisode> fresh, std::vector<AlertEpisode>& known);

}  // namespace firedrill::controller
