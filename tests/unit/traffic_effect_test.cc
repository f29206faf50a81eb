// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "agent/traffic/effect.h"
#include "agent/traffic/jitter_table.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

double Quantile(const std::vector<std::int32_t>& table, double share) {
  return static_cast<double>(table[static_cast<std::size_t>(share * FD_JITTER_STEPS)]) /
         FD_JITTER_ONE;
}

TEST(JitterTableTest, HasMeanNoughtAndDeviationOne) {
  for (const fd_distribution distribution : {FD_NORMAL, FD_PARETO}) {
    const auto table = JitterTable(distribution);
    ASSERT_EQ(table.size(), static_cast<std::size_t>(FD_JITTER_STEPS));
    EXPECT_TRUE(std::is_sorted(table.begin(), table.end()));
    double sum = 0, squares = 0;
    for (const double value : table) {
      sum += value / FD_JITTER_ONE;
      squares += value / FD_JITTER_ONE * value / FD_JITTER_ONE;
    }
    EXPECT_NEAR(sum / FD_JITTER_STEPS, 0, 1e-4);
    EXPECT_NEAR(squares / FD_JITTER_STEPS, 1, 1e-4);
  }
}

TEST(JitterTableTest, NormalQuantilesAreThoseOfTheBooks) {
  const auto table = JitterTable(FD_NORMAL);
  EXPECT_NEAR(Quantile(table, 0.5), 0, 0.002);
  EXPECT_NEAR(Quantile(table, 0.8413), 1, 0.005);
  EXPECT_NEAR(Quantile(table, 0.9772), 2, 0.01);
  EXPECT_NEAR(Quantile(table, 0.0013), -3, 0.05);
}

TEST(JitterTableTest, ParetoHasAFloorAndALongTail) {
  const auto table = JitterTable(FD_PARETO);
  EXPECT_NEAR(Quantile(table, 0), -0.61, 0.01);
  EXPECT_LT(Quantile(table, 0.5), -0.2);
  EXPECT_GT(Quantile(table, 0.999), 8);
  // What it is multiplied with has 36 bits.
  EXPECT_LT(table.back(), 1 << 27);
}

TEST(CheckEffectTest, LimitsAreAllowedAndBeyondThemNothing) {
  const TrafficEffect good[] = {
      LoseEffect{.share = 1},
      LoseEffect{.share = 1e-6},
      LoseEffect{.every = 1},
      LoseEffect{.every = 1'000'000, .exact = true},
      LoseEffect{.bursts = LoseEffect::Bursts{.enter = 1, .leave = 0}},
      CorruptEffect{.share = 1},
      DuplicateEffect{.share = 1e-6},
      ShapeEffect{.bits_per_second = 8000, .queue = seconds(60)},
      ShapeEffect{.bits_per_second = 100'000'000'000, .queue = milliseconds(1)},
      ReorderEffect{.share = 1, .delay = seconds(10)},
      DelayEffect{.delay = seconds(60), .jitter = seconds(60), .correlation = 0.999},
      CountEffect{},
  };
  for (const TrafficEffect& effect : good) EXPECT_TRUE(CheckEffect(effect).ok()) << effect.index();
  const TrafficEffect bad[] = {
      LoseEffect{},
      LoseEffect{.share = 1.001},
      LoseEffect{.share = std::nan("")},
      LoseEffect{.share = 1e-12},
      LoseEffect{.bursts = LoseEffect::Bursts{.enter = 0, .leave = 0.5}},
      LoseEffect{.bursts = LoseEffect::Bursts{.enter = 0.5, .leave = 1.5}},
      LoseEffect{.bursts = LoseEffect::Bursts{.enter = 0.5, .leave = 0.5, .lost_in_bad = 0}},
      CorruptEffect{},
      DuplicateEffect{.share = -0.1},
      ShapeEffect{.bits_per_second = 7999, .queue = seconds(1)},
      ShapeEffect{.bits_per_second = 8000, .queue = seconds(0)},
      ShapeEffect{.bits_per_second = 100'000'000'001, .queue = seconds(1)},
      ReorderEffect{.share = 0.1, .delay = seconds(0)},
      DelayEffect{},
      DelayEffect{.delay = seconds(61)},
      DelayEffect{.delay = seconds(1), .jitter = milliseconds(1), .correlation = 1},
  };
  for (const TrafficEffect& effect : bad) {
    EXPECT_EQ(CheckEffect(effect).code(), absl::StatusCode::kInvalidArgument) << effect.index();
  }
}

TEST(WriteEffectTest, CertaintyIsCertain) {
  fd_rule rule{};
  WriteEffect(LoseEffect{.share = 1}, rule);
  EXPECT_EQ(rule.chance, std::uint64_t{1} << 32) << "above every random number of 32 bits";
  WriteEffect(LoseEffect{.share = 0.5}, rule);
  EXPECT_EQ(rule.chance, std::uint64_t{1} << 31);
}

TEST(EffectTest, OnlySlowLimitsNeedPacketsOfTheWire) {
  EXPECT_TRUE(IsOnWire(ShapeEffect{.bits_per_second = 10'000'000}));
  EXPECT_FALSE(IsOnWire(ShapeEffect{.bits_per_second = 10'000'000'000}));
  EXPECT_TRUE(NeedsLines(ShapeEffect{.bits_per_second = 10'000'000'000}));
  EXPECT_FALSE(NeedsLines(LoseEffect{.share = 1}));
  EXPECT_TRUE(NeedsLines(LoseEffect{.share = 1, .exact = true}));
  EXPECT_FALSE(NeedsLines(DuplicateEffect{.share = 1}));
}

}  // namespace
}  // namespace firedrill::agent
