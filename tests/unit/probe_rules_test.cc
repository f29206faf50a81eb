// SPDX-License-Identifier: Apache-2.0
// Which rule raises an alert, what its expression reads, and when it held.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controller/probe/alerts.h"
#include "controller/probe/promql_ranges.h"
#include "controller/probe/rules.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kBase = 1'800'000'000'000;

SystemTime At(std::int64_t ms) { return SystemTime(milliseconds(kBase + ms)); }

std::vector<std::pair<std::string, Nanoseconds>> Readings(const std::string& expression) {
  std::vector<std::pair<std::string, Nanoseconds>> read;
  for (const PromqlReading& one : ReadingsOf(expression))
    read.emplace_back(one.selector, one.range);
  return read;
}

TEST(PromqlRangesTest, AddsSubqueriesToTheRangesInThem) {
  EXPECT_THAT(Readings("up"), ElementsAre(std::pair("up", seconds(0))));
  EXPECT_THAT(Readings("rate(a{x=\"[9m]\"}[5m] offset 1h)"),
              ElementsAre(std::pair("a{x=\"[9m]\"}", minutes(5))));
  EXPECT_THAT(Readings("max_over_time(rate(x[5m])[10m:1m]) > y"),
              ElementsAre(std::pair("x", minutes(15)), std::pair("y", seconds(0))));
  EXPECT_THAT(Readings("avg_over_time((a + sum by (b) (rate(c[1m])))[1h:] @ start())"),
              ElementsAre(std::pair("a", minutes(60)), std::pair("c", minutes(61))));
  EXPECT_THAT(Readings("x offset 5m[10m:]"), ElementsAre(std::pair("x", minutes(10))));
  EXPECT_THAT(Readings("rate(x[5m] @ end())[10m:1m]"), ElementsAre(std::pair("x", minutes(15))));
  EXPECT_THAT(Readings("rate(x[90])"), ElementsAre(std::pair("x", seconds(90))));
  EXPECT_THAT(Readings("time() > 5"), IsEmpty());
  for (const char* text : {"[", "[5m", "x[", "x[]", "x[99999999y]", ")[5m](", "@", "x[1e999]"}) {
    for (const PromqlReading& one : ReadingsOf(text)) EXPECT_GE(one.range.count(), 0) << text;
  }
}

TEST(PromqlRangesTest, FindsTheMetricsName) {
  EXPECT_EQ(MetricNameOf("up{job=\"a\"}"), "up");
  EXPECT_EQ(MetricNameOf("a:b"), "a:b");
  EXPECT_EQ(MetricNameOf("{job=\"x\",__name__=\"a:b\"}"), "a:b");
  EXPECT_EQ(MetricNameOf("{\"my.metric\", job=\"x\"}"), "my.metric");
  EXPECT_EQ(MetricNameOf("{__name__=~\"a.*\"}"), "");
  EXPECT_EQ(MetricNameOf("{job=\"x\"}"), "");
  EXPECT_EQ(MetricNameOf(""), "");
  EXPECT_EQ(MetricNameOf("{"), "");
}

TEST(PromqlRangesTest, ReadsCountersFromScrapeToScrape) {
  const auto per_scrape = [](const std::string& query) {
    return PerScrape(query, [](const std::string& selector) -> Nanoseconds {
      return selector == "b" ? seconds(30) : milliseconds(1500);
    });
  };
  EXPECT_EQ(per_scrape("rate(a[5m])"), "irate(a[3000ms])");
  EXPECT_EQ(per_scrape("sum by (x) (rate(a{c=\"rate(\"}[5m])) / sum(irate(b[1h] offset 1m))"),
            "sum by (x) (irate(a{c=\"rate(\"}[3000ms])) / sum(irate(b[60000ms] offset 1m))");
  EXPECT_EQ(per_scrape("increase(a[5m]) > 3"), "(irate(a[3000ms]) * 1.500) > 3");
  EXPECT_EQ(per_scrape("delta({job=\"x\"}[5m])"), "idelta({job=\"x\"}[3000ms])");
  for (const char* same : {"a", "avg_over_time(a[5m])", "rate(sum(a)[5m:1m])", "rate(a[5m:1m])",
                           "rate", "rate(", "rate(a", "rate(a[5m", "increase(a)", ""}) {
    if (std::string(same) == "rate(a[5m") continue;  // an open bracket ends with the text
    EXPECT_EQ(per_scrape(same), same);
  }
}

