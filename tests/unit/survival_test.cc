// SPDX-License-Identifier: Apache-2.0
// The constants are what R 4.2.2 with the package survival 3.5-3 answers to
//   survfit(Surv(time, event) ~ 1, conf.type = "log-log")  and  quantile() of it.
#include "controller/statistics/survival.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr double kPi = 3.14159265358979323846;

struct Row {
  int at;
  int at_risk;
  double remaining, low, high;
};

std::vector<Observation> Data(const std::vector<int>& times, const std::vector<int>& events) {
  std::vector<Observation> data;
  for (std::size_t i = 0; i < times.size(); ++i) {
    data.push_back({seconds(times[i]), events.empty() ? false : events[i] == 0});
  }
  return data;
}

void ExpectCurve(const v1::Survival& survival, const std::vector<Row>& rows) {
  ASSERT_EQ(survival.curve_size(), static_cast<int>(rows.size()));
  for (int i = 0; i < survival.curve_size(); ++i) {
    const v1::Survival::Step& step = survival.curve(i);
    const Row& row = rows[static_cast<std::size_t>(i)];
    EXPECT_EQ(FromProto(step.at()), seconds(row.at));
    EXPECT_EQ(step.at_risk(), static_cast<std::uint32_t>(row.at_risk)) << row.at;
    EXPECT_NEAR(step.remaining(), row.remaining, 1e-9) << row.at;
    EXPECT_NEAR(step.low(), row.low, 1e-9) << row.at;
    EXPECT_NEAR(step.high(), row.high, 1e-9) << row.at;
  }
}

// In seconds; below zero: absent.
void ExpectQuantile(const v1::Quantile& quantile, double probability, double value, double low,
                    double high) {
  const auto told = [](bool has, const google::protobuf::Duration& duration) {
    return has ? Seconds(FromProto(duration)) : -1;
  };
  EXPECT_EQ(quantile.probability(), probability);
  EXPECT_EQ(told(quantile.has_value(), quantile.value()), value) << probability;
  EXPECT_EQ(told(quantile.has_low(), quantile.low()), low) << probability;
  EXPECT_EQ(told(quantile.has_high(), quantile.high()), high) << probability;
}

// Freireich et al. 1963, weeks of remission under 6-mercaptopurine.
TEST(SurvivalTest, GivesTheTextbooksCurveWhereSomeAreCensored) {
  const v1::Survival survival =
      Estimate(Data({6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35},
                    {1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0}));
  ExpectCurve(survival, {{6, 21, 0.8571428571429, 0.6197179553, 0.9515517476},
                         {7, 17, 0.8067226890756, 0.5631465646, 0.9228090192},
                         {10, 15, 0.7529411764706, 0.5031995108, 0.8893618352},
                         {13, 12, 0.6901960784314, 0.4316102225, 0.8490659633},
                         {16, 11, 0.6274509803922, 0.3675108560, 0.8049121895},
                         {22, 7, 0.5378151260504, 0.2677789368, 0.7467907176},
                         {23, 6, 0.4481792717087, 0.1880520060, 0.6801426285}});
  ExpectQuantile(survival.quantiles(0), 0.5, 23, 13, -1);
  ExpectQuantile(survival.quantiles(1), 0.9, -1, -1, -1);
  EXPECT_EQ(survival.runs(), 21U);
  EXPECT_EQ(survival.events(), 9U);
  EXPECT_EQ(survival.censored(), 12U);
}

// The other arm of the same study: nobody is censored, many times are the same, nothing remains.
TEST(SurvivalTest, GivesTheTextbooksCurveWithTies) {
  const v1::Survival survival =
      Estimate(Data({1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23}, {}));
  ExpectCurve(survival, {{1, 21, 0.9047619047619, 0.670045882235, 0.9752941490},
                         {2, 19, 0.8095238095238, 0.568905059924, 0.9238888286},
                         {3, 17, 0.7619047619048, 0.519391415328, 0.8932571098},
                         {4, 16, 0.6666666666667, 0.425350435565, 0.8250440088},
                         {5, 14, 0.5714285714286, 0.337976953859, 0.7492407099},
                         {8, 12, 0.3809523809524, 0.183066548820, 0.5777886777},
                         {11, 8, 0.2857142857143, 0.116561326437, 0.4818196480},
                         {12, 6, 0.1904761904762, 0.059481701361, 0.3774348906},
                         {15, 4, 0.1428571428571, 0.035657355191, 0.3211615747},
                         {17, 3, 0.0952380952381, 0.016259260212, 0.2612499820},
                         {22, 2, 0.0476190476190, 0.003324463043, 0.1970449057},
                         {23, 1, 0, 0, 0.1970449057}});
  ExpectQuantile(survival.quantiles(0), 0.5, 8, 4, 11);
  ExpectQuantile(survival.quantiles(1), 0.9, 17, 12, -1);
}

