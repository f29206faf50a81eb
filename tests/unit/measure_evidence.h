// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "controller/measure/measure.h"
#include "proto/support/time.h"

// The little language in which the measures' tests tell what was seen.
namespace firedrill::controller {

// All instants are seconds after this one; the first impact is at 0 unless a case says otherwise.
inline const SystemTime kImpact{std::chrono::seconds(1'800'000'000)};
inline SystemTime At(double s) { return kImpact + Nanoseconds(std::llround(s * 1e9)); }
inline double After(const google::protobuf::Timestamp& at) {
  return Seconds(FromProto(at) - kImpact);
}
inline double Length(const v1::Measure& measure) { return Seconds(FromProto(measure.value())); }
inline double Uncertainty(const v1::Measure& measure) {
  return Seconds(FromProto(measure.uncertainty()));
}

// Samples at a 1 s interval from `from` on; one character each: + good (1), - bad (0.5), . no
// sample, n NaN, f below the floor (0.1).
inline std::vector<RawSample> Samples(double from, const std::string& pattern) {
  std::vector<RawSample> samples;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const SystemTime at = At(from + static_cast<double>(i));
    switch (pattern[i]) {
      case '+':
        samples.push_back({at, 1});
        break;
      case '-':
        samples.push_back({at, 0.5});
        break;
      case 'f':
        samples.push_back({at, 0.1});
        break;
      case 'n':
        samples.push_back({at, std::numeric_limits<double>::quiet_NaN()});
        break;
      default:
        break;
    }
  }
  return samples;
}

inline v1::Experiment OneIndicator(double hold_seconds = 3) {
  v1::Experiment experiment;
  v1::Indicator& indicator = *experiment.add_steady_state();
  indicator.set_name("success");
  indicator.mutable_expect()->set_operator_(v1::OPERATOR_GREATER_OR_EQUAL);
  indicator.mutable_expect()->set_value(0.99);
  indicator.mutable_degraded()->set_operator_(v1::OPERATOR_GREATER_OR_EQUAL);
  indicator.mutable_degraded()->set_value(0.3);
  *indicator.mutable_hold() = ToProto(Nanoseconds(std::llround(hold_seconds * 1e9)));
  return experiment;
}

inline AlertEpisode Episode(double pending, double firing, double resolved = -1) {
  AlertEpisode episode;
  episode.labels = {{"alertname", "ShopSlow"}, {"severity", "page"}};
  if (pending > -1000) episode.pending_at = At(pending);
  if (firing > -1000) episode.firing_at = At(firing);
  if (resolved >= 0) episode.resolved_at = At(resolved);
  return episode;
}

// The samples of ALERTS of which the episodes are read, with an evaluation each second; an episode
// without an end goes on until `until`. Ones that overlap are of different instances.
inline std::vector<AlertSeries> AlertsOf(const std::vector<AlertEpisode>& episodes,
                                         double until = 30) {
  std::vector<AlertSeries> all;
  std::vector<SystemTime> ends;  // of each instance
  for (const AlertEpisode& episode : episodes) {
    const SystemTime begin = episode.pending_at ? *episode.pending_at : *episode.firing_at;
    const SystemTime end = episode.resolved_at.value_or(At(until));
    std::size_t instance = 0;
    while (instance < ends.size() && ends[instance] + std::chrono::seconds(1) >= begin) ++instance;
    if (instance == ends.size()) {
      ends.push_back(end);
      for (const bool firing : {false, true}) {
        AlertSeries& series = all.emplace_back();
        series.labels = episode.labels;
        if (instance > 0) series.labels["instance"] = std::to_string(instance);
        series.firing = firing;
      }
    }
    ends[instance] = end;
    const SystemTime firing = episode.firing_at.value_or(end);
    for (SystemTime at = begin; at < firing; at += std::chrono::seconds(1)) {
      all[2 * instance].samples.push_back({at, 1});
    }
    for (SystemTime at = firing; at < end; at += std::chrono::seconds(1)) {
      all[2 * instance + 1].samples.push_back({at, 1});
    }
  }
  return all;
}

inline AlertRule EverySecond() {
  AlertRule rule;
  rule.evaluation_interval = std::chrono::seconds(1);
  return rule;
}

inline AlertNotice Notice(double starts, double received, bool firing = true) {
  AlertNotice notice;
  notice.alert = "ShopSlow";
  notice.labels = {{"alertname", "ShopSlow"}, {"severity", "page"}};
  notice.firing = firing;
  notice.starts_at = At(starts);
  notice.received_at = At(received);
  notice.fingerprint = "f";
  return notice;
}

}  // namespace firedrill::controller
