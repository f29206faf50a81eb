// SPDX-License-Identifier: Apache-2.0
#include "controller/measure/episodes.h"

#include <algorithm>
#include <utility>

namespace firedrill::controller {
namespace {

constexpr Nanoseconds kUnknownInterval = std::chrono::seconds(15);

struct StateSample {
  SystemTime at;  // of the evaluation
  bool firing;
  bool active;  // else a stale marker
};

using Labels = std::map<std::string, std::string>;
using StatesByLabels = std::map<Labels, std::vector<StateSample>>;

StatesByLabels StatesOf(const std::vector<AlertSeries>& series, Nanoseconds query_offset) {
  StatesByLabels states;
  for (const AlertSeries& one : series) {
    std::vector<StateSample>& samples = states[one.labels];
    for (const RawSample& sample : one.samples) {
      samples.push_back({sample.at + query_offset, one.firing, sample.value != 0});
    }
  }
  for (auto& [labels, samples] : states) {
    std::stable_sort(samples.begin(), samples.end(),
                     [](const auto& left, const auto& right) { return left.at < right.at; });
  }
  return states;
}

class Builder {
 public:
  Builder(const EpisodeContext& context, const Labels& labels)
      : context_(context), labels_(labels) {}

  void Add(const StateSample& sample) {
    if (last_ && Over(sample.at)) Close(/*ended=*/true);
    if (!sample.active) {
      if (last_) CloseAt(sample.at, Nanoseconds(0));
      return;
    }
    if (!last_) {
      current_ = AlertEpisode{};
      current_.labels = labels_;
    }
    std::optional<SystemTime>& mark = sample.firing ? current_.firing_at : current_.pending_at;
    // Pending after firing is a rule that began again after a restart: the alert has fired.
    if (!mark && (sample.firing || !current_.firing_at)) mark = sample.at;
    last_ = sample.at;
  }

  std::vector<AlertEpisode> Finish() {
    if (last_) Close(context_.now && Over(*context_.now));
    return std::move(episodes_);
  }

 private:
  // Whether no sample from the last one until `at` means that the alert went inactive.
  bool Over(SystemTime at) const {
    Nanoseconds seen = at - *last_;
    for (const TimeSpan& span : context_.blind) {
      seen -= std::max(Nanoseconds(0), std::min(at, span.to) - std::max(*last_, span.from));
    }
    return seen > LongestPause(context_.interval);
  }

  void Close(bool ended) {
    if (ended) {
      const SystemTime due = *last_ + context_.interval;  // the first evaluation without a sample
      Nanoseconds unseen{0};
      for (const TimeSpan& span : context_.blind) {
        if (span.from <= due && due < span.to) unseen = span.to + context_.interval - due;
      }
      return CloseAt(due + unseen / 2, unseen / 2);
    }
    Keep();
  }

  void CloseAt(SystemTime at, Nanoseconds uncertainty) {
    current_.resolved_at = at;
    current_.resolved_uncertainty = uncertainty;
    Keep();
  }

  void Keep() {
    episodes_.push_back(std::move(current_));
    last_.reset();
  }

  const EpisodeContext& context_;
  const Labels& labels_;
  std::vector<AlertEpisode> episodes_;
  AlertEpisode current_;
  std::optional<SystemTime> last_;
};

}  // namespace

std::vector<AlertEpisode> EpisodesOf(const std::vector<AlertSeries>& series,
                                     const EpisodeContext& context) {
  std::vector<AlertEpisode> episodes;
  for (const auto& [labels, samples] : StatesOf(series, context.query_offset)) {
    Builder builder(context, labels);
    for (const StateSample& sample : samples) builder.Add(sample);
    for (AlertEpisode& episode : builder.Finish()) episodes.push_back(std::move(episode));
  }
  std::stable_sort(episodes.begin(), episodes.end(), [](const auto& left, const auto& right) {
    return BeginOf(left) < BeginOf(right);
  });
  return episodes;
}

Nanoseconds EvaluationInterval(const std::optional<AlertRule>& rule,
                               const std::vector<AlertSeries>& series) {
  if (rule && rule->evaluation_interval.count() > 0) return rule->evaluation_interval;
  std::vector<Nanoseconds> apart;
  for (const auto& [labels, samples] : StatesOf(series, Nanoseconds(0))) {
    for (std::size_t i = 1; i < samples.size(); ++i) {
      apart.push_back(samples[i].at - samples[i - 1].at);
    }
  }
  if (apart.empty()) return kUnknownInterval;
  const auto middle = apart.begin() + static_cast<std::ptrdiff_t>(apart.size() / 2);
  std::nth_element(apart.begin(), middle, apart.end());
  return std::max(Nanoseconds(1), *middle);
}

SystemTime BeginOf(const AlertEpisode& episode) {
  return episode.pending_at ? *episode.pending_at : *episode.firing_at;
}

}  // namespace firedrill::controller
