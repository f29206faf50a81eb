// SPDX-License-Identifier: Apache-2.0
// The kinds of traffic fault as a worker and the agent call them, and several on one packet.
#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>
#include <functional>

#include "agent/faults/fault.h"
#include "agent/host/host.h"
#include "agent/traffic/leftovers.h"
#include "proto/support/time.h"
#include "tests/host/lib/traffic_fixture.h"

namespace firedrill::testing {
namespace {

using agent::ActiveFault;
using agent::FaultKind;
using agent::InjectionRequest;
using std::chrono::milliseconds;

class TrafficKindsTest : public TrafficTest {
 protected:
  TrafficKindsTest()
      : near_(hosts_.near(), TwoHosts::kNear4), far_(hosts_.far(), TwoHosts::kFar4) {}
  /// The worker's engine; its lease outlives the test, as nobody renews it here.
  void StartTraffic(const agent::DelayLineLimits& limits = {}) {
    agent::TrafficOptions options;
    options.journal = &journal_.journal();
    options.limits = limits;
    options.first_lease = std::chrono::seconds(300);
    auto engine = agent::TrafficEngine::Create(options);
    ASSERT_OK(engine.status());
    traffic_ = *std::move(engine);
  }
  void TearDown() override {
    traffic_ = nullptr;
    TrafficTest::TearDown();
  }

  static InjectionRequest Request(const std::function<void(v1::Fault&)>& fill) {
    static int requests = 0;
    InjectionRequest request;
    request.id = "run/" + std::to_string(++requests);
    request.duration = std::chrono::seconds(60);
    fill(request.fault);
    return request;
  }
  static const FaultKind& KindOf(const InjectionRequest& request) {
    return *agent::FindFaultKind(request.fault.kind_case());
  }
  absl::StatusOr<std::unique_ptr<ActiveFault>> Apply(const InjectionRequest& request) {
    agent::WorkerContext context{host_, journal_.journal(), traffic_};
    return KindOf(request).apply(request, context);
  }
  absl::StatusOr<std::unique_ptr<ActiveFault>> Preview(const InjectionRequest& request) {
    agent::WorkerContext context{host_, journal_.journal(), traffic_};
    return KindOf(request).preview(request, context);
  }
  /// Every kind but those that test files of their own have.
  static std::vector<std::pair<InjectionRequest, std::string>> AllKinds() {
    std::vector<std::pair<InjectionRequest, std::string>> kinds;
    const auto add = [&](const std::string& counter, const std::function<void(v1::Fault&)>& fill) {
      kinds.emplace_back(Request(fill), counter);
    };
    add("packets_dropped", [](v1::Fault& fault) {
      fault.mutable_packet_loss()->set_percent(100);
      fault.mutable_packet_loss()->set_counting(v1::COUNTING_EXACT);
      fault.mutable_packet_loss()->mutable_traffic()->set_device("eth0");
    });
    add("packets_dropped", [](v1::Fault& fault) {
      fault.mutable_packet_loss()->set_percent(50);
      fault.mutable_packet_loss()->mutable_bursts()->set_mean_packets(10);
      fault.mutable_packet_loss()->set_seed(1);
      fault.mutable_packet_loss()->mutable_traffic()->set_device("eth0");
    });
    add("packets_duplicated", [](v1::Fault& fault) {
      fault.mutable_packet_duplicate()->set_percent(100);
      fault.mutable_packet_duplicate()->mutable_traffic()->set_device("eth0");
    });
    add("packets_corrupted", [](v1::Fault& fault) {
      fault.mutable_packet_corrupt()->set_percent(100);
      fault.mutable_packet_corrupt()->mutable_traffic()->set_device("eth0");
    });
    add("packets_held_back", [](v1::Fault& fault) {
      fault.mutable_packet_reorder()->set_percent(100);
      fault.mutable_packet_reorder()->mutable_traffic()->set_device("eth0");
    });
    add("packets_limited", [](v1::Fault& fault) {
      fault.mutable_bandwidth()->set_rate(1'000'000);
      fault.mutable_bandwidth()->mutable_traffic()->set_device("eth0");
    });
    add("packets_dropped",
        [](v1::Fault& fault) { fault.mutable_partition()->add_addresses(TwoHosts::kFar4); });
    return kinds;
  }

