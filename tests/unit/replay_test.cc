// SPDX-License-Identifier: Apache-2.0
#include "controller/replay/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

const SystemTime kImpact{seconds(1'800'000'000)};

v1::AlertRule Rule(int interval, int pending_for, int keep = 0) {
  v1::AlertRule rule;
  rule.set_expression("shop_ok == 0");
  *rule.mutable_evaluation_interval() = ToProto(seconds(interval));
  *rule.mutable_pending_for() = ToProto(seconds(pending_for));
  if (keep > 0) *rule.mutable_keep_firing_for() = ToProto(seconds(keep));
  return rule;
}

// A past of one series that was evaluated every `step` seconds, as a row of '#' where it held.
RulePast Past(const std::string& held, int step) {
  RulePast past;
  past.from_ms = 0;
  past.step_ms = step * 1000;
  past.to_ms = static_cast<std::int64_t>(held.size() - 1) * past.step_ms;
  std::vector<PrometheusPoint> points;
  for (std::size_t i = 0; i < held.size(); ++i) {
    if (held[i] == '#') points.push_back({static_cast<std::int64_t>(i) * past.step_ms, 0});
  }
  past.Add("", points, 0);
  return past;
}

TEST(PagesTest, OneForEachStretchThatLastsUntilTheEvaluationAtWhichItFires) {
  //                           1   2    3     5
  const RulePast past = Past("..#...##..###...#####..", 15);
  const v1::AlertRule rule = Rule(15, 60);
  EXPECT_EQ(PagesOf(past, rule, seconds(0)), 4U);
  EXPECT_EQ(PagesOf(past, rule, seconds(1)), 3U);   // rounded up to one interval
  EXPECT_EQ(PagesOf(past, rule, seconds(15)), 3U);  // reached, not passed
  EXPECT_EQ(PagesOf(past, rule, seconds(16)), 2U);
  EXPECT_EQ(PagesOf(past, rule, seconds(30)), 2U);
  EXPECT_EQ(PagesOf(past, rule, seconds(60)), 1U);
  EXPECT_EQ(PagesOf(past, rule, seconds(61)), 0U);
}

TEST(PagesTest, WhatHeldBeforeThePastBeganIsNotCounted) {
  EXPECT_EQ(PagesOf(Past("###..##", 15), Rule(15, 0), seconds(0)), 1U);
}

TEST(PagesTest, OneThatIsKeptFiringGoesOn) {
  const RulePast past = Past("..###...##..", 10);
  EXPECT_EQ(PagesOf(past, Rule(10, 0), seconds(0)), 2U);
  // False from 50 s on: kept until 70 s with 20 s, until 80 s with 30 s; true again at 80 s.
  EXPECT_EQ(PagesOf(past, Rule(10, 0, 20), seconds(0)), 2U);
  EXPECT_EQ(PagesOf(past, Rule(10, 0, 30), seconds(0)), 1U);
  // Only what fired is kept: the first fires with 20 s, the second alone would not.
  EXPECT_EQ(PagesOf(past, Rule(10, 20, 20), seconds(20)), 1U);
  EXPECT_EQ(PagesOf(Past("..##...##..", 10), Rule(10, 20, 60), seconds(20)), 0U);
}

TEST(PagesTest, EverySeriesPagesByItself) {
  RulePast past = Past(".##..", 15);
  past.Add("host=\"b\"", {{30'000, 1}, {45'000, 1}}, 0);
  EXPECT_EQ(PagesOf(past, Rule(15, 15), seconds(15)), 2U);
}

TEST(PastTest, AStretchGoesOnInTheNextAnswer) {
  RulePast past;
  past.step_ms = 1000;
  past.Add("", {{1000, 1}, {2000, 1}}, 500);
  past.Add("", {{3000, 1}, {5000, 1}}, 500);
  const std::vector<Stretch>& stretches = past.series.at("");
  ASSERT_EQ(stretches.size(), 2U);
  EXPECT_EQ(stretches[0].first_ms, 1500);
  EXPECT_EQ(stretches[0].last_ms, 3500);
  EXPECT_EQ(stretches[1].first_ms, 5500);
}

// A run with one alert (E = 10 s, for = 40 s) that was true from 7 s after the impact, at each of
// the evaluations `held`, and fired at 47 s.
class ReplayTest : public testing::Test {
 protected:
  ReplayTest() {
    run_.set_id("run1");
    v1::Detection& detection = *run_.mutable_experiment()->add_detection();
    detection.set_alert("ShopDown");
    v1::Mark& impact = *run_.add_marks();
    impact.set_kind(v1::MARK_KIND_FIRST_IMPACT);
    *impact.mutable_at() = ToProto(kImpact);
    v1::AlertResult& result = *run_.add_alerts();
    result.set_outcome(v1::DETECTION_OUTCOME_DETECTED);
    *result.mutable_time_to_detect()->mutable_value() = ToProto(seconds(47));
    v1::AlertEvidence& evidence = *run_.mutable_evidence()->add_alerts();
    *evidence.mutable_rule() = Rule(10, 40);
    *evidence.mutable_clock_offset() = ToProto(seconds(2));
  }

  void Sample(const std::string& host, bool firing, int after, double value = 1) {
    const std::string name = host + (firing ? ".firing" : ".pending");
    v1::AlertEvidence& evidence = *run_.mutable_evidence()->mutable_alerts(0);
    v1::Series* series = nullptr;
    for (v1::Series& known : *run_.mutable_series()) {
      if (known.name() == name) series = &known;
    }
    if (series == nullptr) {
      series = run_.add_series();
      series->set_name(name);
      v1::AlertSeries& told = *evidence.add_series();
      (*told.mutable_labels())["host"] = host;
      told.set_firing(firing);
      told.set_series(name);
    }
    v1::Sample& sample = *series->add_samples();
    *sample.mutable_at() = ToProto(kImpact + seconds(after));
    sample.set_value(value);
  }

  void Detected() {
    for (int at = 7; at <= 37; at += 10) Sample("a", false, at);
    for (int at = 47; at <= 97; at += 10) Sample("a", true, at);
  }

  ReplayPlan Plan(const v1::ReplayRuleRequest& request = {}) {
    const absl::StatusOr<ReplayPlan> plan = PlanReplay(run_, request);
    EXPECT_TRUE(plan.ok()) << plan.status();
    return plan.ok() ? *plan : ReplayPlan();
  }
  std::optional<Nanoseconds> With(int pending_for) {
    return TimeToDetectWith(run_, Plan(), seconds(pending_for));
  }

  v1::Run run_;
};

TEST_F(ReplayTest, PlansShorterWaitsThatEndAtAnotherEvaluation) {
  Detected();
  const ReplayPlan plan = Plan();
  EXPECT_THAT(plan.candidates, ElementsAre(seconds(0), seconds(10), seconds(20)));
  EXPECT_EQ(plan.question.look_back, hours(7 * 24));
  EXPECT_EQ(plan.question.expression, "shop_ok == 0");
  // On Prometheus' clock, which is two seconds behind ours.
  ASSERT_TRUE(plan.question.evaluated_at_ms);
  EXPECT_EQ(((*plan.question.evaluated_at_ms - 1'800'000'005'000) % 10'000), 0);
  *run_.mutable_evidence()->mutable_alerts(0)->mutable_rule() = Rule(30, 30);
  EXPECT_THAT(Plan().candidates, ElementsAre(seconds(0)));  // a quarter and a half are the same
  *run_.mutable_evidence()->mutable_alerts(0)->mutable_rule() = Rule(30, 0);
  EXPECT_THAT(Plan().candidates, testing::IsEmpty());
}

TEST_F(ReplayTest, TellsWhenTheRunsAlertWouldHaveFired) {
  Detected();
  EXPECT_EQ(With(0), seconds(7));
  EXPECT_EQ(With(1), seconds(17));
  EXPECT_EQ(With(40), seconds(47));  // as it did
  EXPECT_EQ(With(90), seconds(97));
  EXPECT_EQ(With(91), std::nullopt);  // no longer true then
}

// Samples are stamped so much before the evaluation.
TEST_F(ReplayTest, AQueryOffsetIsAddedToTheStamps) {
  Detected();
  v1::AlertEvidence& evidence = *run_.mutable_evidence()->mutable_alerts(0);
  *evidence.mutable_rule()->mutable_query_offset() = ToProto(seconds(3));
  EXPECT_EQ(With(0), seconds(10));
  EXPECT_EQ(With(40), seconds(50));
  // What is asked of the past begins with an evaluation, too.
  EXPECT_EQ(((*Plan().question.evaluated_at_ms - 1'800'000'008'000) % 10'000), 0);
}

// Two answers, whose clocks were aligned a little apart.
TEST_F(ReplayTest, InstantsAreTheSameWithinTheirUncertainty) {
  for (int at = 7; at <= 87; at += 10) Sample("a", false, at);
  *run_.mutable_evidence()->mutable_alerts(0)->mutable_uncertainty() =
      ToProto(std::chrono::milliseconds(5));
  v1::Sample& fourth = *run_.mutable_series(0)->mutable_samples(4);
  *fourth.mutable_at() = ToProto(FromProto(fourth.at()) - std::chrono::milliseconds(25));
  EXPECT_EQ(With(40), seconds(47) - std::chrono::milliseconds(25));
}

TEST_F(ReplayTest, AMissedAlertMayHaveFiredWithAShorterWait) {
  for (int at = 7; at <= 27; at += 10) Sample("a", false, at);
  run_.mutable_alerts(0)->set_outcome(v1::DETECTION_OUTCOME_MISSED);
  run_.mutable_alerts(0)->mutable_time_to_detect()->set_censored(true);
  EXPECT_EQ(With(20), seconds(27));
  EXPECT_EQ(With(30), std::nullopt);
  const v1::ReplayRuleResponse response = Replay(run_, Plan(), Past("....", 10));
  ASSERT_EQ(response.replayed_size(), 4);
  EXPECT_FALSE(response.replayed(0).has_time_to_detect());
  EXPECT_EQ(FromProto(response.replayed(3).time_to_detect()), seconds(27));
  EXPECT_FALSE(response.replayed(3).has_gain());
}

TEST_F(ReplayTest, AFalseEvaluationBeginsTheWaitAnew) {
  for (const int at : {7, 17, 27, 37, 47, 57}) Sample("a", false, at, at == 27 ? 0 : 1);
  EXPECT_EQ(With(0), seconds(7));
  EXPECT_EQ(With(10), seconds(17));
  EXPECT_EQ(With(20), seconds(57));
}

TEST_F(ReplayTest, AnEvaluationThatDidNotTakePlaceDoesNot) {
  for (const int at : {7, 17, 37, 47, 57}) Sample("a", false, at);
  EXPECT_EQ(With(10), seconds(17));
  EXPECT_EQ(With(20), seconds(37));
  EXPECT_EQ(With(30), seconds(37));
}

TEST_F(ReplayTest, SeveralEvaluationsWithoutASampleBeginTheWaitAnew) {
  for (const int at : {7, 17, 47, 57, 67}) Sample("a", false, at);
  EXPECT_EQ(With(20), seconds(67));
  // Unless nothing was evaluated.
  v1::TimeSpan& blind = *run_.mutable_evidence()->add_blind();
  *blind.mutable_from() = ToProto(kImpact + seconds(20));
  *blind.mutable_to() = ToProto(kImpact + seconds(40));
  EXPECT_EQ(With(20), seconds(47));
}

TEST_F(ReplayTest, WhatWasPendingBeforeTheImpactSaysNothing) {
  for (int at = -13; at <= 87; at += 10) Sample("a", false, at);
  EXPECT_EQ(With(0), std::nullopt);
  Sample("b", false, 27);
  EXPECT_EQ(With(0), seconds(27));
}

// Kept firing for 30 s: it was true until 67 s only.
TEST_F(ReplayTest, WhatIsKeptFiringIsNotTrueAnyMore) {
  Detected();
  *run_.mutable_evidence()->mutable_alerts(0)->mutable_rule() = Rule(10, 40, 30);
  EXPECT_EQ(With(60), seconds(67));
  EXPECT_EQ(With(61), std::nullopt);
}

TEST_F(ReplayTest, WithoutSamplesTheMarksTell) {
  v1::Mark& pending = *run_.add_marks();
  pending.set_kind(v1::MARK_KIND_ALERT_PENDING);
  pending.set_subject("ShopDown");
  *pending.mutable_at() = ToProto(kImpact + seconds(7));
  EXPECT_EQ(With(20), seconds(27));
  EXPECT_EQ(With(50), std::nullopt);  // how long it was true is not in them
  EXPECT_FALSE(Plan().question.evaluated_at_ms);
}

TEST_F(ReplayTest, AnswersGainsAndPagesAndWhatIsDoubtful) {
  Detected();
  v1::ReplayRuleRequest request;
  for (const int pending_for : {20, 20, 40, 5}) {
    *request.add_pending_for() = ToProto(seconds(pending_for));
  }
  RulePast past = Past("..#####...##....###....#", 10);
  past.clock_offset = seconds(2);
  past.clipped = true;
  past.holes.push_back({100'000, 400'000});
  const v1::ReplayRuleResponse response = Replay(run_, Plan(request), past);
  EXPECT_EQ(response.alert(), "ShopDown");
  ASSERT_EQ(response.replayed_size(), 3);  // what it is, and the two others, each once
  EXPECT_EQ(FromProto(response.replayed(0).pending_for()), seconds(40));
  EXPECT_EQ(FromProto(response.replayed(0).time_to_detect()), seconds(47));
  EXPECT_EQ(FromProto(response.replayed(0).gain()), seconds(0));
  EXPECT_EQ(response.replayed(0).pages(), 1U);
  EXPECT_EQ(FromProto(response.replayed(1).gain()), seconds(20));
  EXPECT_EQ(response.replayed(1).pages(), 2U);
  EXPECT_EQ(FromProto(response.replayed(2).gain()), seconds(30));
  EXPECT_EQ(response.replayed(2).pages(), 3U);
  EXPECT_EQ(FromProto(response.from()), SystemTime(seconds(2)));
  EXPECT_THAT(response.caveats(), ElementsAre(HasSubstr("stores 3m50s only; 168h were asked for"),
                                              HasSubstr("nothing for 5m in all (1 hole)")));
}

TEST_F(ReplayTest, RefusesWhatItCannotReplay) {
  v1::ReplayRuleRequest request;
  request.set_alert("ShopDow");
  EXPECT_THAT(PlanReplay(run_, request).status().ToString(), HasSubstr("did you mean ShopDown?"));
  request.set_alert("ShopDown");
  *request.mutable_look_back() = ToProto(hours(32 * 24));
  EXPECT_EQ(PlanReplay(run_, request).status().code(), absl::StatusCode::kInvalidArgument);
  request.clear_look_back();
  *request.add_pending_for() = ToProto(seconds(-1));
  EXPECT_EQ(PlanReplay(run_, request).status().code(), absl::StatusCode::kInvalidArgument);
  run_.mutable_evidence()->mutable_alerts(0)->clear_rule();
  EXPECT_THAT(PlanReplay(run_, {}).status().ToString(), HasSubstr("does not hold the rule"));
  run_.mutable_experiment()->mutable_detection(0)->set_expect(v1::EXPECTATION_SILENT);
  EXPECT_THAT(PlanReplay(run_, {}).status().ToString(), HasSubstr("name one: ShopDown"));
}

TEST_F(ReplayTest, NoAlertOfARunWithoutAFaultWasExpectedToFire) {
  Detected();
  run_.mutable_experiment()->add_method()->mutable_fault()->mutable_none();
  EXPECT_THAT(PlanReplay(run_, {}).status().ToString(), HasSubstr("name one: ShopDown"));
  v1::ReplayRuleRequest request;
  request.set_alert("ShopDown");
  EXPECT_TRUE(PlanReplay(run_, request).ok()) << "what it would have cost can be asked still";
}

}  // namespace
}  // namespace firedrill::controller
