// SPDX-License-Identifier: Apache-2.0
// From Prometheus' samples to indicators and instants on our clock.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "controller/probe/alerts.h"
#include "controller/probe/alignment.h"
#include "controller/probe/sampling.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

constexpr std::int64_t kBase = 1'800'000'000'000;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

SystemTime At(std::int64_t ms) { return SystemTime(milliseconds(kBase + ms)); }

TEST(ClockAlignerTest, TheMiddleOfTheRoundTripIsTheBound) {
  ClockAligner aligner;
  // Theirs is 30 s behind; 10 ms of round trip, and its time is cut to milliseconds.
  const auto result = aligner.Add(At(30'000), At(30'010), kBase + 5, SteadyTime(seconds(1)));
  EXPECT_EQ(result.alignment.offset, milliseconds(30'000) - std::chrono::microseconds(500));
  EXPECT_EQ(result.alignment.uncertainty, std::chrono::microseconds(5500));
  EXPECT_FALSE(result.jumped);
}

TEST(ClockAlignerTest, TheShortestRoundTripOfLateCounts) {
  ClockAligner aligner;
  aligner.Add(At(0), At(2), kBase + 1, SteadyTime(seconds(1)));
  const auto slow = aligner.Add(At(1000), At(1400), kBase + 1200, SteadyTime(seconds(2)));
  EXPECT_LT(slow.alignment.uncertainty, milliseconds(2));
  EXPECT_GT(slow.alignment.uncertainty, std::chrono::microseconds(1500));  // it has aged
  const auto later =
      aligner.Add(At(100'000), At(100'400), kBase + 100'200, SteadyTime(seconds(101)));
  EXPECT_GT(later.alignment.uncertainty, milliseconds(200));
}

TEST(ClockAlignerTest, TheOffsetStaysWhileItIsWithinTheBound) {
  ClockAligner aligner;
  const auto first = aligner.Add(At(0), At(10), kBase + 5, SteadyTime(seconds(1)));
  const auto close = aligner.Add(At(1000), At(1004), kBase + 1001, SteadyTime(seconds(2)));
  EXPECT_EQ(close.alignment.offset, first.alignment.offset);
  // ± covers what the better exchange alone would have said: 0.5 ms, ± 2.5 ms.
  EXPECT_EQ(close.alignment.uncertainty, milliseconds(3) + std::chrono::microseconds(500));
  const auto apart = aligner.Add(At(2000), At(2002), kBase + 1997, SteadyTime(seconds(3)));
  EXPECT_FALSE(apart.jumped);  // it agrees with what was known, and knows better
  EXPECT_EQ(apart.alignment.offset, milliseconds(4) - std::chrono::microseconds(500));
}

TEST(ClockAlignerTest, AJumpIsSeenAndTheOldForgotten) {
  ClockAligner aligner;
  aligner.Add(At(0), At(2), kBase + 1, SteadyTime(seconds(1)));
  const auto jump = aligner.Add(At(1000), At(1010), kBase + 1505, SteadyTime(seconds(2)));
  EXPECT_TRUE(jump.jumped);
  EXPECT_NEAR(Seconds(jump.alignment.offset), -0.5, 0.01);
  EXPECT_FALSE(aligner.Add(At(2000), At(2010), kBase + 2505, SteadyTime(seconds(3))).jumped);
}

TEST(ClockAlignerTest, AJumpOverAnOutageIsSeen) {
  ClockAligner aligner;
  aligner.Add(At(0), At(2), kBase + 1, SteadyTime(seconds(1)));
  // An hour without an answer, in which two clocks may drift by 720 ms.
  const SystemTime sent = At(3'600'000);
  const SteadyTime now(seconds(3601));
  ClockAligner drifted = aligner;
  EXPECT_FALSE(drifted.Add(sent, sent + milliseconds(2), kBase + 3'600'500, now).jumped);
  EXPECT_TRUE(aligner.Add(sent, sent + milliseconds(2), kBase + 3'601'001, now).jumped);
}

PrometheusAnswer OneSeries(std::vector<PrometheusPoint> points) {
  PrometheusAnswer answer;
  answer.series.push_back({{}, std::move(points)});
  return answer;
}

// The answer to NewestQuery at an instant of evaluation: when the newest sample was scraped.
PrometheusPoint Newest(int evaluated_ms, int scraped_ms) {
  return {kBase + evaluated_ms, static_cast<double>(kBase + scraped_ms) / 1000};
}

ScrapeGrid Grid() {
  ScrapeGrid grid;
  grid.phase_ms = kBase + 300;
  grid.interval_ms = 1000;
  grid.known = true;
  return grid;
}

TEST(SamplingTest, GridFollowsTheScrapesPhase) {
  PrometheusConfig config{seconds(15), seconds(5), {{"shop", seconds(1)}}};
  PrometheusAnswer phases;
  phases.series.push_back({{{"job", "shop"}}, {Newest(0, 300)}});
  phases.series.push_back({{{"job", "shop"}}, {Newest(0, 310)}});
  ScrapeGrid grid = GridOf(phases, {"a"}, config);
  EXPECT_TRUE(grid.known);
  EXPECT_FALSE(grid.several_phases);
  EXPECT_EQ(grid.interval_ms, 1000);
  EXPECT_EQ(grid.UncertaintyMs(), 100);
  const GridRange range = RangeOf(grid, kBase, kBase + 5'000);
  EXPECT_EQ((range.start_ms - kBase + 10'000) % 1000, 410);
  EXPECT_EQ(range.end_ms, kBase + 4'410);
  EXPECT_LE(range.start_ms, kBase);

  phases.series.push_back({{{"job", "shop"}}, {Newest(0, 800)}});
  grid = GridOf(phases, {"a"}, config);
  EXPECT_TRUE(grid.several_phases);
  EXPECT_EQ(grid.UncertaintyMs(), 1000);

  EXPECT_EQ(GridOf({}, {"a"}, config).interval_ms, 15'000);
  EXPECT_FALSE(GridOf({}, {"a"}, config).known);
  EXPECT_EQ(GridOf({}, {"a:recorded"}, config).interval_ms, 5'000);
}

TEST(SamplingTest, RangeIsBounded) {
  const GridRange range = RangeOf(Grid(), 0, kBase);
  EXPECT_EQ((range.end_ms - range.start_ms) / range.step_ms, 10'000);
}

TEST(SamplingTest, SamplesCarryTheScrapesInstantAndHolesStayHoles) {
  const PrometheusAnswer values = OneSeries({{kBase + 400, 1},
                                             {kBase + 1400, 0.9},
                                             {kBase + 2400, 0.9},
                                             {kBase + 3400, 0.9},
                                             {kBase + 4400, 0.5}});
  const PrometheusAnswer newest =
      OneSeries({Newest(400, 300), Newest(1400, 1307), Newest(2400, 1307), Newest(3400, 1307),
                 Newest(4400, 4301)});
  const auto indicator =
      IndicatorOfGrid(values, newest, Grid(), kBase + 4500, {seconds(30), milliseconds(3)});
  ASSERT_TRUE(indicator.status.ok()) << indicator.status;
  ASSERT_EQ(indicator.samples.size(), 3u);
  EXPECT_EQ(indicator.samples[1].at, At(31'307));
  EXPECT_EQ(indicator.samples[1].value, 0.9);
  EXPECT_EQ(indicator.samples[2].at, At(34'301));
  EXPECT_EQ(indicator.uncertainty, milliseconds(103));
}

TEST(SamplingTest, OldDataAndNanAreNoData) {
  const PrometheusAnswer newest = OneSeries({Newest(400, 300), Newest(1400, 1300)});
  auto indicator = IndicatorOfGrid(OneSeries({{kBase + 400, 1}, {kBase + 1400, 1}}), newest, Grid(),
                                   kBase + 9000, {});
  EXPECT_EQ(indicator.status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(indicator.status.message()), HasSubstr("7.7s old"));
  EXPECT_EQ(indicator.samples.size(), 2u);  // the past stays
  indicator = IndicatorOfGrid(OneSeries({{kBase + 400, kNan}, {kBase + 1400, kNan}}), newest,
                              Grid(), kBase + 1500, {});
  EXPECT_EQ(indicator.status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(indicator.status.message()), HasSubstr("NaN"));
  EXPECT_TRUE(indicator.samples.empty());
  EXPECT_EQ(IndicatorOfGrid({}, {}, Grid(), kBase, {}).status.code(), absl::StatusCode::kNotFound);
}

TEST(SamplingTest, RawSamplesKeepTheirInstants) {
  PrometheusAnswer answer = OneSeries({{kBase + 307, 1}, {kBase + 1307, kNan}, {kBase + 2307, 0}});
  answer.series[0].labels = {{"job", "shop"}};
  const PrometheusConfig config{seconds(15), seconds(5), {{"shop", seconds(1)}}};
  const auto indicator =
      IndicatorOfRaw(answer, "ok", config, kBase + 2500, {seconds(1), milliseconds(2)});
  ASSERT_TRUE(indicator.status.ok()) << indicator.status;
  EXPECT_TRUE(indicator.raw);
  EXPECT_EQ(indicator.interval, seconds(1));
  ASSERT_EQ(indicator.samples.size(), 2u);
  EXPECT_EQ(indicator.samples[1].at, At(3'307));
  answer.series.push_back(answer.series[0]);
  EXPECT_EQ(IndicatorOfRaw(answer, "ok", config, kBase, {}).status.code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(SamplingTest, StopConditionsHoldAsAlertingRulesDo) {
  const auto holds = [](const char* query, std::vector<double> values, bool blind = false) {
    PrometheusAnswer answer;
    for (const double value : values) answer.series.push_back({{}, {{kBase, value}}});
    const auto condition = StopConditionOf(ShapeOf(query), answer, blind);
    return condition.status.ok() ? (condition.holds ? "yes" : "no") : "unknown";
  };
  EXPECT_STREQ(holds("sum(up) == 0", {0}), "yes");
  EXPECT_STREQ(holds("sum(up) == 0", {}), "no");
  EXPECT_STREQ(holds("sum(up) == 0", {}, true), "unknown");
  EXPECT_STREQ(holds("sum(up) == bool 0", {0}), "no");
  EXPECT_STREQ(holds("sum(up) == bool 0", {1}), "yes");
  EXPECT_STREQ(holds("sum(up) == bool 0", {}), "unknown");
  EXPECT_STREQ(holds("errors", {0, 0, 3}), "yes");
  EXPECT_STREQ(holds("errors", {0, kNan}), "unknown");
  EXPECT_STREQ(holds("errors", {kNan, 1}), "yes");
  EXPECT_STREQ(holds("absent(up)", {}), "no");
}

TEST(SamplingTest, HolesAreWhereNothingWasScraped) {
  const PrometheusAnswer newest =
      OneSeries({Newest(1000, 300), Newest(2000, 1300), Newest(3000, 1300), Newest(4000, 1300),
                 Newest(5000, 4300), Newest(6000, 5300)});
  auto holes = HolesOf(newest, 2500, kBase + 6000);
  ASSERT_EQ(holes.size(), 1u);
  EXPECT_EQ(holes[0].from_ms, kBase + 1300);
  EXPECT_EQ(holes[0].to_ms, kBase + 4300);
  holes = HolesOf(newest, 2500, kBase + 9000);
  ASSERT_EQ(holes.size(), 2u);
  EXPECT_EQ(holes[1].to_ms, kBase + 9000);
  EXPECT_EQ(HolesOf(newest, 2999, kBase + 6000).size(), 1u);
  EXPECT_TRUE(HolesOf(newest, 3000, kBase + 6000).empty());
  EXPECT_TRUE(HolesOf({}, 2500, kBase).empty());
}

TEST(SamplingTest, OnlyTheLatestSamplesOfTheTimeAreKept) {
  PrometheusAnswer answer = OneSeries({{1, 0}, {10, 1}, {20, 2}, {30, 3}, {31, 4}});
  EXPECT_FALSE(KeepWithin(10, 30, 3, answer));
  ASSERT_EQ(answer.series[0].points.size(), 3u);
  EXPECT_TRUE(KeepWithin(10, 30, 2, answer));
  ASSERT_EQ(answer.series[0].points.size(), 2u);
  EXPECT_EQ(answer.series[0].points[0].at_ms, 20);
}

TEST(SamplingTest, TimestampsThatAreNoneAreLeftOut) {
  const double infinite = std::numeric_limits<double>::infinity();
  for (const double odd : {infinite, -infinite, kNan, 1e300, 9.3e15, -1.0}) {
    PrometheusAnswer newest = OneSeries({{kBase, odd}, Newest(1000, 300), Newest(2000, 1300)});
    EXPECT_TRUE(HolesOf(newest, 2500, kBase + 2000).empty()) << odd;
    PrometheusConfig config;
    config.scrape_interval = seconds(1);
    EXPECT_FALSE(GridOf(OneSeries({{kBase, odd}}), {"up"}, config).known) << odd;
    PrometheusAnswer values = OneSeries({{kBase + 1000, 1}});
    EXPECT_TRUE(IndicatorOfGrid(values, OneSeries({{kBase + 1000, odd}}), Grid(), kBase + 1000, {})
                    .samples.empty())
        << odd;
  }
}

// /api/v1/alerts beside the samples of one alert at 5 s, from `first` s to `last` s.
std::string Contradicts(std::int64_t active_s, std::int64_t first, std::int64_t last,
                        std::vector<std::int64_t> missing = {}, int offset_s = 0) {
  PrometheusSeries series;
  series.labels = {{"__name__", "ALERTS"}, {"alertname", "Slow"}, {"alertstate", "firing"}};
  for (std::int64_t at = first; at <= last; at += 5) {
    if (std::find(missing.begin(), missing.end(), at) == missing.end()) {
      series.points.push_back({at * 1000, 1});
    }
  }
  PrometheusAnswer samples;
  samples.series.push_back(series);
  return Contradiction({{{{"alertname", "Slow"}}, active_s * 1000}}, samples,
                       std::chrono::seconds(5), std::chrono::seconds(offset_s), 0);
}

TEST(ContradictionTest, SamplesThatBeginWhenTheAlertDidAgree) {
  EXPECT_EQ(Contradicts(100, 100, 200), "");
  EXPECT_EQ(Contradicts(102, 100, 200), "");
  EXPECT_EQ(Contradicts(130, 100, 200, {}, 30), "") << "the offset is known";
}

TEST(ContradictionTest, SamplesThatAreStampedWithAnUnknownOffsetAreTold) {
  EXPECT_THAT(Contradicts(130, 100, 200), testing::HasSubstr("query_offset"));
  EXPECT_THAT(Contradicts(100, 130, 200), testing::HasSubstr("Slow"));
}

TEST(ContradictionTest, ABeginningThatIsNotSeenIsNotCompared) {
  EXPECT_EQ(Contradicts(100, 5, 200), "") << "it began before what was asked for";
  EXPECT_EQ(Contradicts(100, 100, 200, {150, 155, 160}), "") << "a restart lies between";
  EXPECT_EQ(Contradicts(230, 100, 200), "") << "another began when the samples had been told";
  EXPECT_EQ(Contradicts(240, 100, 200, {}, 30), "") << "likewise, with a known offset";
}

}  // namespace
}  // namespace firedrill::controller
