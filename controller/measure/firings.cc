// SPDX-License-Identifier: Apache-2.0
#include "controller/measure/firings.h"

#include <fmt/format.h>

#include <algorithm>

#include "controller/measure/instants.h"
#include "controller/probe/matching.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

constexpr std::size_t kMostEpisodes = 8;  // that are marked

std::string LabelsText(const std::map<std::string, std::string>& labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    if (name == "alertname") continue;
    if (text.size() > 200) return text + ", …";
    text += (text.empty() ? "" : ", ") + name + "=" + value;
  }
  return text;
}

// Whether a label has another value in `labels`; one that is missing has none.
bool Contradict(const std::map<std::string, std::string>& labels,
                const std::map<std::string, std::string>& whole) {
  return std::any_of(whole.begin(), whole.end(), [&labels](const auto& label) {
    const auto found = labels.find(label.first);
    return found != labels.end() && found->second != label.second;
  });
}

}  // namespace

void FiringReader::Read() {
  impact_ = *run_.instants.first_impact;
  earliest_ = impact_.at - impact_.uncertainty - evidence_.uncertainty;
  ReadEpisodes();
  rewritten_ = MayBeRewritten();
  ReadNotices();
}

void FiringReader::ReadEpisodes() {
  EpisodeContext context;
  context.interval = interval_ = EvaluationInterval(evidence_.rule, evidence_.series);
  if (evidence_.rule) context.query_offset = evidence_.rule->query_offset;
  if (evidence_.status.ok()) context.now = run_.now;
  context.blind = evidence_.blind;
  std::size_t marked = 0;
  std::optional<SystemTime> pending_before;
  for (const AlertEpisode& episode : EpisodesOf(evidence_.series, context)) {
    const bool over =
        episode.resolved_at && *episode.resolved_at + episode.resolved_uncertainty <= impact_.at;
    if (over) continue;
    if (episode.firing_at && *episode.firing_at < earliest_) {
      if (!already_since_) already_since_ = *episode.firing_at;
      continue;
    }
    if (BeginOf(episode) < earliest_) {
      if (episode.firing_at && !pending_before) pending_before = BeginOf(episode);
      continue;
    }
    episodes_.push_back(episode);
    if (marked++ < kMostEpisodes) MarkEpisode(episode);
    if (episode.firing_at) CountFiring(*episode.firing_at, BeginOf(episode));
  }
  if (!firing_ && pending_before) pending_since_ = pending_before;
}

void FiringReader::CountFiring(SystemTime at, std::optional<SystemTime> active) {
  measured_.result.set_episodes(measured_.result.episodes() + 1);
  if (firing_ && firing_->at <= at) return;
  firing_ = Instant{at, evidence_.uncertainty};
  active_ = active;
}

void FiringReader::MarkEpisode(const AlertEpisode& episode) {
  const auto add = [&](v1::MarkKind kind, const std::optional<SystemTime>& at,
                       Nanoseconds uncertainty = Nanoseconds(0)) {
    if (!at) return;
    measured_.marks.push_back(MakeMark(kind, {*at, evidence_.uncertainty + uncertainty},
                                       v1::MARK_SOURCE_PROMETHEUS_SAMPLE, detection_.alert(),
                                       LabelsText(episode.labels)));
  };
  add(v1::MARK_KIND_ALERT_PENDING, episode.pending_at);
  add(v1::MARK_KIND_ALERT_FIRING, episode.firing_at);
  if (!episode.firing_at) return;
  add(v1::MARK_KIND_ALERT_RESOLVED, episode.resolved_at, episode.resolved_uncertainty);
}

bool FiringReader::IsAboutThis(const AlertNotice& notice) const {
  return notice.alert == detection_.alert() &&
         Carries(notice.labels, {detection_.labels().begin(), detection_.labels().end()});
}

// The episode that the notice, which began to fire at `starts_at`, is about: the nearest.
const AlertEpisode* FiringReader::EpisodeOf(const AlertNotice& notice, SystemTime starts_at) const {
  const auto nearest = [&](const auto& is_about) {
    const AlertEpisode* found = nullptr;
    const auto apart = [starts_at](const AlertEpisode& episode) {
      return std::chrono::abs(starts_at - episode.firing_at.value_or(BeginOf(episode)));
    };
    for (const AlertEpisode& episode : episodes_) {
      if (!is_about(episode)) continue;
      const SystemTime end =
          episode.resolved_at ? *episode.resolved_at + episode.resolved_uncertainty : run_.now;
      if (starts_at < BeginOf(episode) - Margin() || starts_at > end + Margin()) continue;
      if (found == nullptr || apart(episode) < apart(*found)) found = &episode;
    }
    return found;
  };
  const AlertEpisode* found = nearest(
      [&notice](const AlertEpisode& episode) { return Carries(notice.labels, episode.labels); });
  if (found != nullptr) return found;
  // Prometheus may have changed labels on the way (alert_relabel_configs): then some are gone, or
  // have other values, and the instant alone tells.
  return nearest([&](const AlertEpisode& episode) {
    if (!Contradict(notice.labels, episode.labels)) return true;
    return rewritten_ && episode.firing_at &&
           std::chrono::abs(starts_at - *episode.firing_at) <=
               kSameInstant + 2 * evidence_.uncertainty;
  });
}

