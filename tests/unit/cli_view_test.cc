// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "absl/strings/str_split.h"
#include "controller/cli/view/events.h"
#include "controller/cli/view/live_block.h"
#include "controller/cli/view/output.h"
#include "controller/cli/view/report.h"
#include "controller/cli/view/run_view.h"
#include "controller/cli/view/sparkline.h"
#include "controller/cli/view/table.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/words.h"
#include "proto/support/time.h"
#include "tests/unit/cli_fake_controller.h"

namespace firedrill::cli {
namespace {

using test::FinishedRun;
using test::MakeMark;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(TextWidthTest, CountsColumnsNotBytes) {
  EXPECT_EQ(DisplayWidth("abc"), 3);
  EXPECT_EQ(DisplayWidth("±µ—"), 3);
  EXPECT_EQ(DisplayWidth("漢字"), 4);
  EXPECT_EQ(DisplayWidth("e\u0301"), 1);
  EXPECT_EQ(DisplayWidth("\x1b[1;31mred\x1b[0m"), 3);
  EXPECT_EQ(DisplayWidth("▁▂▃"), 3);
}

TEST(TextWidthTest, CutsBetweenCharacters) {
  EXPECT_EQ(Fit("abcdef", 6), "abcdef");
  EXPECT_EQ(Fit("abcdef", 4), "abc…");
  EXPECT_EQ(Fit("漢字漢字", 4), "漢…");
  EXPECT_EQ(Fit("\x1b[32mabcdef\x1b[0m", 3), "\x1b[32mab…\x1b[0m");
  EXPECT_EQ(Fit("abc", 0), "");
}

// What hosts, alerts and files are named reaches a terminal only as plain text.
TEST(TextWidthTest, MakesTextFromElsewhereHarmless) {
  EXPECT_EQ(Clean("a\x1b[2Jb\r\n\x07"), "a?[2Jb???");
  EXPECT_EQ(Clean("good: ± 漢"), "good: ± 漢");
  EXPECT_EQ(Clean("\xff\xc3"), "??");
  EXPECT_EQ(Clean("a\u202eb\u009bc"), "a?b?c");
  EXPECT_EQ(OneLine("a\nb"), "a; b");
}

TEST(TextWidthTest, WrapsAtSpaces) {
  EXPECT_EQ(Wrap("one two three", 7, "  "), "one two\n  three");
  EXPECT_EQ(Wrap("indivisible", 3, ""), "indivisible");
  EXPECT_EQ(WrapHanging("12:00  fired  ShopSlow  [Prometheus]", 20, "  "),
            "12:00  fired\n  ShopSlow\n  [Prometheus]");
  for (const char* word : {"a b c d e f g", "aa  bb  cc"}) {
    EXPECT_EQ(WrapHanging(word, 80, "  "), word);
  }
}

TEST(TableTest, AlignsByColumns) {
  Table table({"NAME", "VALUE", "NOTE"});
  table.Add({"漢字", "± 1", "x"});
  table.Add({"a", "12345678"});
  EXPECT_EQ(table.Render(Style(false)),
            "NAME  VALUE     NOTE\n"
            "漢字  ± 1       x\n"
            "a     12345678\n");
}

TEST(TableTest, ShortensTheLastColumnToTheTerminal) {
  Table table({"A", "B"});
  table.Add({"1", "a very long explanation"});
  EXPECT_EQ(table.Render(Style(false), 13), "A  B\n1  a very lo…\n");
}

TEST(StyleTest, ColoursOnlyWhenAsked) {
  EXPECT_EQ(Style(true)(Colour::kGood, "x"), "\x1b[32mx\x1b[0m");
  EXPECT_EQ(Style(false)(Colour::kGood, "x"), "x");
}

TEST(SparklineTest, DrawsTheLastValues) {
  EXPECT_EQ(Sparkline({0, 0.5, 1}, 10, 1), "▁▅█");
  EXPECT_EQ(Sparkline({9, 0, 1}, 2, 0), "▁█");
  EXPECT_EQ(Sparkline({1, std::nan(""), 0}, 10, 1), "█·▁");
  EXPECT_EQ(Sparkline({1, 1}, 10, 1), "▅▅");
  EXPECT_EQ(Sparkline({std::numeric_limits<double>::infinity()}, 10, 1), "·");
  EXPECT_EQ(Sparkline({}, 10, 1), "");
  EXPECT_EQ(Sparkline({1}, 0, 1), "");
}

TEST(WordsTest, SaysWhatTheFieldSays) {
  EXPECT_EQ(Word(v1::MARK_KIND_FIRST_IMPACT), "first impact");
  EXPECT_EQ(Word(v1::MARK_KIND_SLO_BREACHED), "SLO breached");
  EXPECT_EQ(Word(v1::DETECTION_OUTCOME_ALREADY_FIRING), "already firing");
  EXPECT_EQ(Word(v1::RECOVERY_OUTCOME_SELF_RECOVERED), "self-recovered");
  EXPECT_EQ(Word(v1::MARK_SOURCE_PROMETHEUS_SAMPLE), "Prometheus");
  EXPECT_EQ(Word(static_cast<v1::RunState>(99)), "unknown (99)");
}

TEST(WordsTest, ACensoredMeasureIsNoValue) {
  v1::Measure measure;
  EXPECT_EQ(MeasureText(measure), "—");
  measure.mutable_value()->set_seconds(60);
  EXPECT_EQ(MeasureText(measure), "1m");
  measure.set_censored(true);
  measure.mutable_uncertainty()->set_nanos(500'000'000);
  EXPECT_EQ(MeasureWithError(measure), "> 1m ± 500ms");
}

TEST(RunViewTest, AMarkIsOneLineWithItsSourceAndError) {
  const v1::Run run = FinishedRun(v1::VERDICT_PASSED);
  EXPECT_THAT(MarkLine(run, run.marks(2), Style(false)),
              HasSubstr("+0.0s  first impact    cache1  lose packets  [kernel ±1.5ms]"));
  EXPECT_THAT(MarkLine(run, run.marks(3), Style(false)),
              HasSubstr("+12.3s  alert firing    ShopSlow  [Prometheus]"));
  // Before the impact nothing is counted from it.
  EXPECT_THAT(
      MarkLine(run, run.marks(1), Style(false)),
      HasSubstr("           applied         lose packets (packet_loss percent=33)  [agent]"));
}

TEST(RunViewTest, SummaryGivesVerdictTimesAndReason) {
  v1::Run run = FinishedRun(v1::VERDICT_FAILED);
  run.mutable_verdict()->add_reasons("the floor of success ratio broke");
  EXPECT_EQ(Summary(run, Style(false)),
            "cache-loss  failed\n"
            "  because   the floor of success ratio broke\n"
            "  detect    12.3s ± 2ms  detected by ShopSlow\n"
            "  recover   1m8s  after the end\n"
            "  faults    1 of 1 ended, and proven to be gone\n");
}

TEST(RunViewTest, AFaultThatNeverWasNeedsNoProof) {
  v1::Run run = FinishedRun(v1::VERDICT_ABORTED);
  *run.add_injections() = run.injections(0);
  run.mutable_injections(1)->set_state(v1::INJECTION_STATE_FAILED);
  run.mutable_injections(1)->set_end_proven(false);
  EXPECT_THAT(Summary(run, Style(false)),
              HasSubstr("  faults    1 of 1 ended, and proven to be gone\n"
                        "            1 of 2 never applied: nothing was done there\n"));
  run.mutable_injections()->DeleteSubrange(0, 1);
  EXPECT_THAT(Summary(run, Style(false)),
              HasSubstr("  faults    1 of 1 never applied: nothing was done there\n"));
}

TEST(RunViewTest, AnUnprovenEndIsNotOverlooked) {
  EXPECT_THAT(Summary(FinishedRun(v1::VERDICT_UNCLEAN), Style(false)),
              HasSubstr("LOOK AT   cache1: the end of \"lose packets\" is not proven"));
  EXPECT_THAT(DescribeRun(FinishedRun(v1::VERDICT_UNCLEAN), Style(false)),
              HasSubstr("END NOT PROVEN (its time was over)"));
  EXPECT_THAT(DescribeRun(FinishedRun(v1::VERDICT_PASSED), Style(false)),
              HasSubstr("ended, proven (its time was over)  packets_dropped=1234567"));
}

TEST(RunViewTest, NamesFromElsewhereCannotDriveTheTerminal) {
  v1::Run run = FinishedRun(v1::VERDICT_PASSED);
  run.mutable_marks(2)->set_host("\x1b]0;owned\x07");
  run.mutable_injections(0)->set_host("\x1b[2J");
  run.mutable_experiment()->set_hypothesis("\x1b[31m");
  run.mutable_verdict()->add_reasons("\x1b[31m");
  run.mutable_alerts(0)->set_explanation("\x1b[31m");
  EXPECT_THAT(
      DescribeRun(run, Style(false)) + MarkdownReport(run) + RunTable({run}, Style(false), 0),
      Not(HasSubstr("\x1b")));
}

v1::Run LiveRun() {
  v1::Run run = FinishedRun(v1::VERDICT_UNSPECIFIED);
  run.set_state(v1::RUN_STATE_INJECTING);
  run.clear_finished_at();
  v1::Injection& injection = *run.mutable_injections(0);
  injection.set_state(v1::INJECTION_STATE_ACTIVE);
  *injection.mutable_applied_at() = run.marks(1).at();
  *injection.mutable_first_impact_at() = run.marks(2).at();
  *run.mutable_experiment()->add_steady_state() = run.indicators(0).indicator();
  run.mutable_alerts(0)->set_outcome(v1::DETECTION_OUTCOME_UNSPECIFIED);
  v1::Series& series = *run.add_series();
  series.set_name("success ratio");
  for (const double value : {1.0, 0.99, 0.95}) series.add_samples()->set_value(value);
  return run;
}

TEST(LiveBlockTest, ShowsWhatLivesAndForHowLongYet) {
  const v1::Run run = LiveRun();
  const SystemTime now = FromProto(run.marks(1).at()) + std::chrono::milliseconds(18'400);
  const std::vector<std::string> lines = LiveBlock(run, now, "notice", 100, Style(false));
  ASSERT_EQ(lines.size(), 5U);
  EXPECT_EQ(lines[0], "cache-loss  injecting  20s so far");
  EXPECT_EQ(lines[1], "  cache1  lose packets  42s left  packet_loss percent=33");
  EXPECT_EQ(lines[2], "  success ratio  0.95  █▇▁  expect >= 0.99");
  EXPECT_EQ(lines[3], "  ShopSlow  has not fired yet");
  EXPECT_EQ(lines[4], "notice");
  EXPECT_EQ(LiveBlock(run, now, "", 100, Style(false))[4],
            "a: acknowledged   m: mitigated   Ctrl-C: abort or detach");
}

TEST(LiveBlockTest, SaysHowLongRecoveryIsStillWaitedFor) {
  v1::Run run = LiveRun();
  run.set_state(v1::RUN_STATE_RECOVERING);
  run.set_state_detail("watches");
  run.mutable_experiment()->mutable_recover_within()->set_seconds(60);
  v1::Injection& injection = *run.mutable_injections(0);
  injection.set_state(v1::INJECTION_STATE_ENDED);
  *injection.mutable_ended_at() = run.marks(1).at();
  const SystemTime now = FromProto(run.marks(1).at()) + std::chrono::seconds(20);
  EXPECT_THAT(LiveBlock(run, now, "", 100, Style(false))[0],
              HasSubstr("cache-loss  recovering  40s left at most  22s so far  watches"));
}

TEST(LiveBlockTest, FitsTheTerminalAndStaysSmall) {
  v1::Run run = LiveRun();
  for (int i = 0; i < 40; ++i) *run.add_injections() = run.injections(0);
  for (const int width : {1, 8, 20, 40}) {
    const auto lines = LiveBlock(run, FromProto(run.created_at()), "notice", width, Style(true));
    EXPECT_LE(lines.size(), 10U);
    for (const std::string& line : lines) EXPECT_LE(DisplayWidth(line), width) << line;
  }
}

TEST(ReportTest, SaysNothingTwice) {
  v1::Run run = FinishedRun(v1::VERDICT_PASSED);
  run.mutable_marks(2)->set_detail("lose packets");
  EXPECT_THAT(MarkdownReport(run), HasSubstr("| lose packets | kernel |  |"));
  run.mutable_marks(2)->set_detail("eth0");
  EXPECT_THAT(MarkdownReport(run), HasSubstr("| lose packets | kernel | eth0 |"));
}

TEST(RunViewTest, AnAlertIsExpectedToFireUnlessTheFileSaysOtherwise) {
  v1::Run run = FinishedRun(v1::VERDICT_PASSED);
  run.mutable_alerts(0)->mutable_expected()->clear_expect();
  run.mutable_alerts(0)->mutable_expected()->mutable_within()->set_seconds(15);
  EXPECT_THAT(DescribeRun(run, Style(false)), HasSubstr("ShopSlow  fires within 15s  detected"));
}

TEST(ReportTest, HasVerdictMeasuresAndTimeline) {
  const std::string report = MarkdownReport(FinishedRun(v1::VERDICT_PASSED));
  EXPECT_THAT(report, HasSubstr("# cache-loss: passed\n"));
  EXPECT_THAT(report, HasSubstr("| time to detect, ShopSlow | 12.3s ± 2ms | first impact | alert "
                                "firing |  |"));
  EXPECT_THAT(report, HasSubstr("| 2027-01-15T08:00:02.000Z | 1.5ms | first impact | cache1 | lose "
                                "packets | kernel |  |"));
  EXPECT_THAT(report, HasSubstr("| lose packets | cache1 | `packet_loss percent=33` | proven: its "
                                "time was over |"));
}

TEST(OutputTest, WritesTheSameFieldsAsJsonAndYaml) {
  v1::Mark mark = MakeMark(v1::MARK_KIND_APPLIED, 1.5, v1::MARK_SOURCE_AGENT, "yes");
  EXPECT_THAT(Serialize(mark, Format::kJson), HasSubstr("\"kind\": \"MARK_KIND_APPLIED\""));
  EXPECT_THAT(Serialize(mark, Format::kJson), HasSubstr("\"at\": \"2027-01-15T08:00:01.500Z\""));
  const std::string yaml = Serialize(mark, Format::kYaml);
  EXPECT_THAT(yaml, HasSubstr("kind: MARK_KIND_APPLIED\n"));
  EXPECT_THAT(yaml, HasSubstr("subject: \"yes\"\n"));
  EXPECT_EQ(SerializeJson(R"({"a":[],"b":{"c":1.5,"d":"1"},"e":null})", Format::kYaml),
            "a: []\nb:\n  c: 1.5\n  d: \"1\"\ne: ~\n");
}

TEST(EventViewTest, SaysHowLongAfterTheImpactItHappened) {
  v1::Run run = test::FinishedRun(v1::VERDICT_PASSED);
  v1::Injection& injection = *run.mutable_injections(0);
  *injection.mutable_first_impact_at() = ToProto(SystemTime(std::chrono::seconds(1'800'000'002)));
  v1::InjectionEvent& event = *injection.add_events();
  event.set_name("respawned");
  *event.mutable_at() = ToProto(SystemTime(std::chrono::milliseconds(1'800'000'003'204)));
  event.set_from_kernel(true);
  *event.mutable_uncertainty() = ToProto(std::chrono::milliseconds(1));
  event.set_detail("redis-server, pid 4711");
  EXPECT_EQ(EventText(injection, event),
            "respawned after 1.204s ± 1ms (kernel): redis-server, pid 4711");
  const Style plain(false);
  EXPECT_THAT(EventLine(injection, event, plain),
              HasSubstr("+1.2s  respawned       cache1  lose packets  redis-server, pid 4711  "
                        "[kernel ±1ms]"));
  EXPECT_THAT(DescribeRun(run, plain), HasSubstr("EVENT"));
  EXPECT_THAT(DescribeRun(run, plain), HasSubstr("1.204s ± 1ms"));
  EXPECT_THAT(MarkdownReport(run), HasSubstr("| respawned | cache1 | lose packets | 1.204s ± 1ms | "
                                             "kernel | redis-server, pid 4711 |"));
  injection.set_state(v1::INJECTION_STATE_ACTIVE);
  std::string live;
  for (const std::string& line :
       LiveBlock(run, SystemTime(std::chrono::seconds(1'800'000'010)), "", 120, plain)) {
    live += line + "\n";
  }
  EXPECT_THAT(live, HasSubstr("    respawned after 1.204s ± 1ms (kernel)"));
  injection.clear_events();
  EXPECT_THAT(MarkdownReport(run), ::testing::Not(HasSubstr("## Events")));
  EXPECT_THAT(DescribeRun(run, plain), ::testing::Not(HasSubstr("EVENT")));
}

}  // namespace
}  // namespace firedrill::cli
