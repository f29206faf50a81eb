// SPDX-License-Identifier: Apache-2.0
// Alerts' labels on their way to Alertmanager. The cases of single steps are those of Prometheus'
// own model/relabel/relabel_test.go.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controller/probe/answer.h"
#include "controller/probe/relabel.h"

namespace firedrill::controller {
namespace {

using Labels = std::map<std::string, std::string>;

const Labels kNothing = {{"", "dropped"}};  // no alert has a label of no name

// The steps are read out of a configuration, as Prometheus tells it: it fills in defaults.
AlertPath PathOf(const std::string& yaml) {
  std::string escaped;
  for (const char c : yaml) {
    if (c == '\n') {
      escaped += "\\n";
    } else if (c == '"' || c == '\\') {
      escaped += std::string("\\") + c;
    } else {
      escaped += c;
    }
  }
  const auto config =
      ParsePrometheusConfig(R"({"status":"success","data":{"yaml":")" + escaped + "\"}}");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? config->alert_path : AlertPath();
}

AlertPath StepsOf(const std::string& steps) {
  return PathOf("alerting:\n  alert_relabel_configs:\n" + steps);
}

struct Case {
  const char* name;
  const char* steps;
  Labels in;
  Labels out;
};

class RelabelTest : public testing::TestWithParam<Case> {};

TEST_P(RelabelTest, DoesWhatPrometheusDoes) {
  const SentAlert alert = SentAs(StepsOf(GetParam().steps), GetParam().in);
  EXPECT_TRUE(alert.known);
  if (GetParam().out == kNothing) {
    EXPECT_FALSE(alert.sent);
  } else {
    EXPECT_TRUE(alert.sent);
    EXPECT_EQ(alert.labels, GetParam().out);
  }
}

const Case kCases[] = {
    {"Replace",
     "  - {source_labels: [a], regex: f(.*), target_label: d, separator: ;, replacement: "
     "'ch${1}-ch${1}'}\n",
     {{"a", "foo"}, {"b", "bar"}},
     {{"a", "foo"}, {"b", "bar"}, {"d", "choo-choo"}}},
    {"ReplaceOneAfterTheOther",
     "  - {source_labels: [a, b], regex: f(.*);(.*)r, target_label: a, replacement: "
     "'b${1}${2}m'}\n"
     "  - {source_labels: [c, a], regex: (b).*b(.*)ba(.*), target_label: d, replacement: "
     "'$1$2$2$3'}\n",
     {{"a", "foo"}, {"b", "bar"}, {"c", "baz"}},
     {{"a", "boobam"}, {"b", "bar"}, {"c", "baz"}, {"d", "boooom"}}},
    {"PatternsAreAnchored",
     "  - {source_labels: [a], regex: f, target_label: b, replacement: bar}\n",
     {{"a", "boo"}, {"b", "f"}},
     {{"a", "boo"}, {"b", "f"}}},
    {"NoValueIsNoLabel",
     "  - {source_labels: [a], regex: (f).*, target_label: a, replacement: '$2'}\n",
     {{"a", "foo"}, {"b", "bar"}},
     {{"b", "bar"}}},
    {"TargetsOfThePattern",
     "  - {source_labels: [a], regex: 'some-([^-]+)-([^,]+)', target_label: '${1}', replacement: "
     "'${2}'}\n",
     {{"a", "some-name-value"}},
     {{"a", "some-name-value"}, {"name", "value"}}},
    {"TargetThatIsNoName",
     "  - {source_labels: [a], regex: 'some-([^-]+)-([^,]+)', target_label: '${3}', replacement: "
     "'${1}'}\n",
     {{"a", "some-name-0"}},
     {{"a", "some-name-0"}}},
    {"GroupsByNameAndPlainDollars",
     "  - {source_labels: [a], regex: '(?P<first>f)(.*)', target_label: b, replacement: "
     "'$first$$1$1x-${2}$'}\n",
     {{"a", "foo"}},
     {{"a", "foo"}, {"b", "f$1-oo$"}}},
    {"DefaultsOfReplace",
     "  - {source_labels: [a], target_label: b}\n",
     {{"a", "foo"}},
     {{"a", "foo"}, {"b", "foo"}}},
    {"Drop", "  - {source_labels: [a], regex: .*o.*, action: Drop}\n", {{"a", "foo"}}, kNothing},
    {"DropWithoutMatch",
     "  - {source_labels: [a], regex: .*b.*, action: drop}\n",
     {{"a", "foo"}},
     {{"a", "foo"}}},
    {"Keep",
     "  - {source_labels: [a], regex: f.*, action: keep}\n",
     {{"a", "foo"}},
     {{"a", "foo"}}},
    {"KeepWithoutMatch",
     "  - {source_labels: [a], regex: .*b.*, action: keep}\n",
     {{"a", "foo"}},
     kNothing},
    {"KeepEqual",
     "  - {source_labels: [__tmp_port], action: keepequal, target_label: __port1}\n",
     {{"__tmp_port", "1234"}, {"__port1", "1234"}},
     {{"__tmp_port", "1234"}, {"__port1", "1234"}}},
    {"DropEqual",
     "  - {source_labels: [__tmp_port], action: dropequal, target_label: __port1}\n",
     {{"__tmp_port", "1234"}, {"__port1", "1234"}},
     kNothing},
    {"LabelMap",
     "  - {regex: (b.*), replacement: 'bar_${1}', action: labelmap}\n",
     {{"a", "foo"}, {"b1", "bar"}, {"b2", "baz"}},
     {{"a", "foo"}, {"b1", "bar"}, {"b2", "baz"}, {"bar_b1", "bar"}, {"bar_b2", "baz"}}},
    {"LabelDrop",
     "  - {regex: (b.*), action: labeldrop}\n",
     {{"a", "foo"}, {"b1", "bar"}, {"b2", "baz"}, {"ab", "x"}},
     {{"a", "foo"}, {"ab", "x"}}},
    {"LabelKeep",
     "  - {regex: a|alertname, action: labelkeep}\n",
     {{"alertname", "Down"}, {"a", "foo"}, {"b1", "bar"}},
     {{"alertname", "Down"}, {"a", "foo"}}},
    {"Cases",
     "  - {source_labels: [foo], action: uppercase, target_label: up}\n"
     "  - {source_labels: [foo], action: lowercase, target_label: low}\n",
     {{"foo", "bAr123Foo"}},
     {{"foo", "bAr123Foo"}, {"up", "BAR123FOO"}, {"low", "bar123foo"}}},
};

INSTANTIATE_TEST_SUITE_P(Steps, RelabelTest, testing::ValuesIn(kCases),
                         [](const auto& test) { return test.param.name; });

// A pair of Prometheus servers, whose alerts are to be one alert to Alertmanager.
constexpr char kPair[] = R"(global:
  scrape_interval: 15s
  external_labels:
    replica: b
    region: eu
    severity: none
alerting:
  alert_relabel_configs:
  - separator: ;
    regex: replica|pod
    replacement: $1
    action: labeldrop
  - source_labels: [severity]
    separator: ;
    regex: page
    target_label: severity
    replacement: critical
    action: replace
  alertmanagers:
  - scheme: http
    static_configs:
    - targets:
      - 127.0.0.1:9093
)";