PrometheusRule Rule(const std::string& name, const std::string& expression,
                    std::map<std::string, std::string> labels = {},
                    const std::string& file = "shop.yml") {
  PrometheusRule rule;
  rule.name = name;
  rule.expression = expression;
  rule.labels = std::move(labels);
  rule.group = "shop";
  rule.file = file;
  rule.evaluation_interval = seconds(5);
  return rule;
}

PrometheusRule Recording(const std::string& name, const std::string& expression) {
  PrometheusRule rule = Rule(name, expression);
  rule.recording = true;
  return rule;
}

AlertSeries Series(bool firing, int from_s, std::map<std::string, std::string> labels) {
  AlertSeries series;
  series.labels = std::move(labels);
  series.firing = firing;
  for (int i = 0; i < 3; ++i) series.samples.push_back({At((from_s + i) * 1000), 1});
  return series;
}

TEST(ChooseRuleTest, ByTheLabelsThatAreAskedFor) {
  const RuleBook book({Recording("Down", "a"), Rule("Down", "a", {{"severity", "page"}}),
                       Rule("Down", "b", {{"severity", "ticket"}}),
                       Rule("Tmpl", "c", {{"host", "{{ $labels.instance }}"}})});
  RuleChoice choice = ChooseRule(book, {"Down", {{"severity", "ticket"}}}, {});
  ASSERT_NE(choice.rule, nullptr);
  EXPECT_EQ(choice.rule->expression, "b");
  EXPECT_EQ(choice.ambiguity, "");
  EXPECT_NE(ChooseRule(book, {"Tmpl", {{"host", "web-1"}}}, {}).rule, nullptr);

  choice = ChooseRule(book, {"Down", {{"severity", "info"}}}, {});
  EXPECT_EQ(choice.rule, nullptr);
  EXPECT_EQ(choice.hint, "the rule sets severity=page, not info");
  choice = ChooseRule(book, {"Dwon", {}}, {});
  EXPECT_EQ(choice.hint, "did you mean Down?");
}

TEST(ChooseRuleTest, ByTheSeriesThatFiredFirst) {
  const RuleBook book({Rule("Down", "a", {}), Rule("Down", "b", {{"severity", "page"}}),
                       Rule("Down", "c", {{"severity", "ticket"}})});
  const ProbeQuestion::Alert asked{"Down", {}};
  RuleChoice choice = ChooseRule(book, asked, {});
  EXPECT_EQ(choice.rule->expression, "a");
  EXPECT_THAT(choice.ambiguity, HasSubstr("3 rules could raise it"));
  choice =
      ChooseRule(book, asked,
                 {Series(false, 1, {{"severity", "page"}}), Series(true, 9, {{"severity", "page"}}),
                  Series(true, 5, {{"severity", "ticket"}})});
  EXPECT_EQ(choice.rule->expression, "c") << "it fired first";
  EXPECT_EQ(choice.ambiguity, "");
  choice = ChooseRule(book, asked, {Series(false, 1, {{"host", "x"}})});
  EXPECT_EQ(choice.rule->expression, "a") << "the others would set a label";
}

TEST(LeadTest, IsTheSeriesThatFiredFirstElseThatWasPendingFirst) {
  EXPECT_EQ(LeadOf({}), nullptr);
  EXPECT_EQ(LeadOf({AlertSeries{}}), nullptr) << "it has no sample";
  std::vector<AlertSeries> series = {Series(false, 3, {}), Series(false, 2, {})};
  EXPECT_EQ(LeadOf(series), &series[1]);
  series.push_back(Series(true, 9, {{"zone", "a"}}));
  series.push_back(Series(true, 5, {{"zone", "b"}}));
  EXPECT_EQ(LeadOf(series), &series[3]);
}

