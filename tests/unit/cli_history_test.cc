// SPDX-License-Identifier: Apache-2.0
// trend, compare and replay as people and programs see them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "controller/cli/commands/history_commands.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/trend_view.h"
#include "nlohmann/json.hpp"
#include "proto/support/time.h"
#include "tests/unit/cli_command_fixture.h"

namespace firedrill::cli {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using HistoryCommandTest = CommandTest;

v1::Quantile MakeQuantile(double probability, int value, int low, int high) {
  v1::Quantile quantile;
  quantile.set_probability(probability);
  if (value > 0) *quantile.mutable_value() = ToProto(seconds(value));
  if (low > 0) *quantile.mutable_low() = ToProto(seconds(low));
  if (high > 0) *quantile.mutable_high() = ToProto(seconds(high));
  return quantile;
}

v1::Survival MakeSurvival() {
  v1::Survival survival;
  survival.set_runs(12);
  survival.set_events(9);
  survival.set_censored(3);
  survival.set_rate(0.75);
  survival.set_rate_low(0.4677);
  survival.set_rate_high(0.9111);
  *survival.add_quantiles() = MakeQuantile(0.5, 22, 18, 31);
  *survival.add_quantiles() = MakeQuantile(0.9, 0, 31, 0);
  for (int i = 1; i <= 9; ++i) {
    v1::Survival::Step& step = *survival.add_curve();
    *step.mutable_at() = ToProto(seconds(15 + 3 * i));
    step.set_remaining(1 - i / 12.0);
    step.set_low((1 - i / 12.0) * 0.7);
    step.set_high(1 - i / 20.0);
  }
  return survival;
}

v1::TrendPoint& AddPoint(v1::GetTrendResponse& trend, int time, bool censored = false) {
  v1::TrendPoint& point = *trend.add_points();
  point.set_run_id("run" + std::to_string(trend.points_size()));
  point.set_experiment("cache-loss");
  point.set_fault("packet_loss");
  point.set_verdict(v1::VERDICT_PASSED);
  point.set_detection(censored ? v1::DETECTION_OUTCOME_MISSED : v1::DETECTION_OUTCOME_DETECTED);
  *point.mutable_at() =
      ToProto(SystemTime(seconds(1'800'000'000)) + hours(24) * trend.points_size());
  if (time > 0) {
    *point.mutable_time_to_detect()->mutable_value() = ToProto(seconds(time));
    point.mutable_time_to_detect()->set_censored(censored);
  }
  return point;
}

v1::GetTrendResponse MakeTrend() {
  v1::GetTrendResponse trend;
  AddPoint(trend, 20);
  AddPoint(trend, 45);
  AddPoint(trend, 60, /*censored=*/true);
  AddPoint(trend, 0).set_detection(v1::DETECTION_OUTCOME_ALREADY_FIRING);
  AddPoint(trend, 5).set_aborted(true);
  *trend.mutable_detection() = MakeSurvival();
  return trend;
}

int CountOf(const std::string& text, const std::string& what) {
  int count = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
    ++count;
  }
  return count;
}

TEST(TrendViewTest, SaysRateAndTimesInWords) {
  EXPECT_EQ(SurvivalText(MakeSurvival(), "detected"),
            "detected in 9 of 12 runs (75 %, 47–91 %); median 22s (18s–31s), p90 not reached (31s "
            "or more)");
  v1::Survival survival;
  EXPECT_EQ(SurvivalText(survival, "detected"), "no run says");
  survival.set_runs(1);
  survival.set_events(1);
  survival.set_rate(1);
  survival.set_rate_low(0.2065);
  survival.set_rate_high(1);
  *survival.add_quantiles() = MakeQuantile(0.5, 22, 0, 0);
  EXPECT_EQ(SurvivalText(survival, "recovered"),
            "recovered in 1 of 1 run (100 %, 21–100 %); median 22s");
}

TEST(TrendViewTest, DrawsEachRunOnceAndWhatKindItWas) {
  const std::string plot = PointsPlot(MakeTrend(), Style(false), 80);
  const std::string picture = plot.substr(0, plot.find("└"));
  EXPECT_EQ(CountOf(picture, "●"), 2);
  EXPECT_EQ(CountOf(picture, ">"), 1);
  EXPECT_EQ(CountOf(picture, "?"), 1);
  EXPECT_EQ(CountOf(picture, "×"), 1);
  // The censored one is the longest: in the top row, which is the minute.
  EXPECT_THAT(picture, HasSubstr("     1m ┤  >\n"));
  EXPECT_THAT(PointsPlot(v1::GetTrendResponse(), Style(false), 80), IsEmpty());
}

TEST(TrendViewTest, ShowsTheNewestThatFit) {
  v1::GetTrendResponse trend;
  for (int i = 0; i < 100; ++i) AddPoint(trend, 10 + i % 3);
  const std::string plot = PointsPlot(trend, Style(false), 40);
  EXPECT_THAT(plot, HasSubstr("(the newest 30 of 100)"));
  const std::string picture = plot.substr(plot.find('\n'));
  std::istringstream lines(picture.substr(0, picture.find("         ●")));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(DisplayWidth(line), 40) << line;
  EXPECT_THAT(TrendText(trend, Style(false), 200), HasSubstr("80 older ones are not listed"));
}

TEST(TrendViewTest, TheCurveFallsFromLeftToRight) {
  const std::string plot = CurvePlot(MakeSurvival(), "title", Style(false), 80);
  std::istringstream lines(plot);
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line, "title");
  int longest = 1000;
  for (int row = 0; row < 8 && std::getline(lines, line); ++row) {
    const int length = CountOf(line, "█") + CountOf(line, "▓");
    EXPECT_GE(length, row == 0 ? 0 : 1);
    if (row > 0) {
      EXPECT_GE(length, longest);
    }
    longest = length;
    EXPECT_LE(DisplayWidth(line), 80);
  }
  EXPECT_THAT(CurvePlot(MakeSurvival(), "title", Style(false), 59), IsEmpty());
  EXPECT_THAT(CurvePlot(v1::Survival(), "title", Style(false), 80), IsEmpty());
}

TEST_F(HistoryCommandTest, TrendAsksForWhatIsWantedAndShowsIt) {
  fake_.trend = MakeTrend();
  const Result result = Ask({"trend", "cache-loss", "--fault", "packet_loss", "--since", "90d"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("detected in 9 of 12 runs"));
  EXPECT_THAT(result.out, HasSubstr("not counted: 1 aborted, 1 already firing"));
  EXPECT_THAT(result.out, HasSubstr("run5"));
  EXPECT_EQ(fake_.trend_request().experiment_name(), "cache-loss");
  EXPECT_EQ(fake_.trend_request().fault(), "packet_loss");
  const Nanoseconds ago =
      Clock::Real().System() - FromProto(fake_.trend_request().since()) - hours(90 * 24);
  EXPECT_LT(std::chrono::abs(ago), seconds(60));
  EXPECT_FALSE(fake_.trend_request().has_until());
}

TEST_F(HistoryCommandTest, TrendEndsWhereItIsToldTo) {
  fake_.trend = MakeTrend();
  const Result result = Ask({"trend", "--since", "12w", "--until", "30d"});
  EXPECT_EQ(result.code, 0) << result.err;
  const v1::GetTrendRequest request = fake_.trend_request();
  EXPECT_EQ(FromProto(request.until()) - FromProto(request.since()), hours((12 * 7 - 30) * 24));
  const Nanoseconds ago = Clock::Real().System() - FromProto(request.until()) - hours(30 * 24);
  EXPECT_LT(std::chrono::abs(ago), seconds(60));
  const Result swapped = Ask({"trend", "--since", "30d", "--until", "90d"});
  EXPECT_EQ(swapped.code, 2);
  EXPECT_THAT(swapped.err, HasSubstr("--until: found \"90d\"; allowed: less than --since, 30d"));
  EXPECT_THAT(Ask({"trend", "--until", "noon"}).err, HasSubstr("--until: found \"noon\""));
}

TEST_F(HistoryCommandTest, TrendForPrograms) {
  fake_.trend = MakeTrend();
  const auto json = nlohmann::json::parse(Ask({"trend", "-o", "json"}).out);
  EXPECT_EQ(json["detection"]["events"], 9);
  EXPECT_EQ(json["points"][2]["time_to_detect"]["censored"], true);
  EXPECT_TRUE(fake_.trend_request().experiment_name().empty());
  EXPECT_FALSE(fake_.trend_request().has_since());
}

TEST_F(HistoryCommandTest, NoRunsAreNoMistake) {
  const Result result = Ask({"trend"});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.out, HasSubstr("No finished runs of that kind"));
}

TEST_F(HistoryCommandTest, RefusesTimesThatAreNone) {
  Result result = Ask({"trend", "--since", "yesterday"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("--since: found \"yesterday\"; allowed: a time such as 500ms"));
  result = Ask({"replay", "run1", "--for", "1x"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("--for: found \"1x\""));
  EXPECT_EQ(Ask({"trend", "--limit", "0"}).code, 2);
}

TEST_F(HistoryCommandTest, CompareReadsBothRuns) {
  fake_.Update("run1", [](v1::Run& run) { run = test::FinishedRun(v1::VERDICT_PASSED); });
  fake_.Update("run2", [](v1::Run& run) { run = test::FinishedRun(v1::VERDICT_FAILED); });
  const Result result = Ask({"compare", "run1", "run2"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("passed"));
  EXPECT_THAT(result.out, HasSubstr("failed"));
  EXPECT_THAT(result.out, HasSubstr("no difference beyond the ±"));
  const auto json = nlohmann::json::parse(Ask({"compare", "run1", "run2", "-o", "json"}).out);
  EXPECT_EQ(json["outcomes"][0]["second"], "failed");
  EXPECT_EQ(Ask({"compare", "run1"}).code, 2);
  EXPECT_THAT(Ask({"compare", "run1", "run3"}).err, HasSubstr("firedrill get runs lists them"));
}

TEST_F(HistoryCommandTest, ReplaySaysWhatItWouldGainAndCost) {
  v1::ReplayRuleResponse& response = fake_.replay;  // the run itself is not asked for
  response.set_alert("ShopSlow");
  response.mutable_rule()->set_expression("shop_ok == 0");
  *response.mutable_rule()->mutable_pending_for() = ToProto(seconds(30));
  const auto add = [&](int pending_for, int time, std::uint32_t pages) {
    v1::ReplayedFor& replayed = *response.add_replayed();
    *replayed.mutable_pending_for() = ToProto(seconds(pending_for));
    *replayed.mutable_time_to_detect() = ToProto(seconds(time));
    *replayed.mutable_gain() = ToProto(seconds(47 - time));
    replayed.set_pages(pages);
  };
  add(30, 47, 3);
  add(0, 17, 12);
  response.add_caveats("Prometheus stores 3d only");
  const Result result = Ask({"replay", "run1", "--for", "0s", "--look-back", "2w"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("ShopSlow: shop_ok == 0"));
  EXPECT_THAT(result.out, HasSubstr("30s (as it is)  47s             —     3      —\n"));
  EXPECT_THAT(result.out, HasSubstr("0s              17s             30s   12     +9\n"));
  EXPECT_THAT(result.out, HasSubstr("caveat  Prometheus stores 3d only"));
  EXPECT_EQ(FromProto(fake_.replay_request().look_back()), hours(14 * 24));
  ASSERT_EQ(fake_.replay_request().pending_for_size(), 1);
  EXPECT_EQ(
      nlohmann::json::parse(Ask({"replay", "run1", "-o", "json"}).out)["replayed"][1]["pages"], 12);
}

}  // namespace
}  // namespace firedrill::cli
