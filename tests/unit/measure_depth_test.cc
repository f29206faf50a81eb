// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/measure_evidence.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

v1::Comparison Compare(v1::Operator operation, double value) {
  v1::Comparison comparison;
  comparison.set_operator_(operation);
  comparison.set_value(value);
  return comparison;
}

class DepthTest : public testing::Test {
 protected:
  DepthTest() : experiment_(OneIndicator()) {
    indicator().clear_degraded();
    evidence_.instants.first_impact = Instant{kImpact, milliseconds(5)};
    evidence_.instants.ended = Instant{At(10)};
    evidence_.final = true;
    evidence_.indicators.resize(1);
    known().interval = seconds(1);
  }

  v1::Indicator& indicator() { return *experiment_.mutable_steady_state(0); }
  IndicatorEvidence& known() { return evidence_.indicators[0]; }

  // One value a second, the first at `from`.
  v1::IndicatorResult Measure(double from, const std::vector<double>& values) {
    known().samples.clear();
    for (std::size_t i = 0; i < values.size(); ++i) {
      const SystemTime at = At(from + static_cast<double>(i));
      if (!std::isnan(values[i])) known().samples.push_back({at, values[i]});
      evidence_.now = at + seconds(1);
    }
    return MeasureRun(experiment_, evidence_).indicators.at(0);
  }

  static double Lost(const v1::IndicatorResult& result) {
    EXPECT_TRUE(result.has_lost()) << result.ShortDebugString();
    return Seconds(FromProto(result.lost()));
  }

  v1::Experiment experiment_;
  Evidence evidence_;
};

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