TEST(ChooseRuleTest, TellsApartTheSameFromTheAmbiguous) {
  const RuleBook same({Rule("Down", "a", {}, "1.yml"), Rule("Down", "a", {}, "2.yml")});
  EXPECT_EQ(ChooseRule(same, {"Down", {}}, {}).ambiguity, "");
  const RuleBook other({Rule("Down", "a", {}, "1.yml"), Rule("Down", "b", {}, "2.yml")});
  const RuleChoice choice = ChooseRule(other, {"Down", {}}, {Series(true, 1, {{"x", "y"}})});
  EXPECT_EQ(choice.ambiguity,
            "2 rules could raise it (groups \"shop\" in \"1.yml\", \"shop\" in \"2.yml\"); the "
            "first one is taken");
}

TEST(RuleTest, LooksBackThroughRecordingRules) {
  const RuleBook book({Recording("job:errors:rate5m", "sum by (job) (rate(errors_total[5m]))"),
                       Recording("plain", "avg_over_time(job:errors:rate5m[10m])"),
                       Recording("loop", "loop + rate(x[1m])")});
  EXPECT_EQ(LookBackOf("up == 0", book), seconds(0));
  EXPECT_EQ(LookBackOf("job:errors:rate5m{job=\"x\"} > 1", book), minutes(5));
  EXPECT_EQ(LookBackOf("max_over_time(plain[1h]) > 1", book), minutes(75));
  EXPECT_EQ(LookBackOf("loop", book), minutes(1)) << "and it ends";
}

TEST(RuleTest, TellsTheScrapeIntervalOfWhatItReads) {
  PrometheusConfig config;
  config.scrape_interval = seconds(15);
  config.evaluation_interval = seconds(20);
  config.rule_query_offset = seconds(3);
  config.job_scrape_interval = {{"a", seconds(5)}, {"b", seconds(60)}};
  config.recorded_interval = {{"recorded", seconds(7)}};
  const RuleBook book({});
  const auto interval = [&](const std::string& expression) {
    return AlertRuleOf(Rule("X", expression), book, config, std::nullopt).scrape_interval;
  };
  EXPECT_EQ(interval("x{job=\"a\"} > 1"), seconds(5));
  EXPECT_EQ(interval("x{job=\"a\"} > y{job=\"b\"}"), seconds(60));
  EXPECT_EQ(interval("x > 1"), std::nullopt) << "jobs differ";
  EXPECT_EQ(interval("recorded > 1"), seconds(7));
  EXPECT_EQ(interval("a:b > 1"), seconds(20));
  EXPECT_EQ(interval("vector(1)"), std::nullopt);
  ScrapeGrid grid;
  grid.longest_ms = 1000;
  const AlertRule rule = AlertRuleOf(Rule("X", "x"), book, config, grid);
  EXPECT_EQ(rule.scrape_interval, seconds(1)) << "what was seen counts";
  EXPECT_EQ(rule.query_offset, seconds(3));
  EXPECT_EQ(rule.file, "shop.yml");
}

TEST(RuleToldTest, NamesOtherAlertsThatLookAfterAbsence) {
  const std::string ratio = "sum(rate(errors_total[1m])) / sum(rate(requests_total[1m])) > 0.1";
  std::vector<PrometheusRule> rules = {
      Rule("Errors", ratio),
      Rule("RequestsGone", "absent(requests_total{job=\"shop\"})"),
      Rule("ErrorsGone", "absent_over_time(errors_total[5m]) == 1"),
      Rule("OtherGone", "absent(other_total)"),
      Rule("Requests", "requests_total > 5"),
      Rule("recorded:gone", "absent(requests_total)"),
  };
  rules.back().recording = true;
  const RuleBook book(rules);
  EXPECT_THAT(AlertRuleOf(rules[0], book, std::nullopt, std::nullopt).absent_in,
              ElementsAre("ErrorsGone", "RequestsGone"));
  EXPECT_THAT(AlertRuleOf(rules[3], book, std::nullopt, std::nullopt).absent_in, IsEmpty());
}

