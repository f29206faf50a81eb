// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include <chrono>

#include "agent/traffic/leftovers.h"
#include "tests/host/lib/traffic_fixture.h"

namespace firedrill::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kSome = 50;
constexpr int kLeaseMs = 1500;

// The process that holds the engine is killed, or stopped.
class TrafficDeathTest : public TrafficTest {
 protected:
  TrafficDeathTest()
      : near_(hosts_.near(), TwoHosts::kNear4), far_(hosts_.far(), TwoHosts::kFar4) {}

  bool Flows() { return Send(near_, far_, kSome, 20).arrived == kSome; }
  /// A TCX link ends with its process; a clsact filter lets all pass when its lease is over.
  static milliseconds EndsWithin() { return milliseconds(HasTcx() ? 500 : kLeaseMs + 500); }
  bool FlowsWithin(milliseconds limit) {
    const auto end = steady_clock::now() + limit;
    for (bool over = false; !over;) {
      over = steady_clock::now() > end;  // looked at once more then, however late it is
      if (Flows()) return true;
    }
    return false;
  }
  UdpSocket near_, far_;
};

TEST_F(TrafficDeathTest, LossEndsWithItsProcess) {
  HolderProcess holder({.journal = journal_.folder(), .lease_ms = kLeaseMs});
  EXPECT_EQ(Send(near_, far_, kSome, 20).arrived, 0);
  EXPECT_FALSE(agent::VerifyTrafficGone("held").ok());
  EXPECT_OK(agent::VerifyTrafficGone("another"));
  holder.Signal(SIGKILL);
  EXPECT_TRUE(FlowsWithin(EndsWithin()));
  EXPECT_OK(journal_.Replay());
  EXPECT_OK(agent::VerifyTrafficGone("held"));
  EXPECT_EQ(AttachedCount("eth0"), 0);
}

TEST_F(TrafficDeathTest, LatencyEndsWithItsProcess) {
  HolderProcess holder({.delay = true, .journal = journal_.folder(), .lease_ms = kLeaseMs});
  EXPECT_GE(Send(near_, far_, kSome, 200).Quantile(0), 50);
  EXPECT_TRUE(DeviceExists("fdtap"));
  holder.Signal(SIGKILL);
  EXPECT_TRUE(FlowsWithin(EndsWithin()));
  EXPECT_LT(Send(near_, far_, kSome).Quantile(0.5), 5);
  EXPECT_OK(journal_.Replay());
  EXPECT_OK(agent::VerifyTrafficGone("held"));
  EXPECT_EQ(AttachedCount("eth0"), 0);
  EXPECT_FALSE(DeviceExists("fdtap"));
}

TEST_F(TrafficDeathTest, LossOfAStoppedProcessEndsWithTheLease) {
  HolderProcess holder({.journal = journal_.folder(), .lease_ms = kLeaseMs});
  EXPECT_FALSE(Flows());
  holder.Signal(SIGSTOP);
  EXPECT_FALSE(Flows()) << "the lease still runs";
  std::this_thread::sleep_for(milliseconds(kLeaseMs + 100));
  EXPECT_TRUE(Flows());
  EXPECT_FALSE(agent::VerifyTrafficGone("held").ok()) << "it would go on if it were let";
  holder.Signal(SIGKILL);
  EXPECT_OK(journal_.Replay());
  EXPECT_OK(agent::VerifyTrafficGone("held"));
}

TEST_F(TrafficDeathTest, LatencyOfAStoppedProcessEndsWithTheLeaseAndStalePacketsAreDropped) {
  HolderProcess holder({.delay = true, .journal = journal_.folder(), .lease_ms = kLeaseMs});
  EXPECT_GE(Send(near_, far_, kSome, 200).Quantile(0), 50);
  holder.Signal(SIGSTOP);
  EXPECT_EQ(Send(near_, far_, kSome, 100).arrived, 0) << "held by a process that does not run";
  std::this_thread::sleep_for(milliseconds(kLeaseMs + 1100));
  EXPECT_TRUE(Flows());
  holder.Signal(SIGCONT);
  EXPECT_EQ(far_.Drain(300), 0) << "released seconds late";
}

}  // namespace
}  // namespace firedrill::testing
