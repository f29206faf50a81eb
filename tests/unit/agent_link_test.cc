// SPDX-License-Identifier: Apache-2.0
// What the agent's link is made of: waiting, clocks, addresses, and the queue before a stream.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "agent/link/backoff.h"
#include "agent/link/clock_offset.h"
#include "agent/link/endpoints.h"
#include "proto/support/outbound_queue.h"

namespace firedrill::agent {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(BackoffTest, DoublesToAMostWithJitterAndBeginsAnew) {
  Backoff backoff(7);
  Nanoseconds ceiling = milliseconds(250);
  for (int i = 0; i < 10; ++i) {
    const Nanoseconds wait = backoff.Next();
    EXPECT_GE(wait, ceiling / 2);
    EXPECT_LE(wait, ceiling);
    ceiling = std::min<Nanoseconds>(2 * ceiling, seconds(8));
  }
  backoff.Reset();
  EXPECT_LE(backoff.Next(), milliseconds(250));
}

TEST(BackoffTest, TwoAgentsDoNotComeBackTogether) {
  Backoff one(1), other(2);
  EXPECT_NE(one.Next(), other.Next());
}

class ClockOffsetTest : public testing::Test {
 protected:
  // The controller is `ahead`; the way there takes `there`, the way back `back`.
  void Exchange(Nanoseconds ahead, Nanoseconds there, Nanoseconds back) {
    const SystemTime t1 = now_, t2 = t1 + there + ahead, t3 = t2 + microseconds(50);
    const SystemTime t4 = t3 - ahead + back;
    offset_.Add(t1, t2, t3, t4);
    now_ = t4 + seconds(1);
  }
  SystemTime now_{seconds(1'800'000'000)};
  ClockOffset offset_;
};

TEST_F(ClockOffsetTest, UnknownBeforeTheFirstExchange) { EXPECT_FALSE(offset_.Best(now_)); }

TEST_F(ClockOffsetTest, IsExactOnASymmetricWay) {
  Exchange(milliseconds(500), milliseconds(2), milliseconds(2));
  EXPECT_EQ(offset_.Best(now_)->offset, milliseconds(500));
  EXPECT_GE(offset_.Best(now_)->uncertainty, milliseconds(2));
  EXPECT_LT(offset_.Best(now_)->uncertainty, milliseconds(3));
}

TEST_F(ClockOffsetTest, TheTruthLiesWithinTheUncertaintyOnALopsidedWay) {
  Exchange(milliseconds(-300), milliseconds(20), milliseconds(1));
  const auto best = *offset_.Best(now_);
  EXPECT_LE(std::chrono::abs(best.offset - milliseconds(-300)), best.uncertainty);
}

TEST_F(ClockOffsetTest, TheShortestRoundTripOfLateCounts) {
  Exchange(milliseconds(100), milliseconds(40), milliseconds(2));
  Exchange(milliseconds(100), microseconds(200), microseconds(200));
  Exchange(milliseconds(100), milliseconds(2), milliseconds(70));
  EXPECT_EQ(offset_.Best(now_)->offset, milliseconds(100));
  EXPECT_LT(offset_.Best(now_)->uncertainty, milliseconds(1));
}

TEST_F(ClockOffsetTest, BeginsAnewAfterAStep) {
  Exchange(milliseconds(0), microseconds(100), microseconds(100));
  Exchange(seconds(60), milliseconds(5), milliseconds(5));
  EXPECT_EQ(offset_.Best(now_)->offset, seconds(60));
}

TEST_F(ClockOffsetTest, OldExchangesGrowLessSure) {
  Exchange(milliseconds(0), microseconds(100), microseconds(100));
  const auto fresh = *offset_.Best(now_);
  const auto old = *offset_.Best(now_ + seconds(1000));
  EXPECT_GE(old.uncertainty, fresh.uncertainty + milliseconds(49));
}

TEST_F(ClockOffsetTest, LeavesOutWhatCannotBe) {
  offset_.Add(now_, now_, now_ - seconds(1), now_ + milliseconds(1));
  offset_.Add(now_, now_, now_, now_ - milliseconds(1));
  EXPECT_FALSE(offset_.Best(now_));
}

TEST(EndpointsTest, ReadsWhatGrpcCallsAPeer) {
  const auto v4 = ParsePeer("ipv4:192.0.2.1:7443");
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->address, "192.0.2.1");
  EXPECT_EQ(v4->port, 7443);
  const auto v6 = ParsePeer("ipv6:%5B2001:db8::1%5D:7443");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->address, "2001:db8::1");
  EXPECT_FALSE(ParsePeer("unix:/run/socket"));
  EXPECT_FALSE(ParsePeer(""));
}

TEST(EndpointsTest, ResolvesNumericAddresses) {
  const auto v6 = Resolve("[::1]:7443");
  ASSERT_EQ(v6.size(), 1u);
  EXPECT_EQ(v6[0].address, "::1");
  EXPECT_EQ(v6[0].port, 7443);
}

class OutboundQueueTest : public testing::Test {
 protected:
  std::vector<int> written_;
  OutboundQueue<int> queue_{2, [this](const int* message) { written_.push_back(*message); }};
};

TEST_F(OutboundQueueTest, StartsOneWriteAtATimeInOrder) {
  EXPECT_TRUE(queue_.Push(1));
  EXPECT_TRUE(queue_.Push(2));
  EXPECT_TRUE(queue_.Push(3));
  EXPECT_THAT(written_, testing::ElementsAre(1));
  queue_.OnWriteDone(true);
  queue_.OnWriteDone(true);
  queue_.OnWriteDone(true);
  EXPECT_THAT(written_, testing::ElementsAre(1, 2, 3));
}

TEST_F(OutboundQueueTest, RefusesWhatAPeerIsTooSlowFor) {
  EXPECT_TRUE(queue_.Push(1));
  EXPECT_TRUE(queue_.Push(2));
  EXPECT_TRUE(queue_.Push(3));
  EXPECT_FALSE(queue_.Push(4));
  EXPECT_EQ(queue_.size(), 2u);
}

TEST_F(OutboundQueueTest, WritesNothingAfterTheStreamBroke) {
  EXPECT_TRUE(queue_.Push(1));
  EXPECT_TRUE(queue_.Push(2));
  queue_.OnWriteDone(false);
  EXPECT_FALSE(queue_.Push(3));
  EXPECT_THAT(written_, testing::ElementsAre(1));
}

TEST_F(OutboundQueueTest, DrainsBeforeItCloses) {
  bool drained = false;
  EXPECT_TRUE(queue_.Push(1));
  EXPECT_TRUE(queue_.Push(2));
  queue_.Drain([&] { drained = true; });
  EXPECT_FALSE(queue_.Push(3));
  queue_.OnWriteDone(true);
  EXPECT_FALSE(drained);
  queue_.OnWriteDone(true);
  EXPECT_TRUE(drained);
  EXPECT_THAT(written_, testing::ElementsAre(1, 2));
}

TEST_F(OutboundQueueTest, WhoClosesWaitsForADrainUnderWayAndLaterOnesDoNothing) {
  absl::Notification closed;
  std::thread closer;
  bool too_soon = false;
  queue_.Drain([&] {
    closer = std::thread([&] {
      queue_.Close();
      closed.Notify();
    });
    too_soon = closed.WaitForNotificationWithTimeout(absl::Milliseconds(50));
  });
  closer.join();
  EXPECT_FALSE(too_soon) << "the stream may be gone by then";
  queue_.Drain([] { FAIL() << "the stream is gone"; });
}

TEST_F(OutboundQueueTest, DrainOfAnEmptyQueueIsDoneAtOnce) {
  bool drained = false;
  queue_.Drain([&] { drained = true; });
  EXPECT_TRUE(drained);
  EXPECT_FALSE(queue_.Push(1));
}

}  // namespace
}  // namespace firedrill::agent
