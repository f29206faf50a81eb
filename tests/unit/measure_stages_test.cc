// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cctype>
#include <random>

#include "controller/measure/stages.h"
#include "tests/unit/measure_evidence.h"

namespace firedrill::controller {
namespace {

Nanoseconds S(double seconds) { return Nanoseconds(std::llround(seconds * 1e9)); }

AlertRule Rule(double scrape, double evaluation, double pending_for, double window = 0) {
  AlertRule rule;
  rule.scrape_interval = S(scrape);
  rule.evaluation_interval = S(evaluation);
  rule.pending_for = S(pending_for);
  rule.window = S(window);
  return rule;
}

// Scrapes from `first` on at `interval` until `last`; the expression held from `from` on.
std::vector<RawSample> Truth(double first, double interval, double last, double from) {
  std::vector<RawSample> truth;
  for (double at = first; at <= last; at += interval)
    truth.push_back({At(at), at >= from ? 1. : 0.});
  return truth;
}

DetectionInstants Instants(double active, double firing) {
  DetectionInstants instants;
  instants.impact = {At(0)};
  instants.active = {At(active)};
  instants.firing = {At(firing)};
  return instants;
}

// "3s scrape, 4s evaluation"
std::string Words(const std::vector<v1::Stage>& stages) {
  std::string words;
  for (const v1::Stage& stage : stages) {
    std::string name = v1::StageKind_Name(stage.kind()).substr(11);
    for (char& c : name) c = static_cast<char>(std::tolower(c));
    words += (words.empty() ? "" : ", ") + FormatDuration(FromProto(stage.value())) + " " + name;
  }
  return words;
}

Nanoseconds Sum(const std::vector<v1::Stage>& stages) {
  Nanoseconds sum{0};
  for (const v1::Stage& stage : stages) sum += FromProto(stage.value());
  return sum;
}

const v1::Stage& Find(const std::vector<v1::Stage>& stages, v1::StageKind kind) {
  static const v1::Stage kNone;
  for (const v1::Stage& stage : stages) {
    if (stage.kind() == kind) return stage;
  }
  return kNone;
}

struct Case {
  const char* name;
  DetectionInstants instants;
  AlertEvidence evidence;
  const char* words;
};

AlertEvidence Known(AlertRule rule, std::vector<RawSample> truth) {
  AlertEvidence evidence;
  evidence.uncertainty = std::chrono::milliseconds(1);
  evidence.rule = std::move(rule);
  evidence.truth = std::move(truth);
  return evidence;
}

AlertEvidence Blind(AlertEvidence evidence, double from, double to) {
  evidence.blind.push_back({At(from), At(to)});
  return evidence;
}

AlertEvidence Routed(AlertEvidence evidence, double group_wait, double group_interval) {
  evidence.route.emplace();
  evidence.route->receiver = "page";
  evidence.route->delivers = true;
  evidence.route->group_wait = S(group_wait);
  evidence.route->group_interval = S(group_interval);
  return evidence;
}

DetectionInstants Notified(DetectionInstants instants, double at) {
  instants.notified = Instant{At(at)};
  return instants;
}

std::vector<Case> Cases() {
  // Scraped at -2, 3, 8, …: the first scrape after the impact shows it. Evaluated at 7, 12, …
  const AlertRule rule = Rule(5, 5, 12);
  const AlertEvidence ordinary = Known(rule, Truth(-22, 5, 40, 0));
  AlertRule offset = rule;
  offset.query_offset = S(30);
  AlertEvidence short_ago = Known(offset, Truth(-22, 5, 90, 0));
  short_ago.rule->pending_for = S(0);
  for (RawSample& sample : short_ago.truth)
    sample.value = sample.at < At(0) || sample.at > At(14) ? 0 : 1;
  AlertEvidence other_labels = ordinary;
  for (RawSample& sample : other_labels.truth) sample.value += 1;
  AlertEvidence slow_scrape = ordinary;
  for (RawSample& sample : slow_scrape.truth) sample.value = sample.at >= At(-2) ? 1 : 0;
  AlertEvidence flapped = Known(Rule(2, 5, 0), Truth(-21, 2, 40, 13));
  flapped.truth[11].value = 1;  // at 1 s, gone again at 3 s
  AlertEvidence no_interval = ordinary;
  no_interval.rule->scrape_interval.reset();
  AlertEvidence missed_scrapes = Blind(Known(Rule(5, 5, 0), {}), -2, 33);
  missed_scrapes.truth = {{At(-7), 0}, {At(-2), 0}, {At(33), 1}, {At(38), 1}};
  return {
      {"Ordinary", Instants(7, 22), ordinary, "3s scrape, 4s evaluation, 12s for, 3s rounding"},
      {"WithoutFor", Instants(7, 7), Known(Rule(5, 5, 0), Truth(-22, 5, 40, 0)),
       "3s scrape, 4s evaluation"},
      {"ForIsAMultiple", Instants(7, 17), Known(Rule(5, 5, 10), Truth(-22, 5, 40, 0)),
       "3s scrape, 4s evaluation, 10s for"},
      {"Condition", Instants(47, 62), Known(Rule(5, 5, 12, 60), Truth(-22, 5, 90, 43)),
       "3s scrape, 40s condition, 4s evaluation, 12s for, 3s rounding"},
      {"ASlowScrapeStampedBeforeTheImpactShowsIt", Instants(2, 17), slow_scrape,
       "2s evaluation, 12s for, 3s rounding"},
      {"OffsetEvaluatesThePast", Instants(37, 52), Known(offset, Truth(-22, 5, 90, 0)),
       "3s scrape, 34s evaluation, 12s for, 3s rounding"},
      {"OffsetReadsWhatIsOverAlready", Instants(37, 37), short_ago, "3s scrape, 34s evaluation"},
      {"OtherLabelsHeldBefore", Instants(7, 22), other_labels,
       "3s scrape, 4s evaluation, 12s for, 3s rounding"},
      {"HeldForOneScrapeThatWasNotEvaluated", Instants(17, 17), flapped,
       "1s scrape, 12s condition, 4s evaluation"},
      {"TrueBetweenTwoScrapes", Instants(7, 22), Known(rule, Truth(-22, 5, 40, 8)),
       "3s scrape, 4s condition, 12s for, 3s rounding"},
      {"NoRule", Instants(7, 22), AlertEvidence(), "7s condition, 15s for"},
      {"NoTruth", Instants(7, 22), Known(rule, {}), "7s condition, 12s for, 3s rounding"},
      {"NoScrapeInterval", Instants(7, 22), no_interval,
       "3s scrape, 4s evaluation, 12s for, 3s rounding"},
      {"PendingSamplesAreMissing", Instants(22, 22), ordinary,
       "3s scrape, 4s evaluation, 12s for, 3s rounding"},
      {"FiresSoonerThanTheRuleSaysNow", Instants(7, 13), ordinary,
       "3s scrape, 4s evaluation, 6s for"},
      {"ForBeganAnew", Instants(7, 42), Blind(ordinary, 13, 25),
       "3s scrape, 4s evaluation, 12s for, 3s rounding, 20s delay"},
      {"EvaluationsMissing", Instants(27, 42), ordinary,
       "3s scrape, 4s evaluation, 20s delay, 12s for, 3s rounding"},
      {"ScrapesMissing", Instants(37, 37), missed_scrapes, "3s scrape, 30s delay, 4s evaluation"},
      {"ClocksDisagreeByLess", Instants(6.995, 22.005), ordinary,
       "3s scrape, 4s evaluation, 12s for, 3.01s rounding"},
      {"Notified", Notified(Instants(7, 22), 32.5), Routed(ordinary, 10, 300),
       "3s scrape, 4s evaluation, 12s for, 3s rounding, 10s grouping, 500ms delivery"},
      {"NotifiedWithoutKnownRoute", Notified(Instants(7, 22), 32.5), ordinary,
       "3s scrape, 4s evaluation, 12s for, 3s rounding, 10.5s delivery"},
      {"NotifiedSoonerThanGroupWait", Notified(Instants(7, 22), 24), Routed(ordinary, 10, 300),
       "3s scrape, 4s evaluation, 12s for, 3s rounding, 2s grouping"},
      {"NotifiedBeforeFiringWithinTheClocks", Notified(Instants(7, 22), 21.999),
       Routed(ordinary, 10, 300), "3s scrape, 4s evaluation, 12s for, 3s rounding"},
      {"FiredAtTheImpact", Instants(-0.001, -0.001), ordinary, ""},
  };
}

class StagesTest : public testing::TestWithParam<Case> {};

TEST_P(StagesTest, AddUpAndAreNamed) {
  const DetectionInstants& instants = GetParam().instants;
  const std::vector<v1::Stage> stages = StagesOf(instants, GetParam().evidence);
  EXPECT_EQ(Words(stages), GetParam().words);
  SystemTime end = std::max(instants.firing.at, instants.impact.at);
  if (instants.notified) end = std::max(end, instants.notified->at);
  EXPECT_EQ(Sum(stages), end - instants.impact.at);
  for (const v1::Stage& stage : stages) EXPECT_NE(stage.explanation(), "");
}

INSTANTIATE_TEST_SUITE_P(All, StagesTest, testing::ValuesIn(Cases()),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(StagesTest, NamesTheConfigurationThatEachComesFrom) {
  const std::vector<v1::Stage> stages =
      StagesOf(Notified(Instants(47, 62), 80),
               Routed(Known(Rule(5, 5, 12, 60), Truth(-22, 5, 90, 43)), 10, 300));
  EXPECT_EQ(Find(stages, v1::STAGE_KIND_SCRAPE).setting(), "scrape_interval: 5s");
  EXPECT_EQ(Find(stages, v1::STAGE_KIND_CONDITION).setting(), "rate window: 1m");
  EXPECT_EQ(Find(stages, v1::STAGE_KIND_CONDITION).explanation(),
            "until a scrape made the rule's expression true: it looks back over 1m, so that a "
            "ratio passes a threshold θ only about 1m·θ/e after the share of errors became e");
  EXPECT_EQ(Find(stages, v1::STAGE_KIND_EVALUATION).setting(), "evaluation_interval: 5s");
  EXPECT_EQ(Find(stages, v1::STAGE_KIND_FOR).setting(), "for: 12s");
  EXPECT_EQ(Find(stages, v1::STAGE_KIND_ROUNDING).explanation(),
            "for: 12s is not a multiple of the evaluation interval, 5s");
  EXPECT_EQ(Find(stages, v1::STAGE_KIND_GROUPING).setting(), "group_wait: 10s");
  // 8 s over group_wait: what else it may have waited for is named.
  EXPECT_EQ(Find(stages, v1::STAGE_KIND_DELIVERY).setting(), "group_interval: 5m");
}

TEST(StagesTest, SaysWhatIsMissing) {
  const auto no_rule = StagesOf(Instants(7, 22), AlertEvidence());
  EXPECT_NE(no_rule.at(0).explanation().find("the rule could not be read"), std::string::npos);
  const auto no_truth = StagesOf(Instants(7, 22), Known(Rule(5, 5, 12), {}));
  EXPECT_NE(no_truth.at(0).explanation().find("not known which scrape"), std::string::npos);
  const auto blind =
      StagesOf(Instants(7, 42), Blind(Known(Rule(5, 5, 12), Truth(-22, 5, 60, 0)), 13, 25));
  EXPECT_EQ(blind.back().explanation(),
            "`for` began anew, or evaluations were missing; Prometheus saw nothing for 12s");
}

TEST(StagesTest, EachEndHasItsUncertainty) {
  DetectionInstants instants = Instants(7, 22);
  instants.impact.uncertainty = std::chrono::milliseconds(30);
  instants.firing.uncertainty = std::chrono::milliseconds(5);
  const auto stages = StagesOf(instants, Known(Rule(5, 5, 12), Truth(-22, 5, 40, 0)));
  EXPECT_EQ(FromProto(stages.front().uncertainty()), std::chrono::milliseconds(31))
      << "it begins at the impact";
  EXPECT_EQ(FromProto(stages.at(1).uncertainty()), std::chrono::milliseconds(1));
  EXPECT_EQ(FromProto(stages.back().uncertainty()), std::chrono::milliseconds(5));
  // Where pending was not seen it is known to an evaluation only.
  const auto missing = StagesOf(Instants(22, 22), Known(Rule(5, 5, 12), Truth(-22, 5, 40, 0)));
  EXPECT_EQ(FromProto(Find(missing, v1::STAGE_KIND_FOR).uncertainty()), S(5));
}

// The model by itself, in milliseconds as Prometheus keeps time: every stage, not only the sum.
TEST(StagesTest, AreTheModelsWhereTheModelHolds) {
  std::mt19937_64 random(4);
  const auto upto = [&](std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(0, most)(random);
  };
  for (int round = 0; round < 2000; ++round) {
    const std::int64_t scrape = 1000 + upto(60'000), evaluation = 1000 + upto(60'000);
    const std::int64_t pending = upto(2) == 0 ? 0 : upto(300'000);
    const std::int64_t scraped = 1 + upto(scrape - 2);  // the first scrape after the impact
    const std::int64_t scrapes = upto(5);               // that did not show it yet
    const std::int64_t shown = scraped + scrapes * scrape;
    const std::int64_t evaluated = shown + 1 + upto(evaluation - 1);
    const std::int64_t held = (pending + evaluation - 1) / evaluation * evaluation;
    const auto at = [](std::int64_t ms) { return kImpact + std::chrono::milliseconds(ms); };
    AlertEvidence evidence;
    evidence.rule.emplace();
    evidence.rule->scrape_interval = std::chrono::milliseconds(scrape);
    evidence.rule->evaluation_interval = std::chrono::milliseconds(evaluation);
    evidence.rule->pending_for = std::chrono::milliseconds(pending);
    for (std::int64_t ms = scraped - 3 * scrape; ms <= evaluated + held; ms += scrape) {
      evidence.truth.push_back({at(ms), ms >= shown ? 1. : 0.});
    }
    DetectionInstants instants;
    instants.impact = {kImpact};
    instants.active = {at(evaluated)};
    instants.firing = {at(evaluated + held)};
    const auto stages = StagesOf(instants, evidence);
    const auto ms = [&](v1::StageKind kind) {
      return FromProto(Find(stages, kind).value()) / std::chrono::milliseconds(1);
    };
    ASSERT_EQ(ms(v1::STAGE_KIND_SCRAPE), scraped)
        << Words(stages) << " of " << scrape << ", " << evaluation << ", " << evaluated;
    ASSERT_EQ(ms(v1::STAGE_KIND_CONDITION), shown - scraped)
        << Words(stages) << " of " << scrape << ", " << evaluation << ", " << evaluated;
    ASSERT_EQ(ms(v1::STAGE_KIND_EVALUATION), evaluated - shown) << round;
    ASSERT_EQ(ms(v1::STAGE_KIND_FOR), pending) << round;
    ASSERT_EQ(ms(v1::STAGE_KIND_ROUNDING), held - pending) << round;
    ASSERT_EQ(Sum(stages), instants.firing.at - kImpact);
  }
}

// Whatever the evidence says, also nonsense: exact to the nanosecond, in order, nothing negative.
TEST(StagesTest, AlwaysAddUpExactly) {
  std::mt19937_64 random(7);
  const auto near = [&](double from, double to) {
    return S(std::uniform_real_distribution<double>(from, to)(random));
  };
  const auto maybe = [&] { return std::bernoulli_distribution(0.5)(random); };
  for (int round = 0; round < 5000; ++round) {
    DetectionInstants instants;
    instants.impact = {kImpact + near(-5, 5)};
    instants.active = {kImpact + near(-20, 120)};
    instants.firing = {kImpact + near(-20, 300)};
    if (maybe()) instants.notified = Instant{kImpact + near(-20, 600)};
    AlertEvidence evidence;
    evidence.uncertainty = near(0, 0.1);
    if (maybe()) {
      evidence.rule.emplace();
      evidence.rule->evaluation_interval = maybe() ? near(0, 60) : S(0);
      evidence.rule->pending_for = maybe() ? near(0, 100) : S(0);
      evidence.rule->query_offset = maybe() ? near(0, 60) : S(0);
      if (maybe()) evidence.rule->scrape_interval = near(0, 60);
      if (maybe()) evidence.rule->window = near(0, 600);
    }
    if (maybe()) {
      SystemTime at = kImpact - near(0, 100);
      for (int i = 0; i < 20; ++i) {
        evidence.truth.push_back({at, maybe() ? 1. : 0.});
        at += near(0.001, 30);
      }
    }
    if (maybe()) {
      const SystemTime from = kImpact + near(-50, 100);
      evidence.blind.push_back({from, from + near(0, 100)});
    }
    if (maybe()) {
      evidence.route.emplace();
      evidence.route->group_wait = near(0, 60);
      evidence.route->group_interval = near(0, 300);
    }
    const auto stages = StagesOf(instants, evidence);
    const SystemTime firing = std::max(instants.firing.at, instants.impact.at);
    Nanoseconds detect{0}, all{0};
    int last = 0;
    for (const v1::Stage& stage : stages) {
      const Nanoseconds value = FromProto(stage.value());
      ASSERT_GT(value.count(), 0) << round;
      ASSERT_GE(FromProto(stage.uncertainty()).count(), 0) << round;
      ASSERT_NE(stage.explanation(), "") << round;
      all += value;
      if (stage.kind() < v1::STAGE_KIND_GROUPING) detect += value;
      if (stage.kind() == v1::STAGE_KIND_DELAY) continue;
      ASSERT_GT(stage.kind(), last) << round;
      last = stage.kind();
    }
    ASSERT_EQ(detect, firing - instants.impact.at) << round;
    const SystemTime notified = instants.notified ? instants.notified->at : firing;
    ASSERT_EQ(all, std::max(firing, notified) - instants.impact.at) << round;
  }
}

}  // namespace
}  // namespace firedrill::controller