// Miller 1997: R's `aml`, the maintained arm; unsorted, with a longest time that is censored.
TEST(SurvivalTest, TakesObservationsInAnyOrder) {
  const v1::Survival survival = Estimate(
      Data({161, 13, 48, 18, 13, 28, 31, 34, 45, 9, 23}, {0, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1}));
  ExpectCurve(survival, {{9, 11, 0.9090909090909, 0.50808020577, 0.9866738227},
                         {13, 10, 0.8181818181818, 0.44742861468, 0.9511622286},
                         {18, 8, 0.7159090909091, 0.35019038591, 0.8990239742},
                         {23, 7, 0.6136363636364, 0.26575204000, 0.8352992433},
                         {31, 5, 0.4909090909091, 0.16733090978, 0.7533997904},
                         {34, 4, 0.3681818181818, 0.09282957494, 0.6570408324},
                         {48, 2, 0.1840909090909, 0.01173848012, 0.5250148427}});
  ExpectQuantile(survival.quantiles(0), 0.5, 31, 13, -1);
  ExpectQuantile(survival.quantiles(1), 0.9, -1, 34, -1);
}

TEST(SurvivalTest, TheMedianOfAnEvenNumberLiesBetweenTheMiddleTwo) {
  const v1::Survival survival = Estimate(Data({1, 2, 3, 4}, {}));
  ExpectQuantile(survival.quantiles(0), 0.5, 2.5, 1, -1);
  ExpectQuantile(survival.quantiles(1), 0.9, 4, 2, -1);
}

TEST(SurvivalTest, ACensoringAtTheInstantOfAnEventIsAfterIt) {
  const v1::Survival survival = Estimate(Data({5, 5}, {0, 1}));
  ASSERT_EQ(survival.curve_size(), 1);
  EXPECT_EQ(survival.curve(0).at_risk(), 2U);
  EXPECT_DOUBLE_EQ(survival.curve(0).remaining(), 0.5);
}

TEST(SurvivalTest, ClaimsNothingOfRunsThatDoNotSay) {
  const v1::Survival none = Estimate({}, 3);
  EXPECT_EQ(none.runs(), 0U);
  EXPECT_EQ(none.aborted(), 3U);
  EXPECT_EQ(none.rate_low(), 0);
  EXPECT_EQ(none.rate_high(), 1);
  EXPECT_EQ(none.curve_size(), 0);
  ExpectQuantile(none.quantiles(0), 0.5, -1, -1, -1);

  const v1::Survival censored = Estimate(Data({3, 4}, {0, 0}));
  EXPECT_EQ(censored.censored(), 2U);
  EXPECT_EQ(censored.curve_size(), 0);
  ExpectQuantile(censored.quantiles(0), 0.5, -1, -1, -1);

  for (const std::vector<int>& times : {std::vector<int>{3}, std::vector<int>{3, 3, 3}}) {
    const v1::Survival same = Estimate(Data(times, {}));
    ExpectQuantile(same.quantiles(0), 0.5, 3, -1, -1);
    ASSERT_EQ(same.curve_size(), 1);
    EXPECT_EQ(same.curve(0).low(), 0);
    EXPECT_EQ(same.curve(0).high(), 1);
  }
}

