// SPDX-License-Identifier: Apache-2.0
// Where Alertmanager sends an alert, read from its own configuration.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "controller/probe/route.h"

namespace firedrill::controller {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

using Labels = std::map<std::string, std::string>;

// As Alertmanager 0.25 tells a configuration.
constexpr char kTold[] = R"(global:
  resolve_timeout: 5m
  slack_api_url: <secret>
route:
  receiver: default
  group_by:
  - alertname
  continue: false
  routes:
  - receiver: pager
    group_by:
    - '...'
    match:
      severity: page
    continue: true
    group_wait: 10s
  - receiver: chat
    match_re:
      severity: pa.*|x
    continue: false
    routes:
    - matchers:
      - team="a, \"b\""
      - host!~"db-.*"
      group_interval: 1m
      continue: false
  - receiver: nobody
    matchers:
    - severity="ticket"
    continue: false
  - matchers:
    - team!=""
    group_wait: 1s
receivers:
- name: default
  webhook_configs:
  - send_resolved: true
    url: http://127.0.0.1:1/x
- name: pager
  pagerduty_configs:
  - routing_key: <secret>
- name: chat
  slack_configs:
  - channel: '#alerts'
- name: nobody
templates: []
)";

std::string Status(const std::string& yaml) {
  return nlohmann::json{{"cluster", {{"status", "disabled"}}}, {"config", {{"original", yaml}}}}
      .dump();
}

std::vector<AlertRoute> RoutesOf(const std::string& yaml, const Labels& labels) {
  const auto routes = ParseAlertmanagerStatus(Status(yaml));
  EXPECT_TRUE(routes.ok()) << routes.status();
  return routes.ok() ? routes->For(labels) : std::vector<AlertRoute>();
}

std::vector<std::string> Receivers(const std::string& yaml, const Labels& labels) {
  std::vector<std::string> names;
  for (const AlertRoute& route : RoutesOf(yaml, labels)) names.push_back(route.receiver);
  return names;
}

TEST(AlertRoutesTest, WalksTheTreeAsAlertmanagerDoes) {
  EXPECT_THAT(Receivers(kTold, {}), ElementsAre("default"));
  EXPECT_THAT(Receivers(kTold, {{"severity", "page"}}), ElementsAre("pager", "chat"));
  EXPECT_THAT(Receivers(kTold, {{"severity", "pa"}}), ElementsAre("chat"));
  EXPECT_THAT(Receivers(kTold, {{"severity", "xx"}}), ElementsAre("default"))
      << "patterns are of the whole value";
  EXPECT_THAT(Receivers(kTold, {{"severity", "ticket"}}), ElementsAre("nobody"));
  EXPECT_THAT(Receivers(kTold, {{"team", "z"}}), ElementsAre("default"));
}

TEST(AlertRoutesTest, InheritsTimesAndReceivers) {
  const auto plain = RoutesOf(kTold, {});
  EXPECT_EQ(plain[0].group_wait, seconds(30)) << "Alertmanager's default";
  EXPECT_EQ(plain[0].group_interval, minutes(5));
  EXPECT_THAT(plain[0].group_by, ElementsAre("alertname"));
  EXPECT_TRUE(plain[0].delivers);
  const auto page = RoutesOf(kTold, {{"severity", "page"}});
  EXPECT_EQ(page[0].group_wait, seconds(10));
  EXPECT_THAT(page[0].group_by, ElementsAre("..."));
  EXPECT_EQ(page[1].group_wait, seconds(30));
  const auto nested = RoutesOf(kTold, {{"severity", "x"}, {"team", "a, \"b\""}, {"host", "web-1"}});
  ASSERT_EQ(nested.size(), 1u);
  EXPECT_EQ(nested[0].receiver, "chat");
  EXPECT_EQ(nested[0].group_interval, minutes(1));
  EXPECT_EQ(RoutesOf(kTold, {{"severity", "x"}, {"team", "a, \"b\""}, {"host", "db-1"}})[0]
                .group_interval,
            minutes(5));
  EXPECT_FALSE(RoutesOf(kTold, {{"severity", "ticket"}})[0].delivers);
}

TEST(AlertRoutesTest, ReadsMatchersInEveryForm) {
  const auto matches = [](const std::string& matcher, const Labels& labels) {
    const nlohmann::json quoted = matcher;  // a JSON text is YAML
    return Receivers("route:\n  receiver: a\n  routes:\n  - receiver: b\n    matchers:\n    - " +
                         quoted.dump() + "\n",
                     labels) == std::vector<std::string>{"b"};
  };
  EXPECT_TRUE(matches("a=b", {{"a", "b"}}));
  EXPECT_TRUE(matches(" a = b ", {{"a", "b"}}));
  EXPECT_TRUE(matches("{a=\"b\",c!=d,}", {{"a", "b"}}));
  EXPECT_FALSE(matches("{a=\"b\",c!=d}", {{"a", "b"}, {"c", "d"}}));
  EXPECT_TRUE(matches("a=~\"b|c\"", {{"a", "c"}}));
  EXPECT_TRUE(matches("a=~b|c", {{"a", "c"}}));
  EXPECT_TRUE(matches("a=~\"x{1,2}\"", {{"a", "xx"}}));
  EXPECT_TRUE(matches("a!~\"b.*\"", {{"a", "c"}}));
  EXPECT_TRUE(matches("a!~\"b.*\"", {}));
  EXPECT_TRUE(matches("a=\"\"", {})) << "a label that is not there is empty";
  EXPECT_TRUE(matches("a=\"l1\\nl2\\\\\"", {{"a", "l1\nl2\\"}}));
  EXPECT_TRUE(matches("a=~\"\\\\d+\"", {{"a", "12"}})) << "an escaped backslash";
  EXPECT_TRUE(matches("\"my label\"=\"ü\"", {{"my label", "ü"}}));
  EXPECT_FALSE(matches("a=~b.c", {{"a", "bxc\n"}}));
}

