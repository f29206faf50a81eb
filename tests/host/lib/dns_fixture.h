// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/faults/fault.h"
#include "agent/host/host.h"
#include "proto/support/time.h"
#include "tests/host/lib/dns.h"
#include "tests/host/lib/traffic_fixture.h"

// DNS faults between two hosts: real servers on the far one and on loopback.
namespace firedrill::testing {

inline constexpr char kLocal4[] = "127.0.0.53";  // where systemd-resolved listens
inline constexpr int kServfail = 2;
inline constexpr int kNxdomain = 3;

// Longer than any answer takes: a server is a thread that may have to wait for a processor.
inline int Patience() { return 3000; }
// So long nothing comes where nothing shall.
inline int Silence() { return 150; }

inline agent::InjectionRequest Request(v1::DnsAnswer answer,
                                       const std::vector<std::string>& names = {},
                                       const std::string& device = "eth0") {
  agent::InjectionRequest request;
  request.id = "run/dns/host";
  request.duration = std::chrono::seconds(60);
  v1::Dns& dns = *request.fault.mutable_dns();
  dns.set_answer(answer);
  for (const std::string& name : names) dns.add_names(name);
  dns.mutable_traffic()->set_device(device);
  if (answer == v1::DNS_ANSWER_LATE)
    *dns.mutable_delay() = ToProto(Nanoseconds(std::chrono::milliseconds(120)));
  return request;
}

inline const agent::FaultKind& KindOf(const agent::InjectionRequest& request) {
  return *agent::FindFaultKind(request.fault.kind_case());
}

class DnsFaultTest : public TrafficTest {
 protected:
  DnsFaultTest()
      : far4_(hosts_.far(), TwoHosts::kFar4),
        far6_(hosts_.far(), TwoHosts::kFar6),
        local4_(hosts_.near(), kLocal4),
        local6_(hosts_.near(), "::1") {}
  void TearDown() override {
    fault_ = nullptr;
    traffic_ = nullptr;
    TrafficTest::TearDown();
  }
  // In force when this returns, for as long as a test takes.
  std::unique_ptr<agent::ActiveFault> Apply(const agent::InjectionRequest& request) {
    agent::WorkerContext context{host_, journal_.journal(), traffic_};
    auto fault = KindOf(request).apply(request, context);
    EXPECT_OK(fault.status());
    if (traffic_ != nullptr) traffic_->Renew(Clock::Real().Steady() + std::chrono::seconds(60));
    return fault.ok() ? *std::move(fault) : nullptr;
  }
  static double Count(const agent::ActiveFault& fault, const std::string& counter) {
    const auto impact = fault.Observe();
    EXPECT_OK(impact.status());
    return impact.ok() && impact->counters.count(counter) ? impact->counters.at(counter) : -1;
  }
  static void ExpectGood(const std::optional<DnsReply>& reply) {
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->code, 0);
    EXPECT_EQ(reply->answers, 1);
  }

  agent::Host host_;
  DnsServer far4_, far6_, local4_, local6_;
  std::shared_ptr<agent::TrafficEngine> traffic_;
  std::unique_ptr<agent::ActiveFault> fault_;
};

}  // namespace firedrill::testing