// Brown, Cai and DasGupta 2001 recommend it for small numbers; 9 of 12 by Wilson's formula:
// (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n).
TEST(SurvivalTest, TheRateHasWilsonsInterval) {
  const v1::Survival survival =
      Estimate(Data({1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0}));
  EXPECT_DOUBLE_EQ(survival.rate(), 0.75);
  EXPECT_NEAR(survival.rate_low(), 0.467694665, 1e-8);
  EXPECT_NEAR(survival.rate_high(), 0.911058332, 1e-8);
  const v1::Survival all = Estimate(Data({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {}));
  EXPECT_NEAR(all.rate_low(), 0.722467200, 1e-8);  // n / (n + z²)
  EXPECT_NEAR(all.rate_high(), 1, 1e-12);
}

class Lognormal {
 public:
  // Box and Muller; the library's own distribution may differ from one to the next.
  double Next(double median, double sigma) {
    const double u = (static_cast<double>(random_() >> 11U) + 0.5) / 9007199254740992.0;
    const double v = static_cast<double>(random_() >> 11U) / 9007199254740992.0;
    return median * std::exp(sigma * std::sqrt(-2 * std::log(u)) * std::cos(2 * kPi * v));
  }

 private:
  std::mt19937_64 random_{20261122};
};

// Thirty runs watched for two minutes, of a time to detect with a median of one: the mean of the
// runs that were detected is half of the true mean, the estimated median is right.
TEST(SurvivalTest, IsRightWhereTheMeanOfTheDetectedIsHalf) {
  constexpr int kStudies = 1000;
  constexpr double kMedian = 60, kSigma = 1, kWatched = 120;
  const double true_mean = kMedian * std::exp(kSigma * kSigma / 2);
  Lognormal times;
  double naive = 0, covered = 0;
  std::vector<double> medians;  // the watch's length where more than half were not detected
  for (int study = 0; study < kStudies; ++study) {
    std::vector<Observation> runs;
    double sum = 0, detected = 0;
    for (int run = 0; run < 30; ++run) {
      const double time = times.Next(kMedian, kSigma);
      const bool censored = time > kWatched;
      if (!censored) sum += time, ++detected;
      runs.push_back({Nanoseconds(std::llround(std::min(time, kWatched) * 1e9)), censored});
    }
    const v1::Quantile quantile = Estimate(std::move(runs)).quantiles(0);
    medians.push_back(quantile.has_value() ? Seconds(FromProto(quantile.value())) : kWatched);
    naive += sum / detected / kStudies;
    const bool above = quantile.has_low() && Seconds(FromProto(quantile.low())) <= kMedian;
    const bool below = !quantile.has_high() || Seconds(FromProto(quantile.high())) >= kMedian;
    covered += above && below ? 1.0 / kStudies : 0;
  }
  std::nth_element(medians.begin(), medians.begin() + kStudies / 2, medians.end());
  EXPECT_NEAR(medians[kStudies / 2], kMedian, 0.06 * kMedian);
  EXPECT_NEAR(naive, true_mean / 2, 0.05 * true_mean);
  EXPECT_GT(covered, 0.93);
  EXPECT_LT(covered, 0.985);
}

TEST(SurvivalTest, TheCurveFallsAndStaysBetweenItsBounds) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 500; ++round) {
    std::vector<Observation> runs;
    const std::size_t count = 1 + random() % 40;
    for (std::size_t i = 0; i < count; ++i) {
      runs.push_back({milliseconds(random() % 50), random() % 3 == 0});
    }
    const v1::Survival survival = Estimate(runs);
    ASSERT_EQ(survival.events() + survival.censored(), count);
    double remaining = 1;
    Nanoseconds at(-1);
    for (const v1::Survival::Step& step : survival.curve()) {
      ASSERT_LT(at, FromProto(step.at()));
      ASSERT_LT(step.remaining(), remaining);
      ASSERT_GE(step.remaining(), 0);
      ASSERT_GE(step.low(), 0);
      ASSERT_LE(step.low(), step.remaining());
      ASSERT_GE(step.high(), step.remaining());
      ASSERT_LE(step.high(), 1);
      remaining = step.remaining();
      at = FromProto(step.at());
    }
    for (const v1::Quantile& quantile : survival.quantiles()) {
      if (!quantile.has_value()) continue;
      if (quantile.has_low()) {
        ASSERT_LE(FromProto(quantile.low()), FromProto(quantile.value()));
      }
      if (quantile.has_high()) {
        ASSERT_GE(FromProto(quantile.high()), FromProto(quantile.value()));
      }
    }
    ASSERT_LE(survival.rate_low(), survival.rate());
    ASSERT_GE(survival.rate_high(), survival.rate());
  }
}

}  // namespace
}  // namespace firedrill::controller
