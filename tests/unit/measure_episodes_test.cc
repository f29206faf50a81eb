// SPDX-License-Identifier: Apache-2.0
// From raw samples of ALERTS to episodes: the ordinary ones. The traps are in
// measure_traps_test.cc.
#include <gtest/gtest.h>

#include "controller/measure/episodes.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

SystemTime At(std::int64_t ms) { return SystemTime(milliseconds(1'800'000'000'000 + ms)); }

// Samples at a second each, from `from` to `to`.
void Append(AlertSeries& series, int from, int to) {
  for (int second = from; second <= to; ++second) {
    series.samples.push_back({At(second * 1000), 1});
  }
}

AlertSeries Alert(const std::string& state, int from, int to, const std::string& host = "a") {
  AlertSeries series;
  series.labels = {{"alertname", "Slow"}, {"host", host}};
  series.firing = state == "firing";
  Append(series, from, to);
  return series;
}

EpisodeContext Context(int now, std::vector<TimeSpan> blind = {}) {
  EpisodeContext context;
  context.interval = seconds(1);
  context.now = At(now * 1000);
  context.blind = std::move(blind);
  return context;
}

TimeSpan Blind(int from, int to) { return {At(from * 1000), At(to * 1000)}; }

TEST(EpisodesTest, PendingFiringResolved) {
  const auto episodes =
      EpisodesOf({Alert("pending", 10, 11), Alert("firing", 12, 20)}, Context(40));
  ASSERT_EQ(episodes.size(), 1u);
  EXPECT_EQ(episodes[0].pending_at, At(10'000));
  EXPECT_EQ(episodes[0].firing_at, At(12'000));
  EXPECT_EQ(episodes[0].resolved_at, At(21'000));  // the first evaluation that was false
  EXPECT_EQ(episodes[0].labels,
            (std::map<std::string, std::string>{{"alertname", "Slow"}, {"host", "a"}}));
}

TEST(EpisodesTest, FiringNowHasNoEnd) {
  const auto episodes = EpisodesOf({Alert("firing", 12, 20)}, Context(22));
  ASSERT_EQ(episodes.size(), 1u);
  EXPECT_FALSE(episodes[0].resolved_at);
  EXPECT_FALSE(episodes[0].pending_at);
}

TEST(EpisodesTest, OneLateEvaluationDoesNotSplit) {
  AlertSeries firing = Alert("firing", 12, 14);
  Append(firing, 16, 20);
  EXPECT_EQ(EpisodesOf({firing}, Context(21)).size(), 1u);
}

TEST(EpisodesTest, FlappingGivesSeveral) {
  AlertSeries pending = Alert("pending", 10, 11);
  AlertSeries firing = Alert("firing", 12, 12);
  Append(pending, 20, 21);
  Append(firing, 22, 23);
  const auto episodes = EpisodesOf({pending, firing}, Context(24));
  ASSERT_EQ(episodes.size(), 2u);
  EXPECT_EQ(episodes[0].resolved_at, At(13'000));
  EXPECT_EQ(episodes[1].pending_at, At(20'000));
  EXPECT_EQ(episodes[1].firing_at, At(22'000));
  EXPECT_FALSE(episodes[1].resolved_at);
}

TEST(EpisodesTest, OtherLabelsAreOtherEpisodesInTheOrderOfTime) {
  const auto episodes =
      EpisodesOf({Alert("firing", 15, 20, "b"), Alert("firing", 12, 20, "c")}, Context(21));
  ASSERT_EQ(episodes.size(), 2u);
  EXPECT_EQ(episodes[0].labels.at("host"), "c");
  EXPECT_EQ(episodes[1].labels.at("host"), "b");
}

TEST(EpisodesTest, RestartOfPrometheusDoesNotSplit) {
  // Down from 20 to 29; then a short `for` begins anew as pending.
  AlertSeries pending = Alert("pending", 10, 11);
  AlertSeries firing = Alert("firing", 12, 20);
  Append(pending, 30, 31);
  Append(firing, 32, 35);
  const auto episodes = EpisodesOf({pending, firing}, Context(36, {Blind(20, 29)}));
  ASSERT_EQ(episodes.size(), 1u);
  EXPECT_EQ(episodes[0].pending_at, At(10'000));
  EXPECT_EQ(episodes[0].firing_at, At(12'000));
  EXPECT_FALSE(episodes[0].resolved_at);
}

TEST(EpisodesTest, SamePauseWithoutBlindnessSplits) {
  AlertSeries firing = Alert("firing", 12, 20);
  Append(firing, 30, 35);
  EXPECT_EQ(EpisodesOf({firing}, Context(36)).size(), 2u);
  EXPECT_EQ(EpisodesOf({firing}, Context(36, {Blind(13, 15)})).size(), 2u);
}

TEST(EpisodesTest, BlindnessUntilNowDoesNotResolve) {
  const auto episodes = EpisodesOf({Alert("firing", 12, 20)}, Context(60, {Blind(20, 60)}));
  ASSERT_EQ(episodes.size(), 1u);
  EXPECT_FALSE(episodes[0].resolved_at);
}

}  // namespace
}  // namespace firedrill::controller