  agent::Host host_;
  std::shared_ptr<agent::TrafficEngine> traffic_;
  UdpSocket near_, far_;
};

TEST_F(TrafficKindsTest, EachTellsItsFirstImpactAndItsEndIsVerified) {
  StartTraffic();
  constexpr int kCount = 100;
  for (const auto& [request, counter] : AllKinds()) {
    SCOPED_TRACE(request.fault.ShortDebugString());
    EXPECT_OK(KindOf(request).supported(host_));
    auto fault = Apply(request);
    ASSERT_OK(fault.status());
    EXPECT_FALSE((*fault)->Observe()->first.has_value()) << "nothing came yet";
    EXPECT_FALSE(KindOf(request).verify_gone(request, host_).ok());
    Send(near_, far_, kCount, 100);
    const auto impact = (*fault)->Observe();
    ASSERT_OK(impact.status());
    EXPECT_TRUE(impact->first.has_value());
    EXPECT_TRUE(impact->from_kernel);
    EXPECT_GT(impact->counters.at(counter), 0);
    EXPECT_LE(impact->counters.at(counter), kCount);
    EXPECT_EQ(impact->counters.at("packets_matched"), kCount);
    EXPECT_OK((*fault)->Revert());
    EXPECT_OK(KindOf(request).verify_gone(request, host_));
    far_.Drain(20);
    EXPECT_EQ(Send(near_, far_, kCount, 100).arrived, kCount);
    EXPECT_EQ((*fault)->Observe()->counters.at("packets_matched"), kCount) << "stays readable";
  }
  EXPECT_EQ(AttachedCount("eth0"), 0);
}

TEST_F(TrafficKindsTest, APreviewCountsAndTouchesNothing) {
  StartTraffic();
  for (const auto& [request, counter] : AllKinds()) {
    SCOPED_TRACE(request.fault.ShortDebugString());
    auto preview = Preview(request);
    ASSERT_OK(preview.status());
    const Delivery delivery = Send(near_, far_, 200);
    EXPECT_EQ(delivery.arrived, 200);
    EXPECT_EQ(delivery.duplicates, 0);
    EXPECT_LT(delivery.Quantile(0.5), 5);
    const auto impact = (*preview)->Observe();
    ASSERT_OK(impact.status());
    EXPECT_EQ(impact->counters.at("packets_matched"), 200);
    EXPECT_FALSE(impact->first.has_value());
    EXPECT_FALSE(impact->counters.contains(counter));
  }
  EXPECT_FALSE(DeviceExists("fdtap"));
}

TEST_F(TrafficKindsTest, APartitionCutsOffEveryAddressOnItsDeviceAndNoOther) {
  StartTraffic();
  RunIn(hosts_.far(), [] { AddAddress("eth0", "10.73.0.3", 24); });
  const UdpSocket near6(hosts_.near(), TwoHosts::kNear6), far6(hosts_.far(), TwoHosts::kFar6);
  auto fault = Apply(Request([](v1::Fault& fault) {
    for (const char* address : {TwoHosts::kFar4, TwoHosts::kFar6, "127.0.0.2"})
      fault.mutable_partition()->add_addresses(address);
  }));
  ASSERT_OK(fault.status());
  EXPECT_EQ(AttachedCount("eth0"), 2);
  EXPECT_EQ(AttachedCount("lo"), 1);
  for (const auto& [from, to] : {std::pair(&near_, &far_), std::pair(&far_, &near_)}) {
    const Delivery delivery = Send(*from, *to, 100, 20);
    EXPECT_EQ(delivery.arrived, 0);
    EXPECT_EQ(delivery.send_errors, 0);
  }
  EXPECT_EQ(Send(near6, far6, 100, 20).arrived, 0);
  EXPECT_EQ(Send(far6, near6, 100, 20).arrived, 0);
  EXPECT_EQ(Ping("127.0.0.2", 1, 50), 0);
  EXPECT_EQ(Ping("127.0.0.1", 1), 1);
  EXPECT_EQ(Ping("10.73.0.3", 1), 1);
  fault->reset();
  EXPECT_EQ(Send(near_, far_, 100).arrived, 100);
  EXPECT_EQ(AttachedCount("lo"), 0);
}

TEST_F(TrafficKindsTest, APartitionTakesEveryDeviceThatARouteIntoThePrefixLeadsThrough) {
  AddDefaultRoute("lo");
  agent::TrafficRuleSpec spec = Loss(1);
  spec.traffic.clear_device();
  spec.traffic.add_addresses("0.0.0.0/0");
  auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(Send(near_, far_, 50, 50).arrived, 50) << "the default route alone leads elsewhere";
  rule = nullptr;
  spec.every_device = true;
  rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(Send(near_, far_, 50, 50).arrived, 0) << "the longer route's device";
}

TEST_F(TrafficKindsTest, APartitionWithoutAddressesIsRefused) {
  const auto nobody = Request([](v1::Fault& fault) { fault.mutable_partition()->set_from("db"); });
  for (const absl::Status& status : {Apply(nobody).status(), Preview(nobody).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find("partition.addresses"), std::string::npos) << status;
  }
  const auto both = Request([](v1::Fault& fault) {
    fault.mutable_partition()->add_addresses(TwoHosts::kFar4);
    fault.mutable_partition()->mutable_traffic()->add_addresses(TwoHosts::kFar4);
  });
  EXPECT_EQ(Apply(both).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(TrafficKindsTest, AFullLineIsNotSilent) {
  StartTraffic({.packets = 10});
  auto fault = Apply(Request([](v1::Fault& fault) {
    *fault.mutable_latency()->mutable_delay() = ToProto(Nanoseconds(milliseconds(1500)));
    fault.mutable_latency()->mutable_traffic()->set_device("eth0");
  }));
  ASSERT_OK(fault.status());
  EXPECT_TRUE((*fault)->Observe()->events.empty());
  EXPECT_EQ(Send(near_, far_, 100, 2500).arrived, 10);
  for (int look = 0; look < 2; ++look) {  // The second time it is no news.
    const auto impact = (*fault)->Observe();
    ASSERT_OK(impact.status());
    EXPECT_EQ(impact->counters.at("line_overflow_dropped_packets"), 90);
    ASSERT_GE(impact->events.size(), 1u);
    EXPECT_EQ(impact->events[0].name, "overloaded");
    EXPECT_NE(impact->events[0].detail.find("90"), std::string::npos);
    EXPECT_LE(impact->events.size(), 2u);
  }
}

TEST_F(TrafficKindsTest, SeveralOnOnePacketActInTheirOrder) {
  constexpr int kCount = 200;
  const auto latency = Add(Delay(40));
  const auto shape =
      Add(Spec(agent::ShapeEffect{.bits_per_second = 10'000'000, .queue = milliseconds(500)}));
  const auto copies = Add(Spec(agent::DuplicateEffect{.share = 1}));
  const auto corrupt = Add(Spec(agent::CorruptEffect{.share = 1, .mend_checksum = true}));
  const auto loss = Add(Spec(agent::LoseEffect{.every = 2}));
  ASSERT_NE(loss, nullptr);
  // A run's number stands in the payload, one bit of which is turned: only count.
  const Delivery none = Send(near_, far_, kCount, 0, kCount, 0, 1000);
  EXPECT_EQ(far_.Drain(1000) + none.arrived + none.duplicates, kCount);
  const auto matched = [](const std::unique_ptr<agent::TrafficRule>& rule) {
    return rule->Stats()->rule.matched_packets;
  };
  EXPECT_EQ(matched(loss), kCount * 1u);
  EXPECT_EQ(matched(corrupt), kCount / 2u) << "lost first";
  EXPECT_EQ(corrupt->Stats()->rule.hit_packets, kCount / 2u);
  EXPECT_EQ(matched(copies), kCount / 2u);
  EXPECT_EQ(matched(shape), kCount / 2u);
  EXPECT_EQ(matched(latency), kCount / 2u);
}

TEST_F(TrafficKindsTest, ExactLossEndsWithItsProcess) {
  HolderProcess holder({.exact = true, .journal = journal_.folder(), .lease_ms = 2000});
  EXPECT_EQ(Send(near_, far_, 50, 50).arrived, 0);
  EXPECT_TRUE(DeviceExists("fdtap"));
  holder.Signal(SIGKILL);
  int attempts = 0;
  while (Send(near_, far_, 50, 50).arrived < 50) ASSERT_LT(++attempts, 30);
  EXPECT_OK(journal_.Replay());
  EXPECT_OK(agent::VerifyTrafficGone("held"));
  EXPECT_FALSE(DeviceExists("fdtap"));
  EXPECT_EQ(AttachedCount("eth0"), 0);
}

TEST_F(TrafficKindsTest, WhereSomebodyDeletesTheLinesPacketsPassAndTheFaultSaysSo) {
  auto rule = Add(Spec(agent::LoseEffect{.share = 1, .exact = true}));
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(Send(near_, far_, 50, 50).arrived, 0);
  struct if_nameindex* devices = if_nameindex();
  for (auto* device = devices; device->if_index != 0; ++device) {
    if (std::string(device->if_name).starts_with("fdtap")) DeleteDevice(device->if_name);
  }
  if_freenameindex(devices);
  EXPECT_EQ(Send(near_, far_, 50).arrived, 50);
  EXPECT_FALSE(rule->Verify().ok());
  EXPECT_OK(rule->Remove());
  rule = Add(Spec(agent::LoseEffect{.share = 1, .exact = true}));
  ASSERT_NE(rule, nullptr) << "the next makes new ones";
  EXPECT_EQ(Send(near_, far_, 50, 50).arrived, 0);
}

TEST_F(TrafficKindsTest, WhereSomebodySetsTheLineDownPacketsPassAndTheFaultSaysSo) {
  auto rule = Add(Delay(200));
  ASSERT_NE(rule, nullptr);
  const agent::Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  struct if_nameindex* devices = if_nameindex();
  for (auto* device = devices; device->if_index != 0; ++device) {
    if (!std::string(device->if_name).starts_with("fdtap")) continue;
    ifreq request{};
    std::strncpy(request.ifr_name, device->if_name, IFNAMSIZ - 1);
    EXPECT_EQ(ioctl(socket.get(), SIOCSIFFLAGS, &request), 0);
  }
  if_freenameindex(devices);
  EXPECT_EQ(rule->Verify().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Send(near_, far_, 50).arrived, 50);
  EXPECT_OK(rule->Remove());
  rule = Add(Delay(100));
  ASSERT_NE(rule, nullptr) << "the next makes a new one";
  EXPECT_GE(Send(near_, far_, 50, 1000).Quantile(0), 100);
}

}  // namespace
}  // namespace firedrill::testing