TEST(SentAsTest, ExternalLabelsComeFirstAndOverwriteNothing) {
  const SentAlert alert =
      SentAs(PathOf(kPair), {{"alertname", "Down"}, {"severity", "page"}, {"pod", "web-1"}});
  EXPECT_TRUE(alert.sent && alert.known);
  EXPECT_EQ(alert.labels,
            (Labels{{"alertname", "Down"}, {"severity", "critical"}, {"region", "eu"}}));
}

TEST(SentAsTest, WhatIsNotFollowedIsSaidAndLeftOut) {
  SentAlert alert = SentAs(
      StepsOf("  - {source_labels: [a], action: hashmod, modulus: 4, target_label: shard}\n"),
      {{"a", "b"}, {"shard", "?"}});
  EXPECT_FALSE(alert.known);
  EXPECT_TRUE(alert.sent);
  EXPECT_EQ(alert.labels, (Labels{{"a", "b"}}));
  alert = SentAs(StepsOf("  - {source_labels: [a], regex: '(', target_label: b}\n"), {{"a", "b"}});
  EXPECT_FALSE(alert.known);
  alert = SentAs(StepsOf("  - {source_labels: [a], action: uppercase, target_label: b}\n"),
                 {{"a", "größe"}});
  EXPECT_FALSE(alert.known);
  EXPECT_EQ(alert.labels.count("b"), 0u);
}

// Since Prometheus 2.51.
TEST(SentAsTest, StepsOfTheOnlyAlertmanagerAreFollowedAndOfOneOfSeveralAreNot) {
  const std::string one =
      "  - {alert_relabel_configs: [{regex: b, action: labeldrop}], static_configs: []}\n";
  const AlertPath only = PathOf("alerting:\n  alertmanagers:\n" + one);
  EXPECT_EQ(SentAs(only, {{"a", "1"}, {"b", "2"}}).labels, (Labels{{"a", "1"}}));
  EXPECT_TRUE(only.known);
  const AlertPath several =
      PathOf("alerting:\n  alertmanagers:\n" + one + "  - static_configs: []\n");
  EXPECT_FALSE(SentAs(several, {{"a", "1"}}).known);
}

}  // namespace
}  // namespace firedrill::controller
