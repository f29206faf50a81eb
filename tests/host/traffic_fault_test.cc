// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmath>
#include <thread>

#include "agent/faults/fault.h"
#include "agent/host/host.h"
#include "proto/support/time.h"
#include "tests/host/lib/traffic_fixture.h"

namespace firedrill::testing {
namespace {

using agent::ActiveFault;
using agent::FaultKind;
using agent::Impact;
using agent::InjectionRequest;
using v1::Fault;

// The two lines of the agent's table, as a worker and the agent call them.
class TrafficFaultTest : public TrafficTest {
 protected:
  TrafficFaultTest()
      : near_(hosts_.near(), TwoHosts::kNear4), far_(hosts_.far(), TwoHosts::kFar4) {}
  void TearDown() override {
    traffic_ = nullptr;
    TrafficTest::TearDown();
  }

  static InjectionRequest LossRequest(double percent) {
    InjectionRequest request;
    request.id = "run/step/host";
    request.duration = std::chrono::seconds(60);
    request.fault.mutable_packet_loss()->set_percent(percent);
    request.fault.mutable_packet_loss()->mutable_traffic()->set_device("eth0");
    return request;
  }
  static InjectionRequest LatencyRequest(std::chrono::milliseconds delay) {
    InjectionRequest request;
    request.id = "run/other/host";
    *request.fault.mutable_latency()->mutable_delay() = ToProto(Nanoseconds(delay));
    request.fault.mutable_latency()->mutable_traffic()->set_device("eth0");
    return request;
  }
  static const FaultKind& KindOf(const InjectionRequest& request) {
    return *agent::FindFaultKind(request.fault.kind_case());
  }
  absl::StatusOr<std::unique_ptr<ActiveFault>> Apply(const InjectionRequest& request) {
    agent::WorkerContext context{host_, journal_.journal(), traffic_};
    return KindOf(request).apply(request, context);
  }

