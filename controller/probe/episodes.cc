// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/episodes.h"

#include <algorithm>
#include <optional>

namespace firedrill::controller {
namespace {

struct StateSample {
  std::int64_t at_ms;
  bool firing;
};

// How much of (from, to) lies outside the holes. They are in order and do not overlap.
std::int64_t SeenMs(std::int64_t from, std::int64_t to,
                    const std::vector<EpisodeOptions::Hole>& holes) {
  std::int64_t seen = to - from;
  for (const EpisodeOptions::Hole& hole : holes) {
    seen -= std::max<std::int64_t>(0, std::min(to, hole.to_ms) - std::max(from, hole.from_ms));
  }
  return seen;
}

class Builder {
 public:
  Builder(const EpisodeOptions& options, std::map<std::string, std::string> labels)
      : options_(options), labels_(std::move(labels)) {}

  void Add(const StateSample& sample) {
    if (last_ms_ && Over(sample.at_ms)) Close(/*ended=*/true);
    if (!last_ms_) {
      current_ = AlertEpisode{labels_, std::nullopt, std::nullopt, std::nullopt};
    }
    std::optional<SystemTime>& mark = sample.firing ? current_.firing_at : current_.pending_at;
    // Pending after firing is a rule that began again after a restart: the alert has fired.
    if (!mark && (sample.firing || !current_.firing_at)) mark = Aligned(sample.at_ms);
    last_ms_ = sample.at_ms;
  }

  void Finish() {
    if (last_ms_) Close(Over(options_.now_ms));
  }

  std::vector<AlertEpisode> Take() { return std::move(episodes_); }

 private:
  // Whether no sample from the last one until `at_ms` means that the alert went inactive.
  bool Over(std::int64_t at_ms) const {
    return 2 * SeenMs(*last_ms_, at_ms, options_.blind) > 5 * options_.interval_ms;
  }

  SystemTime Aligned(std::int64_t at_ms) const {
    return SystemTime(std::chrono::milliseconds(at_ms)) + options_.clock_offset;
  }

  void Close(bool ended) {
    if (ended) current_.resolved_at = Aligned(*last_ms_ + options_.interval_ms);
    episodes_.push_back(std::move(current_));
    last_ms_.reset();
  }

  const EpisodeOptions& options_;
  std::map<std::string, std::string> labels_;
  std::vector<AlertEpisode> episodes_;
  AlertEpisode current_;
  std::optional<std::int64_t> last_ms_;
};

SystemTime Begin(const AlertEpisode& episode) {
  return episode.pending_at ? *episode.pending_at : *episode.firing_at;
}
SystemTime End(const AlertEpisode& episode) {
  return episode.resolved_at.value_or(SystemTime::max());
}

bool Carries(const AlertEpisode& episode, const std::map<std::string, std::string>& labels) {
  return std::all_of(labels.begin(), labels.end(), [&](const auto& label) {
    const auto found = episode.labels.find(label.first);
    return found != episode.labels.end() && found->second == label.second;
  });
}

// The clocks are aligned anew for each answer: an instant this near to a known one is that one.
void KeepNear(const std::optional<SystemTime>& known, std::optional<SystemTime>& fresh) {
  constexpr Nanoseconds kSame = std::chrono::milliseconds(20);
  if (known && fresh && std::chrono::abs(*known - *fresh) <= kSame) fresh = known;
}

}  // namespace

std::vector<AlertEpisode> EpisodesOf(const std::vector<PrometheusSeries>& series,
                                     const EpisodeOptions& options) {
  std::map<std::map<std::string, std::string>, std::vector<StateSample>> alerts;
  for (const PrometheusSeries& one : series) {
    std::map<std::string, std::string> labels = one.labels;
    const auto state = labels.find("alertstate");
    if (state == labels.end()) continue;
    const bool firing = state->second == "firing";
    if (!firing && state->second != "pending") continue;
    labels.erase(state);
    labels.erase("__name__");
    std::vector<StateSample>& samples = alerts[labels];
    for (const PrometheusPoint& point : one.points) samples.push_back({point.at_ms, firing});
  }
  std::vector<AlertEpisode> episodes;
  for (auto& [labels, samples] : alerts) {
    std::stable_sort(samples.begin(), samples.end(),
                     [](const auto& left, const auto& right) { return left.at_ms < right.at_ms; });
    Builder builder(options, labels);
    for (const StateSample& sample : samples) builder.Add(sample);
    builder.Finish();
    for (AlertEpisode& episode : builder.Take()) episodes.push_back(std::move(episode));
  }
  std::stable_sort(episodes.begin(), episodes.end(),
                   [](const auto& left, const auto& right) { return Begin(left) < Begin(right); });
  return episodes;
}

void MergeEpisodes(std::vector<AlertEpisode> fresh, std::vector<AlertEpisode>& known) {
  for (AlertEpisode& now : fresh) {
    for (const AlertEpisode& before : known) {
      KeepNear(before.pending_at, now.pending_at);
      KeepNear(before.firing_at, now.firing_at);
      KeepNear(before.resolved_at, now.resolved_at);
    }
  }
  std::vector<AlertEpisode> lost;
  for (const AlertEpisode& before : known) {
    const auto same = std::find_if(fresh.begin(), fresh.end(), [&](const AlertEpisode& now) {
      return Carries(now, before.labels) && Begin(now) <= End(before) && Begin(before) <= End(now);
    });
    if (same == fresh.end()) {
      lost.push_back(before);
    } else if (Begin(before) < Begin(*same)) {
      if (before.pending_at) same->pending_at = before.pending_at;
      if (before.firing_at) same->firing_at = before.firing_at;
    }
  }
  fresh.insert(fresh.end(), lost.begin(), lost.end());
  std::stable_sort(fresh.begin(), fresh.end(),
                   [](const auto& left, const auto& right) { return Begin(left) < Begin(right); });
  known = std::move(fresh);
}

}  // namespace firedrill::controller
