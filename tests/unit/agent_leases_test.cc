// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "agent/supervisor/leases.h"

namespace firedrill::agent {
namespace {

using std::chrono::seconds;

TEST(LeasesTest, RunsOutUnlessRenewed) {
  const SteadyTime start(std::chrono::hours(1));
  Leases leases(seconds(15), seconds(60));
  leases.Grant("a", std::nullopt, start);
  leases.Grant("b", seconds(5), start);
  EXPECT_EQ(leases.Next(), start + seconds(5));
  EXPECT_TRUE(leases.Renew("b", seconds(10), start + seconds(4)));
  EXPECT_TRUE(leases.TakeDue(start + seconds(13)).empty());
  const auto due = leases.TakeDue(start + seconds(14));
  ASSERT_EQ(due.size(), 1u);
  EXPECT_EQ(due[0].id, "b");
  EXPECT_EQ(due[0].reason, v1::END_REASON_LEASE);
  EXPECT_EQ(leases.run_out(), 1u);
  EXPECT_FALSE(leases.Renew("b", seconds(10), start + seconds(14)));
}

TEST(LeasesTest, CutsALeaseToTheOwnersCapAndNeverShortensOne) {
  const SteadyTime start(std::chrono::hours(1));
  Leases leases(seconds(15), seconds(60));
  leases.Grant("a", std::chrono::hours(5), start);
  EXPECT_EQ(leases.Next(), start + seconds(60));
  leases.Renew("a", seconds(1), start);
  EXPECT_EQ(leases.Next(), start + seconds(60));
}

TEST(LeasesTest, DurationEndsWhateverIsRenewed) {
  const SteadyTime start(std::chrono::hours(1));
  Leases leases(seconds(15), seconds(60));
  leases.Grant("a", seconds(30), start);
  leases.EndAt("a", start + seconds(20));
  leases.Renew("a", seconds(30), start + seconds(19));
  const auto due = leases.TakeDue(start + seconds(20));
  ASSERT_EQ(due.size(), 1u);
  EXPECT_EQ(due[0].reason, v1::END_REASON_DURATION);
  EXPECT_EQ(leases.run_out(), 0u);
}

}  // namespace
}  // namespace firedrill::agent
