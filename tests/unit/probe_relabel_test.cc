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
  return config.ok() ? *config->alert_path : AlertPath();
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
    {"WhatIsUnknownAndTakenAwayAgain",
     "  - {source_labels: [a], action: hashmod, modulus: 4, target_label: shard}\n"
     "  - {regex: shard, action: labeldrop}\n",
     {{"a", "foo"}},
     {{"a", "foo"}}},
    {"DropAfterWhatIsUnknown",
     "  - {source_labels: [a], action: uppercase, target_label: b}\n"
     "  - {source_labels: [c], regex: x, action: keep}\n",
     {{"a", "foo"}},
     kNothing},
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

TEST(SentAsTest, NothingIsDecidedByAValueThatIsNotKnown) {
  const std::string shard =
      "  - {source_labels: [a], action: hashmod, modulus: 4, target_label: shard}\n";
  const Labels labels = {{"a", "b"}, {"severity", "page"}};
  for (const char* step : {
           "{source_labels: [shard], regex: '1', action: keep}",
           "{source_labels: [a, shard], regex: 'b;1', action: drop}",
           "{source_labels: [shard], target_label: a, action: keepequal}",
           "{source_labels: [a], target_label: shard, action: dropequal}",
           "{source_labels: [shard], target_label: b}",
           "{source_labels: [a], regex: '(', action: keep}",
       }) {
    const SentAlert alert = SentAs(StepsOf(shard + "  - " + step + "\n"), labels);
    EXPECT_TRUE(alert.sent) << step;
    EXPECT_FALSE(alert.known) << step;
    EXPECT_EQ(alert.labels, labels) << step;
  }
  // Which label it makes is not known: it may be any.
  for (const char* step : {"{source_labels: [shard], target_label: 'x$1'}",
                           "{regex: '(', action: labeldrop}", "{action: later}"}) {
    const SentAlert alert = SentAs(StepsOf(shard + "  - " + step + "\n"), labels);
    EXPECT_TRUE(alert.sent && !alert.known && alert.labels.empty()) << step;
  }
}

TEST(SentAsTest, AnUnknownValueDoesNotSpoilCases) {
  const SentAlert alert =
      SentAs(StepsOf("  - {source_labels: [a], action: uppercase, target_label: x}\n"
                     "  - {source_labels: [b], action: uppercase, target_label: y}\n"),
             {{"a", "größe"}, {"b", "c"}});
  EXPECT_FALSE(alert.known);
  EXPECT_EQ(alert.labels.at("y"), "C");
}

// There a dot matches the end of a line since 3.0, and a target may have any name.
TEST(SentAsTest, WhatVersionsOfPrometheusDifferInIsNotKnown) {
  SentAlert alert =
      SentAs(StepsOf("  - {source_labels: [a], regex: x.y, action: keep}\n"), {{"a", "x\ny"}});
  EXPECT_TRUE(alert.sent && !alert.known);
  alert = SentAs(StepsOf("  - {source_labels: [a], target_label: '${1}', replacement: x}\n"),
                 {{"a", "b.c"}});
  EXPECT_FALSE(alert.known);
  EXPECT_EQ(alert.labels, (Labels{{"a", "b.c"}}));
  alert = SentAs(StepsOf("  - {source_labels: [a], target_label: b.c}\n"), {{"a", "x"}});
  EXPECT_TRUE(alert.known) << "only 3.0 takes such a step";
  EXPECT_EQ(alert.labels, (Labels{{"a", "x"}, {"b.c", "x"}}));
}

TEST(SentAsTest, OfAnAlertThatHasOtherLabelsTooNoStepDecides) {
  const AlertPath path = StepsOf(
      "  - {source_labels: [namespace], regex: shop, action: keep}\n"
      "  - {source_labels: [namespace], target_label: team}\n");
  EXPECT_FALSE(SentAs(path, {{"alertname", "Down"}}).sent);
  const SentAlert alert = SentAs(path, {{"alertname", "Down"}, {"team", "x"}}, /*complete=*/false);
  EXPECT_TRUE(alert.sent);
  EXPECT_FALSE(alert.known);
  EXPECT_EQ(alert.labels, (Labels{{"alertname", "Down"}}));
}

std::size_t BytesOf(const SentAlert& alert) {
  std::size_t bytes = 0;
  for (const auto& [name, value] : alert.labels) bytes += name.size() + value.size();
  return bytes;
}

TEST(SentAsTest, WhatDoublesWithEachStepIsBounded) {
  std::string values;
  std::string names;
  for (int i = 0; i < 40; ++i) {
    values += "  - {source_labels: [a], target_label: a, replacement: '$1$1'}\n";
    names += "  - {regex: '(.*)', replacement: 'x" + std::to_string(i) + "$1', action: labelmap}\n";
  }
  const Labels labels = {{"a", "bcd"}, {"b", "d"}};
  SentAlert alert = SentAs(StepsOf(values), labels);
  EXPECT_FALSE(alert.known);
  EXPECT_EQ(alert.labels, (Labels{{"b", "d"}}));
  alert = SentAs(StepsOf(names), labels);
  EXPECT_TRUE(alert.sent && !alert.known && alert.labels.empty());
  // Many labels that are not too long each.
  std::string many;
  for (int i = 0; i < 90; ++i) {
    many += "  - {source_labels: [a], target_label: l" + std::to_string(i) + "}\n";
  }
  alert = SentAs(StepsOf(many), {{"a", std::string(2000, 'x')}});
  EXPECT_FALSE(alert.known);
  EXPECT_LT(BytesOf(alert), 100'000u);
}

// A short text of YAML stands for one of any length.
TEST(SentAsTest, AliasesOfAConfigurationAreBounded) {
  const auto repeated = [](const std::string& text, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += text;
    return all;
  };
  AlertPath path = StepsOf("  - &a {regex: x, action: labeldrop}\n" + repeated("  - *a\n", 10'000));
  EXPECT_FALSE(path.known);
  EXPECT_LE(path.steps.size(), 100u);
  path = StepsOf("  - {source_labels: [" + repeated("a, ", 1000) + "a], target_label: b}\n");
  EXPECT_FALSE(path.known);
  EXPECT_TRUE(path.steps.empty());
  path = StepsOf("  - {source_labels: [a], target_label: b, replacement: &long '" +
                 std::string(100'000, 'x') + "'}\n" +
                 repeated("  - {source_labels: [a], target_label: b, replacement: *long}\n", 90));
  EXPECT_FALSE(path.known);
  EXPECT_LE(path.steps.size(), 3u);
  EXPECT_FALSE(SentAs(path, {{"a", "b"}}).known);
  path = PathOf("x: &long '" + std::string(100'000, 'x') + "'\nglobal:\n  external_labels:\n" +
                "    a: *long\n    b: *long\n    c: *long\n    d: e\n");
  EXPECT_FALSE(path.known);
  EXPECT_LE(path.external_labels.size(), 2u);
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
