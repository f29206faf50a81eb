// SPDX-License-Identifier: Apache-2.0
// What comes from the network or from people as text: PromQL, Prometheus' answers, webhooks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "controller/probe/alertmanager.h"
#include "controller/probe/answer.h"
#include "controller/probe/matching.h"
#include "controller/probe/promql.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(PromqlTest, FindsTheSelectors) {
  EXPECT_THAT(ShapeOf("up").selectors, ElementsAre("up"));
  EXPECT_THAT(ShapeOf("up{job=\"a}b\"}[5m] offset 1m").selectors, ElementsAre("up{job=\"a}b\"}"));
  EXPECT_THAT(ShapeOf("{__name__=~'shop.*'}").selectors, ElementsAre("{__name__=~'shop.*'}"));
  EXPECT_THAT(
      ShapeOf("sum by (job, code) (rate(a{x='1'}[5s])) / on(job) group_left(y) sum(b)").selectors,
      ElementsAre("a{x='1'}", "b"));
  EXPECT_THAT(ShapeOf("sum(a) without (code) / sum(a)").selectors, ElementsAre("a"));
  EXPECT_THAT(ShapeOf("histogram_quantile(0.9, sum(rate(h_bucket[1m])) by (le)) # c d").selectors,
              ElementsAre("h_bucket"));
  EXPECT_THAT(ShapeOf("max_over_time(a:b:rate5m[10m:1m] @ start())").selectors,
              ElementsAre("a:b:rate5m"));
  EXPECT_THAT(ShapeOf("vector(1) + time()").selectors, IsEmpty());
  EXPECT_THAT(ShapeOf("a or b and c unless d").selectors, ElementsAre("a", "b", "c", "d"));
}

TEST(PromqlTest, KnowsAPlainSelector) {
  EXPECT_TRUE(ShapeOf("up").plain_selector);
  EXPECT_TRUE(ShapeOf(" up{job=\"shop\"}\n").plain_selector);
  EXPECT_TRUE(ShapeOf("{__name__=\"up\"}").plain_selector);
  for (const char* other :
       {"up[5m]", "up offset 5m", "sum(up)", "-up", "up == 1", "1", "", "up up"}) {
    EXPECT_FALSE(ShapeOf(other).plain_selector) << other;
  }
}

TEST(PromqlTest, KnowsWhereTheOutermostComparisonFilters) {
  for (const char* filter :
       {"sum(up) == 0", "(sum(up) == 0)", "up{a!=\"b\"} < 1", "sum by (job) (up) == 0",
        "sum(a) > 1 and sum(b) < 2", "a == on(x) b"}) {
    EXPECT_TRUE(ShapeOf(filter).filters) << filter;
    EXPECT_TRUE(ShapeOf(filter).may_be_empty) << filter;
  }
  for (const char* value :
       {"sum(up) == bool 0", "up{a!=\"b\",c=~\"x\"}", "count(up == 0) or vector(0)", "sum(up)",
        "label_replace(a, \"b\", \"x == y\", \"\", \"\")"}) {
    EXPECT_FALSE(ShapeOf(value).filters) << value;
  }
  EXPECT_TRUE(ShapeOf("count(up == 0)").may_be_empty);
  EXPECT_TRUE(ShapeOf("absent(up)").may_be_empty);
  EXPECT_FALSE(ShapeOf("sum(up)").may_be_empty);
  EXPECT_FALSE(ShapeOf("sum(up) == bool 0").may_be_empty);
}

TEST(PromqlTest, SurvivesTextThatIsNoPromql) {
  for (const char* text :
       {"\"", "{", "[", "(((", ")))", "{\"", "by (", "a{'\\", "==", "#", "= ~"}) {
    ShapeOf(text);
  }
  EXPECT_EQ(QuoteLabelValue("a\"b\\c\nd"), "\"a\\\"b\\\\c\\nd\"");
}

