// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <set>
#include <vector>

#include "controller/measure/episodes.h"
#include "controller/measure/parts.h"

namespace firedrill::controller {

/// Reads when an alert fired after the impact, and when that was told, out of samples and webhooks;
/// detection.cc, of which this is the first half, has the rules. Of no use elsewhere.
class FiringReader {
 protected:
  FiringReader(const v1::Detection& detection, const AlertEvidence& evidence, const Evidence& run)
      : detection_(detection), evidence_(evidence), run_(run) {}

  /// Fills what is below. The run has an impact.
  void Read();

  /// The firing that counts is known by a webhook only, and its samples could be asked for.
  bool AwaitsSample() const;
  /// When they ought to be there at the latest.
  SystemTime SampleDue() const;
  /// There ought to be samples, and there are none.
  bool IsNotBorneOut() const;
  /// For how long Prometheus was blind.
  Nanoseconds BlindIn(SystemTime from, SystemTime to) const;
  /// What a webhook says and cannot be so; IsMeasuredCaveat() knows it by its words.
  void AddCaveat(SystemTime starts_at, const char* what);

  const v1::Detection& detection_;
  const AlertEvidence& evidence_;
  const Evidence& run_;
  Measured<v1::AlertResult> measured_;
  Instant impact_;
  Nanoseconds interval_{0};  // of evaluation
  std::optional<Instant> firing_;
  std::optional<SystemTime> active_;  // when the rule began to hold, of the same firing
  std::optional<Instant> notified_;
  std::optional<SystemTime> already_since_;
  std::optional<SystemTime> pending_since_;

 private:
  void ReadEpisodes();
  void CountFiring(SystemTime at, std::optional<SystemTime> active);
  void MarkEpisode(const AlertEpisode& episode);
  bool IsAboutThis(const AlertNotice& notice) const;
  const AlertEpisode* EpisodeOf(const AlertNotice& notice, SystemTime starts_at) const;
  bool MayBeRewritten() const;
  Nanoseconds Margin() const;
  void ReadNotices();
  void Compare(SystemTime starts_at, SystemTime sample);
  void TakeFiring(const AlertNotice& notice, SystemTime starts_at, const AlertEpisode* episode);

  SystemTime earliest_;                  // what is before this was before the impact
  bool rewritten_ = false;               // notifications may carry other values than samples
  std::vector<AlertEpisode> episodes_;   // that began after the impact
  std::set<SystemTime> told_;            // firings that only webhooks tell of
  std::optional<SystemTime> told_only_;  // the earliest of them, if it was the earliest of all then
};

/// A sample is there a few ms after its instant; a busy Prometheus needs longer.
inline constexpr Nanoseconds kCommitLag = std::chrono::seconds(2);

}  // namespace firedrill::controller
