// SPDX-License-Identifier: Apache-2.0
// How the figures of a run are shown: waterfall, measures, depth, advice, what makes them doubtful.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_split.h"
#include "controller/cli/view/live_block.h"
#include "controller/cli/view/measures_view.h"
#include "controller/cli/view/report.h"
#include "controller/cli/view/responders.h"
#include "controller/cli/view/run_view.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/waterfall.h"
#include "proto/support/time.h"
#include "tests/unit/cli_fake_controller.h"

namespace firedrill::cli {
namespace {

using test::FinishedRun;
using test::MakeMark;
using test::MeasuredRun;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(WaterfallTest, EachStageBeginsWhereTheOneBeforeEnds) {
  EXPECT_EQ(Waterfall(MeasuredRun().alerts(0), Style(false), 72),
            "ShopSlow: fired 22s ± 20ms after the first impact, notified after 22.6s ± 20ms\n"
            "  scrape         3.000s  ███                     scrape_interval: 5s\n"
            "  evaluation     4.000s     ████                 evaluation_interval: 5s\n"
            "  for           12.000s         ███████████      for: 12s\n"
            "  rounding       3.000s                    ███   evaluation_interval: 5s\n"
            "  grouping       0.500s                       █  group_wait: 500ms\n"
            "  delivery       0.100s                       ▏\n"
            "  scrape      until the next scrape of what the rule reads\n"
            "  evaluation  until the rule was evaluated over that scrape\n"
            "  for         the expression must hold for so long\n"
            "  rounding    for: 12s is not a multiple of the evaluation interval, 5s\n"
            "  grouping    Alertmanager waits for more alerts of the same group\n"
            "  delivery    until the notification arrived\n");
}

TEST(WaterfallTest, InWordsItEndsWithTheFiring) {
  EXPECT_EQ(StagesText(MeasuredRun().alerts(0)), "3s scrape, 4s evaluation, 12s for, 3s rounding");
  EXPECT_EQ(StagesText(FinishedRun(v1::VERDICT_PASSED).alerts(0)), "");
  EXPECT_EQ(Waterfall(FinishedRun(v1::VERDICT_PASSED).alerts(0), Style(false)), "");
}

TEST(WaterfallTest, FitsEveryTerminalAndNeverLosesAStage) {
  v1::AlertResult alert = MeasuredRun().alerts(0);
  // One that is longer than all others together, and one that takes next to no time.
  *alert.mutable_stages(1)->mutable_value() = ToProto(std::chrono::hours(2));
  *alert.mutable_stages(2)->mutable_value() = ToProto(Nanoseconds(1));
  alert.mutable_stages(0)->set_setting("\x1b[2Jno escape");
  for (const int width : {20, 40, 60, 80, 100, 200}) {
    const std::string picture = Waterfall(alert, Style(false), width);
    EXPECT_THAT(picture, Not(HasSubstr("\x1b")));
    int line = 0, bars = 0;
    for (const absl::string_view text : absl::StrSplit(picture, '\n')) {
      if (line++ == 0) continue;  // the head may be long
      if (line > 7) break;
      EXPECT_LE(DisplayWidth({text.data(), text.size()}), width);
      bars += text.find("█") != text.npos || text.find("▏") != text.npos ? 1 : 0;
    }
    EXPECT_TRUE(width < 60 || bars == 6) << picture;
  }
}

TEST(WaterfallTest, StagesThatTakeNoTimeAtAllAreDrawn) {
  v1::AlertResult alert;
  alert.add_stages()->set_kind(v1::STAGE_KIND_DELIVERY);
  EXPECT_THAT(Waterfall(alert, Style(false)), HasSubstr("delivery       0.000s  ▏"));
}

TEST(MeasuresViewTest, DescribeShowsEveryFigureOfARun) {
  const std::string text = DescribeRun(MeasuredRun(), Style(false), 100);
  for (const char* part :
       {"waited 3.2s at random before the first fault\n",
        "  ! Prometheus' clock was set while it was watched\n",
        "+41.0s  acknowledged    ShopSlow  Bob Example; incident PGR0VU2 \"ShopSlow\"  [pager]\n",
        "+55.5s  mitigated       alice: moved the traffic to cache2  [operator]\n",
        "time to breach       1.2s ± 10ms    first impact  SLO breached  success ratio\n",
        "time to detect       22s ± 20ms     first impact  alert firing  ShopSlow\n",
        "time to notify       22.6s ± 20ms   first impact  notified      ShopSlow\n",
        "time to acknowledge  41s ± 1.5ms    first impact  acknowledged\n",
        "time to mitigate     55.5s ± 1.5ms  first impact  mitigated\n",
        "time to recover      1m8s           first impact  recovered     success ratio\n",
        "ShopSlow  fires within 1m  detected  2 times\n",
        "  scrape         3.000s  ███",
        "success ratio  >= 0.96 broken  0.998     0.9512 (95.3 %)  3.4 %         2.34s\n",
        "What could be changed\n  - ShopSlow: for: 12s with an evaluation interval of 5s fires "
        "only after 15s (gain: about 3s)\n",
        "  detect    22s ± 20ms  detected by ShopSlow\n            3s scrape, 4s evaluation, 12s "
        "for, 3s rounding\n",
        "  notify    22.6s ± 20ms\n",
        "  ack       41s ± 1.5ms  Bob Example; incident",
        "  mitigate  55.5s ± 1.5ms  alice: moved the traffic to cache2\n",
        "  false     1 alarm of alerts that ought to have stayed silent\n",
        "  doubtful  Prometheus' clock was set while it was watched\n"}) {
    EXPECT_THAT(text, HasSubstr(part)) << text;
  }
  // What makes the figures doubtful stands before them.
  EXPECT_LT(text.find("Doubtful"), text.find("planned"));
}

TEST(MeasuresViewTest, ARunThatWasAbortedStaysShortAndSaysWhatItsFiguresAreWorth) {
  v1::Run run;
  run.set_id("r1");
  run.set_state(v1::RUN_STATE_FINISHED);
  run.mutable_experiment()->set_name("cache-loss");
  run.mutable_verdict()->set_verdict(v1::VERDICT_ABORTED);
  run.mutable_verdict()->add_reasons("by alice: customers are hit");
  const std::string text = DescribeRun(run, Style(false), 100);
  EXPECT_THAT(text, HasSubstr("The run was aborted: what was measured until then says nothing of"));
  EXPECT_THAT(text, HasSubstr("cache-loss  aborted\n  because   by alice: customers are hit\n"));
  for (const char* part : {"MEASURE", "ALERT", "INDICATOR", "What could be changed", "Doubtful",
                           "waited", "detect", "ack ", "false"}) {
    EXPECT_THAT(text, Not(HasSubstr(part))) << text;
  }
  EXPECT_THAT(MarkdownReport(run), HasSubstr("Nothing was measured."));
  EXPECT_THAT(MarkdownReport(run), HasSubstr("says nothing of the hypothesis"));
}

TEST(MeasuresViewTest, WhatIsNotKnownIsNotMadeUp) {
  v1::Run run = FinishedRun(v1::VERDICT_INCONCLUSIVE);
  v1::IndicatorResult& indicator = *run.mutable_indicators(0);
  indicator.clear_lowest();
  EXPECT_EQ(DepthTable(run, Style(false)), "");
  indicator.mutable_indicator()->mutable_degraded()->set_operator_(v1::OPERATOR_GREATER_OR_EQUAL);
  indicator.mutable_indicator()->mutable_degraded()->set_value(0.9);
  EXPECT_THAT(DepthTable(run, Style(false)),
              HasSubstr("success ratio  >= 0.9 unknown  —         —      —             —"));
  run.mutable_alerts(0)->mutable_time_to_detect()->set_censored(true);
  EXPECT_THAT(MeasureTable(run, Style(false)), HasSubstr("time to detect   > 12.3s ± 2ms"));
  EXPECT_THAT(MeasureTable(run, Style(false)), Not(HasSubstr("acknowledge")));
}

TEST(ReportTest, HasThePictureTheDepthAndTheAdvice) {
  v1::Run run = MeasuredRun();
  run.mutable_alerts(0)->mutable_stages(0)->set_setting("```");
  run.mutable_advice(0)->set_message("use `or absent(x)` | it <b>helps</b>");
  const std::string report = MarkdownReport(run);
  for (const char* part :
       {"> **Doubtful.** What follows is less certain than its ± says:\n>\n> - Prometheus' clock",
        "- False alarms: 1\n", "- Waited at random before the first fault: 3.2s\n",
        "| time to acknowledge | 41s ± 1.5ms | first impact | acknowledged | Bob Example; incident",
        "| time to mitigate | 55.5s ± 1.5ms | first impact | mitigated | alice: moved the",
        "```text\nShopSlow: fired 22s ± 20ms", "'''\n",
        "| success ratio | 0.998 | 0.9512 | 95.3 % | 2.34s | 3.4 % | \\>= 0.96 "
        "broken |\n",
        "- ShopSlow: use \\`or absent(x)\\` \\| it \\<b\\>helps\\</b\\> (gain: about 3s)\n"}) {
    EXPECT_THAT(report, HasSubstr(part)) << report;
  }
}

TEST(LiveBlockTest, SaysWhatTheDetectionWasMadeOfAndWhichKeysDoSomething) {
  v1::Run run = MeasuredRun();
  run.set_state(v1::RUN_STATE_RECOVERING);
  const SystemTime now = FromProto(run.created_at()) + std::chrono::seconds(30);
  const std::vector<std::string> lines = LiveBlock(run, now, "", 120, Style(false));
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[1],
            "  ShopSlow  fired after 22s, notified after 22.6s: 3s scrape, 4s evaluation, 12s for, "
            "3s rounding");
  EXPECT_EQ(lines[2], "  ! Prometheus' clock was set while it was watched");
  EXPECT_EQ(lines[3], "a: acknowledged   m: mitigated   Ctrl-C: abort or detach");
  run.mutable_marks()->Clear();
  EXPECT_EQ(LiveBlock(run, now, "", 120, Style(false)).back(), "Ctrl-C: abort or detach");
}

TEST(RespondersTest, WhoTellsIsToldWhatCounts) {
  v1::Run run = FinishedRun(v1::VERDICT_PASSED);
  const std::string id = run.id();
  *run.add_marks() = MakeMark(v1::MARK_KIND_ACKNOWLEDGED, 24.4, v1::MARK_SOURCE_OPERATOR);
  EXPECT_EQ(NotedText(run, v1::MARK_KIND_ACKNOWLEDGED),
            id + ": acknowledged 22.4s after the first impact");
  *run.add_marks() = MakeMark(v1::MARK_KIND_ACKNOWLEDGED, 42, v1::MARK_SOURCE_OPERATOR);
  EXPECT_EQ(NotedText(run, v1::MARK_KIND_ACKNOWLEDGED),
            id +
                ": acknowledged 40s after the first impact; the first one, after 22.4s, is the one "
                "that counts");
  EXPECT_EQ(NotedText(run, v1::MARK_KIND_MITIGATED), id + ": noted");
}

}  // namespace
}  // namespace firedrill::cli