TEST(AnswerTest, ReadsVectorMatrixAndScalar) {
  const auto vector = ParsePrometheusAnswer(
      R"({"status":"success","data":{"resultType":"vector","result":[
          {"metric":{"job":"shop"},"value":[1700000000.123,"0.5"]}]},"warnings":["slow"]})");
  ASSERT_TRUE(vector.ok()) << vector.status();
  EXPECT_EQ(vector->series[0].labels.at("job"), "shop");
  EXPECT_EQ(vector->series[0].points[0].at_ms, 1700000000123);
  EXPECT_EQ(vector->series[0].points[0].value, 0.5);
  EXPECT_THAT(vector->warnings, ElementsAre("slow"));
  const auto matrix = ParsePrometheusAnswer(
      R"({"status":"success","data":{"resultType":"matrix","result":[
          {"metric":{},"values":[[1,"NaN"],[2,"+Inf"],[3.5,"-1e3"]]}]}})");
  ASSERT_TRUE(matrix.ok()) << matrix.status();
  ASSERT_EQ(matrix->series[0].points.size(), 3u);
  EXPECT_TRUE(std::isnan(matrix->series[0].points[0].value));
  EXPECT_TRUE(std::isinf(matrix->series[0].points[1].value));
  EXPECT_EQ(matrix->series[0].points[2].at_ms, 3500);
  const auto scalar = ParsePrometheusAnswer(
      R"({"status":"success","data":{"resultType":"scalar","result":[7,"1"]}})");
  ASSERT_TRUE(scalar.ok()) << scalar.status();
  EXPECT_EQ(scalar->series[0].points[0].at_ms, 7000);
}

TEST(AnswerTest, TellsPrometheusOwnErrors) {
  const auto code = [](const char* type) {
    return ParsePrometheusAnswer(std::string(R"({"status":"error","errorType":")") + type +
                                 R"(","error":"1:5: parse error"})")
        .status();
  };
  EXPECT_EQ(code("bad_data").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(code("bad_data").message()), HasSubstr("1:5: parse error"));
  EXPECT_EQ(code("timeout").code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(code("unavailable").code(), absl::StatusCode::kUnavailable);
}

TEST(AnswerTest, RefusesWhatIsNoAnswer) {
  const std::string deep = std::string(5000, '[') + std::string(5000, ']');
  for (
      const std::string& text :
      {std::string(), std::string("<html>"), std::string("{}"), std::string("[1]"),
       std::string("{\"status\":\"success\"}"), deep,
       std::string(R"({"status":"success","data":{"resultType":"vector","result":{}}})"),
       std::string(R"({"status":"success","data":{"resultType":"string","result":[1,"x"]}})"),
       std::string(
           R"({"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,2]}]}})"),
       std::string(
           R"({"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1e99,"2"]}]}})"),
       std::string(
           R"({"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1e10,"2"]}]}})"),
       std::string(
           R"({"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[-1,"2"]}]}})"),
       std::string(
           R"({"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"2x"]}]}})"),
       std::string(
           R"({"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":1},"value":[1,"2"]}]}})"),
       std::string(
           R"({"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[2,"2"],[1,"2"]]}]}})")}) {
    const auto answer = ParsePrometheusAnswer(text);
    EXPECT_EQ(answer.status().code(), absl::StatusCode::kDataLoss) << text.substr(0, 120);
  }
}

TEST(AnswerTest, ExplainsHttpStatuses) {
  EXPECT_EQ(HttpStatusError(401, "").code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(HttpStatusError(302, "").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(HttpStatusError(404, "x").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(HttpStatusError(502, "bad\ngateway").code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(HttpStatusError(502, "bad\ngateway").message()),
              HasSubstr("HTTP 502: bad gateway"));
  EXPECT_THAT(std::string(HttpStatusError(
                              422, R"({"status":"error","errorType":"execution","error":"many"})")
                              .message()),
              HasSubstr("many"));
}

// As Prometheus 2.42 tells rules, beside what later ones and others add.
constexpr char kRules[] = R"json({"status":"success","data":{"groups":[
  {"name":"shop","file":"rules.yml","rules":[
    {"name":"job:shop_ok:rate1m","query":"avg_over_time(shop_ok[1m])","health":"ok",
     "lastEvaluation":"2026-11-22T23:25:03.224113497Z","type":"recording"},
    {"state":"inactive","name":"Ünï \"q\" \\","duration":120.5,"keepFiringFor":4,
     "query":"job:shop_ok:rate1m{job=\"shop\"} \u003c 0.5",
     "labels":{"host":"{{ $labels.instance }}","severity":"page"},
     "annotations":{"summary":"ü {{ $value }}"},"alerts":[],"health":"ok",
     "lastEvaluation":"2026-11-22T23:25:03.224302659Z","type":"alerting"},
    {"type":"of the future"}],
   "interval":2,"limit":0,"lastEvaluation":"2026-11-22T23:25:03.224100137Z"},
  {"name":"shop","file":"other.yml","interval":15,"queryOffset":"1m",
   "lastEvaluation":"0001-01-01T00:00:00Z",
   "rules":[{"type":"alerting","name":"Slow","query":"vector(1)"}]},
  {"name":"empty","file":"other.yml","interval":15,"queryOffset":2.5,"rules":[
   {"type":"alerting","name":"Late","query":"up","labels":null}]}]}})json";