// Whether other values may be the same alert's: not where one came with the values of its samples,
// nor where it may be one of those that are not kept.
bool FiringReader::MayBeRewritten() const {
  if (evidence_.series_left_out) return false;
  return std::none_of(
      evidence_.notices.begin(), evidence_.notices.end(), [this](const AlertNotice& notice) {
        return std::any_of(
            evidence_.series.begin(), evidence_.series.end(),
            [&notice](const AlertSeries& series) { return Carries(notice.labels, series.labels); });
      });
}

// Evaluations that are further apart are not of one beginning.
Nanoseconds FiringReader::Margin() const { return LongestPause(interval_); }

void FiringReader::ReadNotices() {
  const AlertNotice* first = nullptr;
  for (const AlertNotice& notice : evidence_.notices) {
    if (!notice.firing || notice.received_at > run_.now) continue;
    const SystemTime starts_at = notice.starts_at + evidence_.clock_offset;
    const AlertEpisode* episode = EpisodeOf(notice, starts_at);
    if (episode == nullptr && !IsAboutThis(notice)) continue;
    // One that is only repeated has the instant of its own beginning.
    if (starts_at < earliest_ || notice.received_at < impact_.at) continue;
    if (starts_at > notice.received_at + evidence_.uncertainty + kSameInstant) {
      AddCaveat(starts_at, "after it had come: not counted");
      continue;
    }
    if (first == nullptr || notice.received_at < first->received_at) first = &notice;
    if (already_since_ || pending_since_) continue;
    if (episode != nullptr && episode->firing_at) {
      Compare(starts_at, *episode->firing_at);
    } else {
      TakeFiring(notice, starts_at, episode);
    }
  }
  if (first == nullptr) return;
  notified_ = Instant{first->received_at};
  if (firing_ && notified_->at < firing_->at) {
    // It cannot have come before its cause: the cause's instant is that much off.
    notified_ = Instant{firing_->at, firing_->at - notified_->at};
  }
  measured_.marks.push_back(MakeMark(v1::MARK_KIND_NOTIFIED, *notified_,
                                     v1::MARK_SOURCE_ALERTMANAGER, detection_.alert(),
                                     LabelsText(first->labels)));
  *measured_.result.mutable_time_to_notify() = MakeMeasure(
      v1::MARK_KIND_FIRST_IMPACT, impact_, v1::MARK_KIND_NOTIFIED, *notified_, detection_.alert());
}

void FiringReader::Compare(SystemTime starts_at, SystemTime sample) {
  if (std::chrono::abs(starts_at - sample) <= kSameInstant + 2 * evidence_.uncertainty) return;
  // Later in the same episode a restarted Prometheus has told of it anew.
  if (starts_at > sample + Margin() || !measured_.caveats.empty()) return;
  measured_.caveats.push_back(Disagreement(detection_.alert(), starts_at, sample));
}

// A firing that no sample tells of; `episode`, if any, is only pending so far.
void FiringReader::TakeFiring(const AlertNotice& notice, SystemTime starts_at,
                              const AlertEpisode* episode) {
  if (told_.size() >= kMostEpisodes || !told_.insert(starts_at).second) return;
  std::optional<SystemTime> active;
  if (episode != nullptr) active = BeginOf(*episode);
  if (!firing_ || starts_at < firing_->at) told_only_ = starts_at;
  CountFiring(starts_at, active);
  measured_.marks.push_back(MakeMark(v1::MARK_KIND_ALERT_FIRING, {starts_at, evidence_.uncertainty},
                                     v1::MARK_SOURCE_ALERTMANAGER, detection_.alert(),
                                     LabelsText(notice.labels)));
}

// IsMeasuredCaveat() knows it by its words.
void FiringReader::AddCaveat(SystemTime starts_at, const char* what) {
  if (!measured_.caveats.empty()) return;
  measured_.caveats.push_back(fmt::format("alert {}: the webhook says it began to fire at {}, {}",
                                          detection_.alert(), FormatTime(starts_at), what));
}

// The firing that counts is known by a webhook only, and its samples could be asked for.
bool FiringReader::AwaitsSample() const {
  return told_only_ && firing_->at == *told_only_ && evidence_.status.ok();
}
SystemTime FiringReader::SampleDue() const { return *told_only_ + Margin() + kCommitLag; }

// There ought to be samples, and there are none.
bool FiringReader::IsNotBorneOut() const {
  if (!AwaitsSample()) return false;
  const SystemTime due = SampleDue();
  const bool kept =
      !evidence_.series_left_out && BlindIn(*told_only_ - Margin(), due) == Nanoseconds(0);
  return kept && run_.now > due;
}

Nanoseconds FiringReader::BlindIn(SystemTime from, SystemTime to) const {
  Nanoseconds blind{0};
  for (const TimeSpan& span : evidence_.blind) {
    blind += std::max(Nanoseconds(0), std::min(span.to, to) - std::max(span.from, from));
  }
  return blind;
}

}  // namespace firedrill::controller