  agent::Host host_;
  std::shared_ptr<agent::TrafficEngine> traffic_;
  UdpSocket near_, far_;
};

TEST_F(TrafficFaultTest, ThisKernelSupportsBothAndAskingLeavesNothing) {
  EXPECT_OK(KindOf(LossRequest(1)).supported(host_));
  EXPECT_OK(KindOf(LatencyRequest(std::chrono::milliseconds(1))).supported(host_));
  EXPECT_FALSE(DeviceExists("fdtap"));
}

TEST_F(TrafficFaultTest, WhoMayNotProveTheEndMayNotBegin) {
  absl::Status status;
  std::thread([&] {  // The right is this thread's own to give up.
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    __user_cap_data_struct data[2];
    ASSERT_EQ(syscall(SYS_capget, &header, data), 0);
    data[CAP_SYS_ADMIN / 32].effective &= ~(1u << (CAP_SYS_ADMIN % 32));
    ASSERT_EQ(syscall(SYS_capset, &header, data), 0);
    status = KindOf(LossRequest(1)).supported(host_);
  })
      .join();
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << status;
  EXPECT_NE(status.message().find("CAP_SYS_ADMIN"), std::string::npos) << status;
}

TEST_F(TrafficFaultTest, LossTellsItsFirstImpactAndItsEndIsVerified) {
  const InjectionRequest request = LossRequest(100);
  auto fault = Apply(request);
  ASSERT_OK(fault.status());
  auto before = (*fault)->Observe();
  ASSERT_OK(before.status());
  EXPECT_FALSE(before->first.has_value()) << "nothing was lost yet";
  EXPECT_FALSE(KindOf(request).verify_gone(request, host_).ok());

  const SystemTime start = host_.clock().System();
  EXPECT_EQ(Send(near_, far_, 100, 20).arrived, 0);
  const SystemTime end = host_.clock().System();
  const auto impact = (*fault)->Observe();
  ASSERT_OK(impact.status());
  ASSERT_TRUE(impact->first.has_value());
  EXPECT_TRUE(impact->from_kernel);
  EXPECT_GE(*impact->first + impact->uncertainty, start);
  EXPECT_LE(*impact->first - impact->uncertainty, end);
  EXPECT_LT(impact->uncertainty, std::chrono::milliseconds(10));
  EXPECT_EQ(impact->counters.at("packets_dropped"), 100);
  EXPECT_EQ(impact->counters.at("packets_matched"), 100);

  EXPECT_OK((*fault)->Revert());
  EXPECT_OK((*fault)->Revert()) << "idempotent";
  EXPECT_OK(KindOf(request).verify_gone(request, host_));
  EXPECT_EQ(Send(near_, far_, 100).arrived, 100);
  const auto after = (*fault)->Observe();
  ASSERT_OK(after.status());
  EXPECT_EQ(after->counters.at("packets_dropped"), 100) << "what it did stays readable";
}

TEST_F(TrafficFaultTest, LatencyCountsWhatItHeldBack) {
  const InjectionRequest request = LatencyRequest(std::chrono::milliseconds(30));
  auto fault = Apply(request);
  ASSERT_OK(fault.status());
  EXPECT_GE(Send(near_, far_, 100, 200).Quantile(0), 30);
  EXPECT_TRUE(test::WaitFor(
      [&] { return (*fault)->Observe()->counters.at("line_delivered_packets") == 100; },
      std::chrono::seconds(5)));
  const auto impact = (*fault)->Observe();
  ASSERT_OK(impact.status());
  EXPECT_TRUE(impact->first.has_value());
  EXPECT_EQ(impact->counters.at("packets_delayed"), 100);
  EXPECT_EQ(impact->counters.at("line_delivered_packets"), 100);
  EXPECT_EQ(impact->counters.at("line_overflow_dropped_packets"), 0);
  fault->reset();
  EXPECT_OK(KindOf(request).verify_gone(request, host_));
}

TEST_F(TrafficFaultTest, TwoFaultsShareOneEngineAndEndOneByOne) {
  const InjectionRequest loss = LossRequest(100);
  const InjectionRequest latency = LatencyRequest(std::chrono::milliseconds(20));
  auto first = Apply(loss);
  auto second = Apply(latency);
  ASSERT_OK(first.status());
  ASSERT_OK(second.status());
  EXPECT_EQ(traffic_->RuleCount(), 2);
  first->reset();
  EXPECT_OK(KindOf(loss).verify_gone(loss, host_));
  EXPECT_FALSE(KindOf(latency).verify_gone(latency, host_).ok());
  EXPECT_GE(Send(near_, far_, 100, 200).Quantile(0), 20);
}

TEST_F(TrafficFaultTest, TheAgentsStreamIsSparedAlsoWhenItMoves) {
  InjectionRequest request = LossRequest(100);
  request.protect.endpoints = {{TwoHosts::kFar4, 7401}};
  auto fault = Apply(request);
  ASSERT_OK(fault.status());
  const auto passes = [&](int port) {
    return PushTcp(hosts_.far(), TwoHosts::kFar4, port, 1000, 1000).megabit_per_second > 0;
  };
  EXPECT_TRUE(passes(7401));
  EXPECT_FALSE(passes(7402));
  agent::Protected moved;
  moved.endpoints = {{TwoHosts::kFar4, 7402}};
  (*fault)->Protect(moved);
  EXPECT_TRUE(passes(7402));
}

TEST_F(TrafficFaultTest, AFaultThatCannotSpareTheStreamIsTakenOutAndSaysSo) {
  auto fault = Apply(LossRequest(100));
  ASSERT_OK(fault.status());
  agent::Protected endless;
  for (int i = 0; i < 200; ++i) endless.endpoints.push_back({fmt::format("10.9.0.{}", i), 7401});
  (*fault)->Protect(endless);
  EXPECT_EQ(Send(near_, far_, 50).arrived, 50);
  EXPECT_EQ((*fault)->Observe().status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_OK((*fault)->Revert());
}

TEST_F(TrafficFaultTest, ADeviceThatGoesAwayEndsTheFault) {
  auto fault = Apply(LossRequest(100));
  ASSERT_OK(fault.status());
  DeleteDevice("eth0");
  EXPECT_FALSE((*fault)->Observe().ok());
  EXPECT_OK((*fault)->Revert());
}

TEST_F(TrafficFaultTest, NonsenseIsRefused) {
  for (const double percent : {0.0, -1.0, 100.1, std::nan("")}) {
    EXPECT_EQ(Apply(LossRequest(percent)).status().code(), absl::StatusCode::kInvalidArgument);
  }
  for (const int delay_ms : {0, -5, 61'000}) {
    EXPECT_EQ(Apply(LatencyRequest(std::chrono::milliseconds(delay_ms))).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(AttachedCount("eth0"), 0);
}

}  // namespace
}  // namespace firedrill::testing