TEST(AnswerTest, ReadsRulesWhole) {
  const auto rules = ParsePrometheusRules(kRules);
  ASSERT_TRUE(rules.ok()) << rules.status();
  ASSERT_EQ(rules->size(), 4u);
  EXPECT_TRUE((*rules)[0].recording);
  EXPECT_EQ((*rules)[0].name, "job:shop_ok:rate1m");
  const PrometheusRule& rule = (*rules)[1];
  EXPECT_FALSE(rule.recording);
  EXPECT_EQ(rule.name, "Ünï \"q\" \\");
  EXPECT_EQ(rule.expression, "job:shop_ok:rate1m{job=\"shop\"} < 0.5");
  EXPECT_EQ(rule.group, "shop");
  EXPECT_EQ(rule.file, "rules.yml");
  EXPECT_EQ(rule.pending_for, milliseconds(120'500));
  EXPECT_EQ(rule.keep_firing_for, milliseconds(4000));
  EXPECT_EQ(rule.evaluation_interval, milliseconds(2000));
  EXPECT_EQ(rule.query_offset, std::nullopt);
  EXPECT_EQ(rule.evaluated_at_ms, 1'795'389'903'224);
  EXPECT_EQ(rule.labels.at("severity"), "page");
  EXPECT_EQ((*rules)[2].file, "other.yml");
  EXPECT_EQ((*rules)[2].query_offset, milliseconds(60'000));
  EXPECT_EQ((*rules)[2].evaluated_at_ms, std::nullopt) << "not yet";
  EXPECT_EQ((*rules)[3].query_offset, milliseconds(2500));
  for (
      const char* text :
      {"{}", R"({"status":"success","data":{"groups":[5]}})",
       R"({"status":"success","data":{"groups":[{"rules":[{"type":"alerting","labels":{"a":1}}]}]}})"}) {
    EXPECT_FALSE(ParsePrometheusRules(text).ok()) << text;
  }
}

TEST(AnswerTest, ReadsWhatHappensToAlertsOnTheirWay) {
  auto config = ParsePrometheusConfig(
      R"({"status":"success","data":{"yaml":"global:\n  rule_query_offset: 1m\n  external_labels:\n    region: eu\nalerting:\n  alert_relabel_configs:\n  - separator: ;\n    regex: replica\n    action: labeldrop\n"}})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rule_query_offset, milliseconds(60'000));
  EXPECT_THAT(config->alert_path->external_labels, ElementsAre(std::pair("region", "eu")));
  ASSERT_EQ(config->alert_path->steps.size(), 1u);
  EXPECT_EQ(config->alert_path->steps[0].action, "labeldrop");
  EXPECT_EQ(config->alert_path->steps[0].regex, "replica");
  EXPECT_EQ(config->alert_path->steps[0].replacement, "$1") << "Prometheus' default";
  config = ParsePrometheusConfig(
      R"({"status":"success","data":{"yaml":"alerting:\n  alert_relabel_configs:\n  - action: [drop]\n  - 5\n"}})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->alert_path->steps.size(), 1u);
  EXPECT_TRUE(ParsePrometheusConfig(R"({"status":"success","data":{"yaml":""}})").ok());
  EXPECT_TRUE(ParsePrometheusConfig(R"({"status":"success","data":{"yaml":"[]"}})").ok());
}

TEST(AnswerTest, ReadsConfiguration) {
  const auto config = ParsePrometheusConfig(
      R"({"status":"success","data":{"yaml":"global:\n  scrape_interval: 15s\nscrape_configs:\n- job_name: shop\n  scrape_interval: 500ms\n- job_name: other\n"}})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->scrape_interval, milliseconds(15'000));
  EXPECT_EQ(config->evaluation_interval, milliseconds(60'000));  // Prometheus' default
  EXPECT_EQ(config->job_scrape_interval.at("shop"), milliseconds(500));
  EXPECT_EQ(config->job_scrape_interval.at("other"), milliseconds(15'000));
  for (const char* text :
       {"", "{}", "[]", R"({"data":{"yaml":1}})", R"({"data":{"yaml":"a: [b"}})"}) {
    EXPECT_FALSE(ParsePrometheusConfig(text).ok()) << text;
  }
  const std::string deep = std::string(100, '[') + std::string(100, ']');
  const auto nested =
      ParsePrometheusConfig(R"({"data":{"yaml":"global: {}"},"more":)" + deep + "}");
  EXPECT_THAT(std::string(nested.status().message()), HasSubstr("nested too deeply"));
}

TEST(AnswerTest, ReadsDurations) {
  EXPECT_EQ(ParsePrometheusDuration("1m30s"), milliseconds(90'000));
  EXPECT_EQ(ParsePrometheusDuration("500ms"), milliseconds(500));
  EXPECT_EQ(ParsePrometheusDuration("1d2h"), milliseconds(93'600'000));
  EXPECT_EQ(ParsePrometheusDuration("0"), milliseconds(0));
  for (const char* text : {"", "5", "s", "-5s", "5 s", "5x", "99999999999999999999s", "9999y"}) {
    EXPECT_FALSE(ParsePrometheusDuration(text)) << text;
  }
}

const SystemTime kNow{std::chrono::seconds(1'800'000'000)};

std::string Webhook(const std::string& alerts) {
  return R"({"version":"4","groupKey":"{}","truncatedAlerts":3,"status":"firing","receiver":"fire drill","alerts":[)" +
         alerts + "]}";
}

std::string AlertJson(const std::string& status, const std::string& starts,
                      const std::string& fingerprint) {
  return R"({"status":")" + status +
         R"(","labels":{"alertname":"ShopSlow","severity":"page"},"annotations":{},"startsAt":")" +
         starts + R"(","endsAt":")" +
         (status == "firing" ? "0001-01-01T00:00:00Z" : "2026-11-22T17:00:00.5Z") +
         R"(","generatorURL":"","fingerprint":")" + fingerprint + "\"}";
}

TEST(AlertmanagerTest, ReadsNotices) {
  std::uint64_t truncated = 0;
  const auto notices =
      ParseAlertmanagerWebhook(Webhook(AlertJson("firing", "2026-11-22T16:41:01.25Z", "f1") + "," +
                                       AlertJson("resolved", "2026-11-22T18:41:01+02:00", "f2")),
                               kNow, &truncated);
  ASSERT_TRUE(notices.ok()) << notices.status();
  EXPECT_EQ(truncated, 3u);
  ASSERT_EQ(notices->size(), 2u);
  EXPECT_EQ((*notices)[1].receiver, "fire drill");
  const AlertNotice& firing = (*notices)[0];
  EXPECT_EQ(firing.alert, "ShopSlow");
  EXPECT_TRUE(firing.firing);
  EXPECT_EQ(firing.starts_at, SystemTime(milliseconds(1'795'365'661'250)));
  EXPECT_FALSE(firing.ends_at);
  EXPECT_EQ(firing.received_at, kNow);
  const AlertNotice& resolved = (*notices)[1];
  EXPECT_FALSE(resolved.firing);
  EXPECT_EQ(resolved.starts_at, SystemTime(milliseconds(1'795'365'661'000)));
  EXPECT_EQ(*resolved.ends_at, SystemTime(milliseconds(1'795'366'800'500)));
}

TEST(MatchingTest, AnAbsentLabelIsAnEmptyOne) {
  const std::map<std::string, std::string> labels = {{"severity", "page"}, {"zone", ""}};
  EXPECT_TRUE(Carries(labels, {}));
  EXPECT_TRUE(Carries(labels, {{"severity", "page"}}));
  EXPECT_TRUE(Carries(labels, {{"severity", "page"}, {"zone", ""}, {"team", ""}}));
  EXPECT_FALSE(Carries(labels, {{"severity", "info"}}));
  EXPECT_FALSE(Carries(labels, {{"severity", ""}}));
  EXPECT_FALSE(Carries(labels, {{"team", "a"}}));
}

TEST(AlertmanagerTest, RefusesTimesThatCannotBe) {
  const auto refusal = [](const std::string& starts) {
    const auto notices = ParseAlertmanagerWebhook(Webhook(AlertJson("firing", starts, "f")), kNow);
    return std::string(notices.status().message());
  };
  // It is 2027-01-15T08:00:00Z.
  EXPECT_EQ(refusal("2027-01-15T08:09:59Z"), "");
  EXPECT_THAT(refusal("2027-01-15T08:10:01Z"), HasSubstr("alerts[0].startsAt: is in the future"));
  for (const char* starts : {"0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2200-01-01T00:00:01Z",
                             "2500-01-01T00:00:00Z"}) {
    EXPECT_THAT(refusal(starts), HasSubstr("alerts[0].startsAt: must lie between 1970 and 2200"))
        << starts;
  }
}

TEST(AlertmanagerTest, TheSameAlertCountsOnceWithItsFirstArrival) {
  const std::string one = AlertJson("firing", "2026-11-22T16:41:01Z", "f1");
  const auto first = ParseAlertmanagerWebhook(Webhook(one + "," + one), kNow);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->size(), 1u);
  std::vector<AlertNotice> notices = *first;
  const auto again = ParseAlertmanagerWebhook(Webhook(one), kNow + milliseconds(5));
  EXPECT_EQ(AddNotices(*again, notices), 0u);
  EXPECT_EQ(notices[0].received_at, kNow);
  const auto anew =
      ParseAlertmanagerWebhook(Webhook(AlertJson("firing", "2026-11-22T16:51:01Z", "f1")), kNow);
  EXPECT_EQ(AddNotices(*anew, notices), 1u);
}

TEST(AlertmanagerTest, SaysWhatIsWrongAndWhere) {
  const auto message = [](const std::string& body) {
    const auto notices = ParseAlertmanagerWebhook(body, kNow);
    EXPECT_EQ(notices.status().code(), absl::StatusCode::kInvalidArgument) << body.substr(0, 100);
    return std::string(notices.status().message());
  };
  EXPECT_THAT(message(""), HasSubstr("body: must be a JSON object"));
  EXPECT_THAT(message("[]"), HasSubstr("body"));
  EXPECT_THAT(message("{}"), HasSubstr("version: is missing"));
  EXPECT_THAT(message(R"({"version":"5"})"), HasSubstr("version: must be \"4\""));
  EXPECT_THAT(message(R"({"version":"4"})"), HasSubstr("alerts: must be a list"));
  EXPECT_THAT(message(Webhook("1")), HasSubstr("alerts[0].: must be an object"));
  EXPECT_THAT(message(Webhook(AlertJson("firing", "2026-11-22T16:41:01Z", "f") + "," +
                              AlertJson("odd", "", ""))),
              HasSubstr("alerts[1].status: must be firing or resolved"));
  EXPECT_THAT(message(Webhook(AlertJson("firing", "yesterday", "f"))),
              HasSubstr("alerts[0].startsAt: must be a time"));
  EXPECT_THAT(message(Webhook(R"({"status":"firing","labels":{}})")),
              HasSubstr("alerts[0].labels.alertname: is missing"));
  EXPECT_THAT(message(Webhook(std::string(500, '[') + std::string(500, ']'))),
              HasSubstr("nested too deeply"));
  std::string many = AlertJson("firing", "2026-11-22T16:41:01Z", "f");
  for (int i = 0; i < 1000; ++i) many += ",1";
  EXPECT_THAT(message(Webhook(many)), HasSubstr("more than 1000"));
}

TEST(PrometheusAlertsTest, TellsSinceWhenEachIsActive) {
  const auto alerts = ParsePrometheusAlerts(
      R"({"status":"success","data":{"alerts":[{"labels":{"alertname":"Slow","severity":"page"},
          "annotations":{},"state":"firing","activeAt":"2027-01-15T08:00:03.427Z","value":"1e+00"}]}})");
  ASSERT_TRUE(alerts.ok()) << alerts.status();
  ASSERT_EQ(alerts->size(), 1u);
  EXPECT_EQ((*alerts)[0].labels.at("severity"), "page");
  EXPECT_EQ((*alerts)[0].active_at_ms, 1'800'000'003'427);
  EXPECT_FALSE(
      ParsePrometheusAlerts(R"({"status":"success","data":{"alerts":[{"labels":{}}]}})").ok());
  EXPECT_FALSE(ParsePrometheusAlerts(R"({"status":"success","data":{}})").ok());
}

}  // namespace
}  // namespace firedrill::controller