TEST(AlertRoutesTest, SaysNothingOfATreeItDoesNotUnderstand) {
  for (const std::string& yaml :
       std::vector<std::string>{"", "[]", "a: [b", "route: x", "receivers: []",
                                "route: {receiver: a, routes: [{matchers: ['nonsense']}]}",
                                "route: {receiver: a, routes: [{matchers: ['a=~\"(\"']}]}",
                                "route: {receiver: a, routes: [{matchers: ['a=\"b']}]}",
                                "route: {receiver: a, routes: [5]}"}) {
    const auto routes = ParseAlertmanagerStatus(Status(yaml));
    EXPECT_EQ(routes.status().code(), absl::StatusCode::kDataLoss) << yaml;
  }
  for (const char* body : {"", "{}", "[]", R"({"config":{"original":5}})"}) {
    EXPECT_FALSE(ParseAlertmanagerStatus(body).ok()) << body;
  }
  std::string deep = "route: {receiver: a";
  for (int i = 0; i < 60; ++i) deep += ", routes: [{continue: true";
  for (int i = 0; i < 60; ++i) deep += "}]";
  EXPECT_FALSE(ParseAlertmanagerStatus(Status(deep + "}")).ok());
}

TEST(AlertmanagersTest, AreReadFromPrometheus) {
  const auto urls = ParseAlertmanagers(
      R"({"status":"success","data":{"activeAlertmanagers":[
          {"url":"http://127.0.0.1:39998/am/api/v2/alerts"},{"url":"https://a:9093/api/v2/alerts"},
          {"url":"nonsense"},5],"droppedAlertmanagers":[]}})");
  ASSERT_TRUE(urls.ok()) << urls.status();
  EXPECT_THAT(*urls, ElementsAre("http://127.0.0.1:39998/am", "https://a:9093"));
  EXPECT_THAT(*ParseAlertmanagers(R"({"data":{"activeAlertmanagers":[]}})"), IsEmpty());
  EXPECT_FALSE(ParseAlertmanagers("{}").ok());
}

TEST(SentLabelsTest, AreWhatPrometheusSends) {
  PrometheusRule rule;
  rule.name = "Down";
  rule.labels = {{"severity", "page"}, {"host", "{{ $labels.instance }}"}};
  AlertPath path;
  path.external_labels = {{"region", "eu"}, {"replica", "1"}, {"severity", "none"}};
  path.steps.resize(1);
  path.steps[0].action = "labeldrop";
  path.steps[0].regex = "repl.*";
  path.steps[0] = Compiled(path.steps[0]);
  EXPECT_EQ(
      SentLabels(rule, {"Down", {{"host", "web-1"}}}, nullptr, path).labels,
      (Labels{{"alertname", "Down"}, {"severity", "page"}, {"host", "web-1"}, {"region", "eu"}}));
  AlertSeries firing;
  firing.firing = true;
  firing.labels = {{"alertname", "Down"}, {"severity", "page"}, {"instance", "i"}};
  EXPECT_EQ(SentLabels(rule, {"Down", {}}, &firing, path).labels.at("instance"), "i");
}

// The advice that nobody is told would be untrue.
TEST(SentLabelsTest, WithoutASeriesNothingIsKnownToBeDropped) {
  PrometheusRule rule;
  rule.name = "Down";
  rule.labels = {{"team", "{{ $labels.team }}"}};
  AlertSeries firing;
  firing.firing = true;
  firing.labels = {{"alertname", "Down"}, {"team", "shop"}};
  for (const char* action : {"keep", "drop", "keepequal", "dropequal"}) {
    AlertPath path;
    RelabelStep& step = path.steps.emplace_back();
    step.action = action;
    step.source_labels = {"team"};
    step.target_label = "owner";
    step.regex = step.action == "keep" ? "shop" : "";
    step = Compiled(step);
    const SentAlert before = SentLabels(rule, {"Down", {}}, nullptr, path);
    EXPECT_TRUE(before.sent) << action;
    EXPECT_FALSE(before.known) << action;
    const SentAlert after = SentLabels(rule, {"Down", {}}, &firing, path);
    EXPECT_EQ(after.sent, step.action != "keepequal") << action;
    EXPECT_TRUE(after.known) << action;
  }
}

}  // namespace
}  // namespace firedrill::controller
