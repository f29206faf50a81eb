// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <signal.h>

#include <cstdlib>

#include "agent/traffic/leftovers.h"
#include "agent/traffic/netlink.h"
#include "tests/host/lib/traffic_fixture.h"

namespace firedrill::testing {
namespace {

using std::chrono::milliseconds;

constexpr int kMany = 5000;

// The way before Linux 6.6, which newer kernels have too: a filter that stays when its owner dies.
class TrafficClsactTest : public TrafficTest {
 protected:
  TrafficClsactTest()
      : near_(hosts_.near(), TwoHosts::kNear4), far_(hosts_.far(), TwoHosts::kFar4) {}

  void StartClsactEngine() {
    agent::TrafficOptions options;
    options.mode = agent::AttachMode::kClsact;
    StartEngine(options);
  }
  bool HasClsact() {
    auto netlink = agent::Netlink::Open();
    return netlink->HasQdisc(static_cast<int>(if_nametoindex("eth0")), "clsact").value();
  }
  int FilterCount() {
    auto netlink = agent::Netlink::Open();
    return netlink->CountClsactFilters(static_cast<int>(if_nametoindex("eth0"))).value();
  }
  static void AddClsactOfTheUser() {
    bpf_tc_hook hook{};
    hook.sz = sizeof(hook);
    hook.ifindex = static_cast<int>(if_nametoindex("eth0"));
    hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
    ASSERT_EQ(bpf_tc_hook_create(&hook), 0);
  }
  UdpSocket near_, far_;
};

TEST_F(TrafficClsactTest, LosesBothWaysAndTakesEverythingAlongInTheEnd) {
  StartClsactEngine();
  auto rule = Add(Loss(0.3, v1::DIRECTION_BOTH));
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(AttachedCount("eth0"), 2);
  EXPECT_EQ(FilterCount(), 2);
  EXPECT_EQ(journal_.RecordCount(), 1u) << "written before the act";
  const Delivery sent = Send(near_, far_, kMany);
  EXPECT_NEAR(sent.LostShare(), 0.3, Tolerance(0.3, kMany));
  EXPECT_EQ(sent.send_errors, 0);
  EXPECT_NEAR(Send(far_, near_, kMany).LostShare(), 0.3, Tolerance(0.3, kMany));
  EXPECT_OK(rule->Verify());
  EXPECT_OK(rule->Remove());
  EXPECT_EQ(Send(near_, far_, kMany).arrived, kMany);
  EXPECT_FALSE(HasClsact());
  EXPECT_EQ(journal_.RecordCount(), 0u);
}

TEST_F(TrafficClsactTest, DelaysBothWays) {
  StartClsactEngine();
  auto rule = Add(Delay(30, v1::DIRECTION_BOTH));
  ASSERT_NE(rule, nullptr);
  EXPECT_GE(Send(near_, far_, 100, 200).Quantile(0), 30);
  EXPECT_GE(Send(far_, near_, 100, 200).Quantile(0), 30);
  rule = nullptr;
  EXPECT_LT(Send(near_, far_, 100).Quantile(0.5), 5);
  EXPECT_FALSE(HasClsact());
}

TEST_F(TrafficClsactTest, AQdiscOfTheUserStays) {
  AddClsactOfTheUser();
  StartClsactEngine();
  auto rule = Add(Loss(1));
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(Send(near_, far_, 100, 20).arrived, 0);
  rule = nullptr;
  EXPECT_TRUE(HasClsact());
  EXPECT_EQ(FilterCount(), 0);
}

TEST_F(TrafficClsactTest, WhereTheUserHasAnIngressQdiscNothingIsPut) {
  ASSERT_EQ(std::system("tc qdisc add dev eth0 ingress"), 0);
  StartClsactEngine();
  for (const v1::Direction direction : {v1::DIRECTION_EGRESS, v1::DIRECTION_INGRESS}) {
    const absl::Status status = engine_->AddRule(Loss(1, direction)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_NE(status.message().find("ingress qdisc"), std::string::npos) << status;
  }
  EXPECT_EQ(std::system("test -z \"$(tc filter show dev eth0 ingress)\""), 0);
  EXPECT_EQ(journal_.RecordCount(), 0u);
  EXPECT_EQ(Send(near_, far_, 50).arrived, 50);
}

TEST_F(TrafficClsactTest, StandsInFrontOfAFilterOfTheUserThatEndsTheChain) {
  AddClsactOfTheUser();
  const bpf_insn accept[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K,
       .dst_reg = 0,
       .src_reg = 0,
       .off = 0,
       .imm = 0 /* TC_ACT_OK */},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  const agent::Descriptor program(
      bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "accept", "GPL", accept, 2, nullptr));
  ASSERT_TRUE(program.valid());
  for (const unsigned priority : {7u, 1u}) {
    bpf_tc_hook hook{};
    hook.sz = sizeof(hook);
    hook.ifindex = static_cast<int>(if_nametoindex("eth0"));
    hook.attach_point = BPF_TC_EGRESS;
    bpf_tc_opts options{};
    options.sz = sizeof(options);
    options.prog_fd = program.get();
    options.priority = priority;
    ASSERT_EQ(bpf_tc_attach(&hook, &options), 0);
    StartClsactEngine();
    auto rule = Add(Loss(1));
    ASSERT_NE(rule, nullptr);
    EXPECT_EQ(Send(near_, far_, 50, 20).arrived, 0) << "priority " << priority;
    EXPECT_OK(rule->Remove());
    EXPECT_EQ(Send(near_, far_, 50).arrived, 50);
    StopEngine();
  }
  EXPECT_EQ(FilterCount(), 2) << "the user's stay";
}

TEST_F(TrafficClsactTest, WhatAKilledProcessLeavesIsInertAndUndoneFromTheJournal) {
  HolderProcess holder({.clsact = true, .journal = journal_.folder(), .lease_ms = 1500});
  EXPECT_EQ(Send(near_, far_, 50, 20).arrived, 0);
  EXPECT_FALSE(journal_.Replay().ok()) << "nothing of a living process";
  EXPECT_EQ(Send(near_, far_, 50, 20).arrived, 0);
  holder.Signal(SIGKILL);
  std::this_thread::sleep_for(milliseconds(1600));
  EXPECT_EQ(Send(near_, far_, 50).arrived, 50) << "its lease has run out";
  EXPECT_EQ(FilterCount(), 2);
  EXPECT_FALSE(agent::VerifyTrafficGone("held").ok());
  EXPECT_OK(journal_.Replay());
  EXPECT_FALSE(HasClsact());
  EXPECT_OK(agent::VerifyTrafficGone("held"));
  EXPECT_EQ(journal_.RecordCount(), 0u);
}

TEST_F(TrafficClsactTest, AKilledProcessThatFoundAQdiscLeavesItToItsOwner) {
  AddClsactOfTheUser();
  HolderProcess holder({.clsact = true, .journal = journal_.folder()});
  holder.Signal(SIGKILL);
  EXPECT_OK(journal_.Replay());
  EXPECT_TRUE(HasClsact());
  EXPECT_EQ(FilterCount(), 0);
}

TEST_F(TrafficClsactTest, ASweepWithoutRecordsRemovesDeadFiltersOnly) {
  StartClsactEngine();
  auto rule = Add(Loss(1));
  ASSERT_NE(rule, nullptr);
  {
    HolderProcess holder({.clsact = true, .journal = journal_.folder()});
    EXPECT_EQ(FilterCount(), 3);
  }
  EXPECT_OK(agent::SweepTraffic());
  EXPECT_EQ(FilterCount(), 1);
  EXPECT_OK(rule->Verify());
  EXPECT_EQ(Send(near_, far_, 50, 20).arrived, 0);
}

TEST_F(TrafficClsactTest, WithoutAJournalNothingIsPutOnADevice) {
  agent::TrafficOptions options;
  options.mode = agent::AttachMode::kClsact;
  auto engine = agent::TrafficEngine::Create(options);
  ASSERT_OK(engine.status());
  EXPECT_EQ((*engine)->AddRule(Loss(1)).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(HasClsact());
}

}  // namespace
}  // namespace firedrill::testing