TEST(FiringNowTest, IsOfTheNewestSamplesAndNotOfBlindTimes) {
  const auto firing = [](const std::vector<AlertSeries>& series, int now_s,
                         std::vector<TimeSpan> blind = {}) {
    return FiringNow(series, seconds(1), blind, At(now_s * 1000));
  };
  EXPECT_FALSE(firing({}, 5));
  EXPECT_FALSE(firing({Series(false, 1, {})}, 4));
  EXPECT_TRUE(firing({Series(false, 1, {}), Series(true, 4, {})}, 7));
  EXPECT_TRUE(firing({Series(true, 4, {})}, 8));
  EXPECT_FALSE(firing({Series(true, 4, {})}, 9)) << "2.5 intervals without a sample";
  EXPECT_FALSE(firing({Series(true, 4, {{"a", "1"}}), Series(false, 8, {{"a", "2"}})}, 10));
  EXPECT_FALSE(firing({Series(true, 4, {}), Series(false, 10, {})}, 12)) << "it begins anew";
  // A restarted Prometheus: what it did not look at did not resolve, and pending is what it calls
  // an alert that has fired.
  EXPECT_TRUE(firing({Series(true, 4, {})}, 60, {{At(6000), At(58'000)}}));
  EXPECT_FALSE(firing({Series(true, 4, {})}, 62, {{At(6000), At(58'000)}}));
  EXPECT_TRUE(firing({Series(true, 4, {}), Series(false, 59, {})}, 61, {{At(6000), At(58'000)}}));
}

TEST(AlertsTest, AsksForLabelsAsTheyAre) {
  EXPECT_EQ(AlertsQuery({"Ü \"q\" \\", {{"a", "x"}, {"b.c", "y"}}}, 1500),
            "ALERTS{alertname=\"Ü \\\"q\\\" \\\\\",a=\"x\",\"b.c\"=\"y\"}[1500ms]");
}

TEST(AlertsTest, GivesTheSamplesAsTheyAre) {
  PrometheusAnswer answer;
  answer.series = {{{{"__name__", "ALERTS"}, {"alertstate", "firing"}, {"alertname", "X"}},
                    {{kBase, 1}, {kBase + 1000, 1}}},
                   {{{"alertstate", "other"}}, {{kBase, 1}}},
                   {{{"alertname", "X"}}, {{kBase, 1}}}};
  const auto series = AlertSeriesOf(answer, milliseconds(250));
  ASSERT_EQ(series.size(), 1u);
  EXPECT_TRUE(series[0].firing);
  EXPECT_THAT(series[0].labels, ElementsAre(std::pair("alertname", "X")));
  ASSERT_EQ(series[0].samples.size(), 2u);
  EXPECT_EQ(series[0].samples[1].at, At(1250));
}

// A grid of scrapes at each full second, looked at 100 ms after it.
ScrapeGrid EverySecond() {
  ScrapeGrid grid;
  grid.phase_ms = kBase;
  grid.interval_ms = 1000;
  grid.known = true;
  return grid;
}

PrometheusSeries Points(std::map<std::string, std::string> labels,
                        std::vector<std::pair<std::int64_t, double>> points) {
  PrometheusSeries series;
  series.labels = std::move(labels);
  for (const auto& [at, value] : points) series.points.push_back({kBase + at, value});
  return series;
}

// What NewestQuery gives: at each instant when the newest sample was scraped.
PrometheusAnswer Newest(const std::vector<std::pair<std::int64_t, std::int64_t>>& points) {
  PrometheusAnswer answer;
  answer.series.emplace_back();
  for (const auto& [at, scraped] : points) {
    answer.series[0].points.push_back({kBase + at, static_cast<double>(kBase + scraped) / 1000});
  }
  return answer;
}

std::vector<std::pair<std::int64_t, double>> Told(const std::vector<RawSample>& truth) {
  std::vector<std::pair<std::int64_t, double>> told;
  for (const RawSample& sample : truth) {
    told.emplace_back(
        std::chrono::duration_cast<milliseconds>(sample.at - SystemTime(milliseconds(kBase)))
            .count(),
        sample.value);
  }
  return told;
}

TEST(TruthTest, CountsAtEachScrape) {
  const TruthPlan plan =
      PlanTruth(Rule("X", "a > 1"), {"X", {}}, EverySecond(), 0, kBase + 1000, kBase + 4500);
  EXPECT_EQ(plan.query, "count by () (\na > 1\n)");
  EXPECT_EQ(plan.range.start_ms, kBase + 100);
  EXPECT_EQ(plan.range.end_ms, kBase + 4100);
  PrometheusAnswer counts;
  counts.series = {Points({}, {{2100, 2}, {3100, 2}, {4100, 1}})};
  const auto newest = Newest({{100, 0}, {1100, 1000}, {2100, 2003}, {3100, 3000}, {4100, 4000}});
  EXPECT_THAT(Told(TruthOf(plan, counts, false, newest, {}, kBase + 4500, Nanoseconds(0))),
              ElementsAre(std::pair(0, 0.0), std::pair(1000, 0.0), std::pair(2003, 2.0),
                          std::pair(3000, 2.0), std::pair(4000, 1.0)));
}

TEST(TruthTest, GoesOnWhereNothingIsScrapedUnlessPrometheusWasBlind) {
  const TruthPlan plan =
      PlanTruth(Rule("X", "absent(a)"), {"X", {}}, EverySecond(), 0, kBase + 1000, kBase + 6500);
  PrometheusAnswer counts;
  counts.series = {Points({}, {{2100, 1}, {3100, 1}, {4100, 1}, {5100, 1}, {6100, 1}})};
  const auto newest = Newest({{100, 0}, {1100, 1000}, {2100, 1000}});
  EXPECT_THAT(Told(TruthOf(plan, counts, false, newest, {{kBase + 3050, kBase + 5050}},
                           kBase + 6500, Nanoseconds(0))),
              ElementsAre(std::pair(0, 0.0), std::pair(1000, 0.0), std::pair(2000, 1.0),
                          std::pair(5000, 1.0)))
      << "the scrape at 6000 may be on its way";
}

TEST(TruthTest, OfAnExpressionThatReadsNothingAtEachEvaluation) {
  PrometheusRule rule = Rule("X", "time() > 5");
  const TruthPlan plan =
      PlanTruth(rule, {"X", {}}, ScrapeGrid{}, kBase + 1234, kBase + 10'000, kBase + 21'500);
  EXPECT_EQ(plan.newest_query, "");
  PrometheusAnswer number;
  number.series = {Points({}, {{6234, 1}, {11'234, 0}, {16'234, 0}})};
  EXPECT_THAT(Told(TruthOf(plan, number, true, {}, {}, kBase + 21'500, Nanoseconds(0))),
              ElementsAre(std::pair(6234, 1.0), std::pair(11'234, 1.0), std::pair(16'234, 1.0),
                          std::pair(21'234, 0.0)))
      << "a rule holds whatever its value";
}

TEST(TruthTest, LooksOnlyAtSeriesOfTheLabelsThatTheRuleDoesNotSet) {
  const PrometheusRule rule = Rule("X", "a > 1",
                                   {{"severity", "page"},
                                    {"host", "{{ $labels.instance }}"},
                                    {"team", "{{ if true }}a{{ end }}"}});
  const TruthPlan plan = PlanTruth(
      rule, {"X", {{"severity", "page"}, {"host", "web-1"}, {"team", "a"}, {"job", "shop"}}},
      EverySecond(), 0, kBase + 1000, kBase + 2500);
  EXPECT_EQ(plan.query, "count by (instance,job) (\na > 1\n)");
  PrometheusAnswer counts;
  counts.series = {Points({{"instance", "web-1"}, {"job", "shop"}}, {{1100, 1}}),
                   Points({{"instance", "web-2"}, {"job", "shop"}}, {{1100, 4}, {2100, 4}})};
  EXPECT_THAT(Told(TruthOf(plan, counts, false, Newest({{1100, 1000}, {2100, 2000}}), {},
                           kBase + 2500, Nanoseconds(0))),
              ElementsAre(std::pair(0, 0.0), std::pair(1000, 1.0), std::pair(2000, 0.0)));
}

}  // namespace
}  // namespace firedrill::controller