TEST_F(DepthTest, IsTheShareOfTheBaselineAndTheAreaBelowIt) {
  // 0.25 for 2 s and 0.5 for 3 s against a baseline of 1, from the sample at 0.5 s on.
  const auto result =
      Measure(-4.5, {1, 1, 1, 1, 1, 0.25, 0.25, 0.5, 0.5, 0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  EXPECT_DOUBLE_EQ(result.baseline(), 1);
  EXPECT_DOUBLE_EQ(result.lowest(), 0.25);
  EXPECT_DOUBLE_EQ(result.lowest_quality(), 0.25);
  EXPECT_NEAR(Lost(result), 2 * 0.75 + 3 * 0.5, 1e-9);
  EXPECT_DOUBLE_EQ(Length(result.time_to_breach()), 0.5);
  EXPECT_EQ(result.time_to_breach().to(), v1::MARK_KIND_SLO_BREACHED);
  EXPECT_EQ(result.outcome(), v1::RECOVERY_OUTCOME_SELF_RECOVERED);
  EXPECT_FALSE(result.has_budget_burned()) << "no objective was given";
}

TEST_F(DepthTest, BaselineIsTheMedianBeforeTheImpactCouldShow) {
  // The sample at -0.5 s may show the fault already: a scrape is stamped with its start.
  const auto result = Measure(-5.5, {2, 2.2, 1.9, 50, 2.1, 0.1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2});
  EXPECT_DOUBLE_EQ(result.baseline(), 2.1);
  EXPECT_DOUBLE_EQ(Measure(-4.5, {1, 3, 2, 4, 1, 1, 1, 1}).baseline(), 2.5);
}

TEST_F(DepthTest, NothingIsLostBeforeTheImpact) {
  // A slow scrape stamped 0.5 s before the impact shows the fault.
  const auto result =
      Measure(-5.5, {1, 1, 1, 1, 1, 0.5, 0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  EXPECT_NEAR(Lost(result), 0.5 * 0.5 + 0.5, 1e-9);
  EXPECT_DOUBLE_EQ(Length(result.time_to_breach()), 0);
}

TEST_F(DepthTest, WhereLessIsBetterItIsTheOtherWayRound) {
  *indicator().mutable_expect() = Compare(v1::OPERATOR_LESS_OR_EQUAL, 0.3);
  const auto result =
      Measure(-3.5, {0.2, 0.2, 0.2, 0.2, 0.8, 0.4, 0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2});
  EXPECT_DOUBLE_EQ(result.lowest(), 0.8);
  EXPECT_DOUBLE_EQ(result.lowest_quality(), 0.25);
  EXPECT_NEAR(Lost(result), 0.75 + 0.5, 1e-9) << "better than the baseline gives nothing back";
}

TEST_F(DepthTest, NothingIsSaidWithoutABaselineOrADirection) {
  auto result = Measure(0.5, {1, 0.5, 0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  EXPECT_FALSE(result.has_baseline());
  EXPECT_FALSE(result.has_lost());
  EXPECT_FALSE(result.has_lowest_quality());
  *indicator().mutable_expect() = Compare(v1::OPERATOR_EQUAL, 1);
  result = Measure(-3.5, {1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  EXPECT_DOUBLE_EQ(result.baseline(), 1);
  EXPECT_FALSE(result.has_lowest_quality()) << "neither more nor less is better";
  EXPECT_FALSE(result.has_lost());
  // An error rate of nothing has no share.
  *indicator().mutable_expect() = Compare(v1::OPERATOR_LESS, 0.01);
  result = Measure(-3.5, {0, 0, 0, 0, 0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_DOUBLE_EQ(result.baseline(), 0);
  EXPECT_FALSE(result.has_lowest_quality());
  EXPECT_FALSE(result.has_lost());
}

TEST_F(DepthTest, BudgetIsOfTheObjectivesPeriod) {
  indicator().mutable_objective()->set_percent(99.9);
  const std::vector<double> values = {1, 1, 1, 1, 0.4, 0.4, 0.4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const double bad = 3 * 0.6;
  EXPECT_NEAR(Measure(-3.5, values).budget_burned(), bad / (0.001 * 30 * 86400), 1e-12);
  *indicator().mutable_objective()->mutable_period() = ToProto(std::chrono::hours(1));
  EXPECT_NEAR(Measure(-3.5, values).budget_burned(), bad / 3.6, 1e-9);
}

TEST_F(DepthTest, BudgetCountsWhatIsNotFullThoughNothingBreached) {
  indicator().mutable_objective()->set_percent(99);
  *indicator().mutable_objective()->mutable_period() = ToProto(std::chrono::hours(1));
  const auto result = Measure(-3, std::vector<double>(20, 0.995));
  EXPECT_EQ(result.outcome(), v1::RECOVERY_OUTCOME_ABSORBED);
  EXPECT_NEAR(result.budget_burned(), 10 * 0.005 / 36, 1e-12) << "to the fault's end";
  EXPECT_NEAR(Lost(result), 0, 1e-9);
  EXPECT_FALSE(result.has_time_to_breach());
}

TEST_F(DepthTest, WhatNeverRecoveredIsCountedAsFarAsItWasSeen) {
  const auto result = Measure(-3, {1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_EQ(result.outcome(), v1::RECOVERY_OUTCOME_NOT_RECOVERED);
  EXPECT_NEAR(Lost(result), 11, 1e-9);
  EXPECT_DOUBLE_EQ(result.lowest_quality(), 0);
}

TEST_F(DepthTest, AGapLeavesTheAreaUnknown) {
  indicator().mutable_objective()->set_percent(99);
  auto result = Measure(-3.5, {1, 1, 1, 1, 0.5, kNone, kNone, kNone, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  EXPECT_FALSE(result.has_lost());
  EXPECT_FALSE(result.has_budget_burned());
  EXPECT_DOUBLE_EQ(result.lowest_quality(), 0.5) << "that much was seen";
  // Gone while broken, for good.
  result = Measure(-3.5, {1, 1, 1, 1, 0.5, 0.5, kNone, kNone, kNone, kNone, kNone, kNone, kNone,
                          kNone, kNone, kNone, kNone, kNone});
  EXPECT_EQ(result.outcome(), v1::RECOVERY_OUTCOME_UNKNOWN);
  EXPECT_THAT(result.explanation(), HasSubstr("vanished while it was broken"));
  EXPECT_FALSE(result.has_lost());
  // After recovery a gap hides nothing of the area.
  result = Measure(-3.5, {1, 1, 1, 1, 0.5, 1, 1, 1, 1, 1, kNone, kNone, kNone, kNone, 1, 1, 1, 1});
  EXPECT_NEAR(Lost(result), 0.5, 1e-9);
}

TEST_F(DepthTest, SaysHowLateAWindowShowsIt) {
  known().window = std::chrono::minutes(5);
  auto result = Measure(-3.5, {1, 1, 1, 1, 0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  EXPECT_THAT(result.explanation(), HasSubstr("looks back over 5m: breach and recovery show up to "
                                              "5m late, and shallower)"));
  result = Measure(-3.5, std::vector<double>(20, 1));
  EXPECT_THAT(result.explanation(), HasSubstr("what lasted for less may not show"));
  known().window = Nanoseconds(0);
  EXPECT_THAT(Measure(-3.5, std::vector<double>(20, 1)).explanation(), Not(HasSubstr("back")));
}

TEST_F(DepthTest, StricterRecoveryDoesNotFlapAboutOneThreshold) {
  const std::vector<double> hovers = {1,     1,     1,     1,     0.5,   0.985, 0.991, 0.992, 0.993,
                                      0.991, 0.996, 0.997, 0.998, 0.999, 0.991, 0.992, 0.991, 1};
  auto result = Measure(-3.5, hovers);
  EXPECT_DOUBLE_EQ(Length(result.time_to_recover()), 2.5);
  *indicator().mutable_recovered() = Compare(v1::OPERATOR_GREATER_OR_EQUAL, 0.995);
  result = Measure(-3.5, hovers);
  EXPECT_DOUBLE_EQ(Length(result.time_to_recover()), 6.5);
  EXPECT_EQ(result.outcome(), v1::RECOVERY_OUTCOME_SELF_RECOVERED)
      << "once recovered, what expect accepts is no relapse: " << result.explanation();
}

TEST_F(DepthTest, ADipBelowTheStricterThresholdBeginsTheHoldAnew) {
  *indicator().mutable_recovered() = Compare(v1::OPERATOR_GREATER_OR_EQUAL, 0.995);
  const auto result =
      Measure(-3.5, {1, 1, 1, 1, 0.5, 1, 1, 0.992, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  EXPECT_DOUBLE_EQ(Length(result.time_to_recover()), 4.5);
}

TEST_F(DepthTest, LenientRecoveryIsEnough) {
  *indicator().mutable_recovered() = Compare(v1::OPERATOR_GREATER_OR_EQUAL, 0.9);
  const std::vector<double> values = {1,    1,    1,    1,    0.5,  0.5,  0.95, 0.95, 0.95,
                                      0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95};
  auto result = Measure(-3.5, values);
  EXPECT_EQ(result.outcome(), v1::RECOVERY_OUTCOME_SELF_RECOVERED) << result.explanation();
  EXPECT_DOUBLE_EQ(Length(result.time_to_recover()), 2.5);
  std::vector<double> relapses = values;
  relapses[13] = 0.85;
  EXPECT_EQ(Measure(-3.5, relapses).outcome(), v1::RECOVERY_OUTCOME_RELAPSED);
  indicator().clear_recovered();
  EXPECT_EQ(Measure(-3.5, values).outcome(), v1::RECOVERY_OUTCOME_NOT_RECOVERED);
}

// Whatever was seen: shares stay shares, nothing is lost twice, and again gives the same.
TEST_F(DepthTest, StaysWithinItsBounds) {
  std::mt19937_64 random(3);
  const auto below = [&](double most) {
    return std::uniform_real_distribution<double>(0, most)(random);
  };
  for (int round = 0; round < 2000; ++round) {
    indicator().mutable_objective()->set_percent(50 + below(49.9));
    *indicator().mutable_expect() = Compare(
        below(1) < 0.5 ? v1::OPERATOR_GREATER_OR_EQUAL : v1::OPERATOR_LESS_OR_EQUAL, below(1));
    std::vector<double> values;
    for (int i = 0; i < 30; ++i) values.push_back(below(1) < 0.05 ? kNone : below(2) - 0.2);
    const double from = -below(6);
    const auto result = Measure(from, values);
    ASSERT_EQ(result.SerializeAsString(), Measure(from, values).SerializeAsString());
    const double watched = Seconds(evidence_.now - kImpact);
    if (result.has_lowest_quality()) {
      ASSERT_GE(result.lowest_quality(), 0);
      ASSERT_LE(result.lowest_quality(), 1);
    }
    if (result.has_lost()) {
      ASSERT_GE(Lost(result), 0);
      ASSERT_LE(Lost(result), watched * (1 - result.lowest_quality()) + 1e-6);
    }
    if (result.has_budget_burned()) {
      ASSERT_GE(result.budget_burned(), 0);
      const double budget = (1 - indicator().objective().percent() / 100) * 30 * 86400;
      ASSERT_LE(result.budget_burned(), watched / budget + 1e-9);
    }
  }
}

}  // namespace
}  // namespace firedrill::controller
