// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controller/probe/probe.h"

namespace firedrill::controller {

/// What raw samples of ALERTS are read with.
struct EpisodeContext {
  Nanoseconds interval{0};      ///< The rule's evaluation interval.
  Nanoseconds query_offset{0};  ///< The rule's: a sample is stamped so long before its evaluation.
  /// Up to when samples were asked for; nullopt: the latest question had no answer, so a silence at
  /// the end says nothing.
  std::optional<SystemTime> now;
  std::vector<TimeSpan> blind;  ///< Prometheus scraped nothing. In order, none overlaps another.
};

/// From raw samples of ALERTS (one series for each alertstate and set of labels) to episodes, on
/// the controller's clock.
///
/// Each evaluation writes one sample while an alert is pending or firing, stamped with the
/// evaluation's instant less the rule's query offset; none once it is inactive, but a stale marker
/// then, which is known where it stands alone between two samples (its value is 0). So with E the
/// evaluation interval
///  - an episode begins with a sample that has no other within the 2.5 E before it, or after a
///    marker,
///  - it ends at a marker; else E after its last sample, once 2.5 E have passed without another;
///    where Prometheus was blind by then, somewhere in its blindness,
///  - a pause does not split an episode as far as Prometheus was blind in it: what was not looked
///    at did not resolve. After a restart a rule with a short `for` begins again as pending; its
///    alert stays the one that fired.
/// An alert that is still active at a blindness that lasts until now has not resolved.
/// Episodes of different labels are different; they are returned in the order of their begin.
std::vector<AlertEpisode> EpisodesOf(const std::vector<AlertSeries>& series,
                                     const EpisodeContext& context);

/// Evaluations that are further apart, 2.5 E, are not of one episode (but for markers, blindness).
constexpr Nanoseconds LongestPause(Nanoseconds interval) { return interval * 5 / 2; }

/// The rule's evaluation interval; unknown: the median distance of samples of one set of labels;
/// 15 s with less than two.
Nanoseconds EvaluationInterval(const std::optional<AlertRule>& rule,
                               const std::vector<AlertSeries>& series);

/// The first evaluation of the episode at which the rule's expression held.
SystemTime BeginOf(const AlertEpisode& episode);

}  // namespace firedrill::controller
