// SPDX-License-Identifier: Apache-2.0
// Hosts by name, as the faulted host resolves it.
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <thread>

#include "agent/traffic/names.h"
#include "tests/host/lib/stalls.h"
#include "tests/host/lib/traffic_fixture.h"

namespace firedrill::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kSome = 20;
constexpr char kOther4[] = "10.73.0.3";
constexpr int kPatience = 60;  // tries, of 50 ms or more

class TrafficNamesTest : public TrafficTest {
 protected:
  TrafficNamesTest()
      : near_(hosts_.near(), TwoHosts::kNear4), near6_(hosts_.near(), TwoHosts::kNear6) {
    RunIn(hosts_.far(), [] { AddAddress("eth0", kOther4, 24); });
    far_ = std::make_unique<UdpSocket>(hosts_.far(), TwoHosts::kFar4);
    far6_ = std::make_unique<UdpSocket>(hosts_.far(), TwoHosts::kFar6);
    other_ = std::make_unique<UdpSocket>(hosts_.far(), kOther4);
    // It hears the questions of a resolver, and never answers.
    silent_ = std::make_unique<UdpSocket>(hosts_.far(), TwoHosts::kFar4, 53);
    folder_.Write("resolv.conf", std::string("nameserver ") + TwoHosts::kFar4 + "\n");
    folder_.Write("nsswitch.conf", "hosts: files dns\n");
    folder_.Write("host.conf", "multi on\n");
    WriteHosts("");
  }

  // At once: who resolves meanwhile finds the old names or the new ones, never a part.
  void WriteHosts(const std::string& text) const {
    std::filesystem::rename(folder_.Write("hosts.new", text), folder_.path() + "/hosts");
  }

  // In a mount namespace of its own with an /etc of its own, so that the resolver knows what
  // WriteHosts has said.
  void WithOwnNames(const std::function<void()>& work) {
    std::thread([&] {
      ASSERT_EQ(unshare(CLONE_NEWNS), 0);
      ASSERT_EQ(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
      ASSERT_EQ(mount(folder_.path().c_str(), "/etc", nullptr, MS_BIND, nullptr), 0);
      work();
      StopEngine();
    }).join();
  }

  static agent::TrafficRuleSpec LossTo(const std::string& name) {
    agent::TrafficRuleSpec spec = Loss(1);
    spec.traffic.clear_device();
    spec.traffic.add_hosts(name);
    return spec;
  }
  static bool Passes(const UdpSocket& from, const UdpSocket& to) {
    return Send(from, to, kSome, 30).arrived > 0;
  }

  UdpSocket near_, near6_;
  std::unique_ptr<UdpSocket> far_, far6_, other_, silent_;
  test::TemporaryFolder folder_;
};

TEST_F(TrafficNamesTest, ANameIsAllOfItsAddressesOnTheDevicesThatLeadThere) {
  WithOwnNames([&] {
    WriteHosts("10.73.0.2 far.example\nfd73::2 far.example\n10.73.0.3 other.example\n");
    auto rule = Add(LossTo("far.example"));
    ASSERT_NE(rule, nullptr);
    EXPECT_FALSE(Passes(near_, *far_));
    EXPECT_FALSE(Passes(near6_, *far6_));
    EXPECT_TRUE(Passes(near_, *other_));
    EXPECT_EQ(rule->Stats()->name_addresses, 2u);
    rule = nullptr;
    agent::TrafficRuleSpec beside = LossTo("other.example");
    beside.traffic.add_addresses("10.73.0.2");
    rule = Add(beside);
    EXPECT_FALSE(Passes(near_, *far_)) << "names and addresses side by side";
    EXPECT_FALSE(Passes(near_, *other_));
    EXPECT_TRUE(Passes(near6_, *far6_));
  });
}

TEST_F(TrafficNamesTest, AddressesThatAppearAreTakenAndThoseThatVanishStay) {
  WithOwnNames([&] {
    WriteHosts("10.73.0.2 far.example\n");
    StartEngine({.resolve_every = milliseconds(100)});
    auto rule = Add(LossTo("far.example"));
    ASSERT_NE(rule, nullptr);
    EXPECT_TRUE(Passes(near_, *other_));
    WriteHosts("10.73.0.3 far.example\n");
    int attempts = 0;
    while (Passes(near_, *other_)) ASSERT_LT(++attempts, kPatience);
    EXPECT_FALSE(Passes(near_, *far_));
    EXPECT_EQ(rule->Stats()->name_addresses, 2u);
    rule = nullptr;
    EXPECT_TRUE(Passes(near_, *far_));
    EXPECT_TRUE(Passes(near_, *other_));
  });
}

TEST_F(TrafficNamesTest, ANameWithoutAnAddressIsRefusedByName) {
  WithOwnNames([&] {
    WriteHosts("10.73.0.2 far.example\n");
    folder_.Write("resolv.conf", "nameserver 127.0.0.1\noptions attempts:1\n");
    agent::TrafficRuleSpec spec = LossTo("far.example");
    spec.traffic.add_hosts("missing.invalid");
    StartEngine();
    const absl::Status refused = engine_->AddRule(spec).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kNotFound);
    EXPECT_NE(refused.message().find("missing.invalid"), std::string::npos) << refused;
    EXPECT_EQ(engine_->RuleCount(), 0);
    EXPECT_TRUE(Passes(near_, *far_));
  });
}

TEST_F(TrafficNamesTest, ASilentResolverHoldsUpNeitherTheEngineNorAnEnd) {
  WithOwnNames([&] {
    const test::StallWatch watch;
    WriteHosts("10.73.0.3 other.example\n");
    StartEngine({.resolve_every = milliseconds(50)});
    const auto began = steady_clock::now();
    EXPECT_EQ(engine_->AddRule(LossTo("slow.example")).status().code(),
              absl::StatusCode::kDeadlineExceeded);
    const auto refused = steady_clock::now();
    EXPECT_LT(refused - began - watch.Between(began, refused),
              agent::kResolveWithin + milliseconds(500));
    auto rule = Add(LossTo("other.example"));
    ASSERT_NE(rule, nullptr);
    silent_->Drain(0);
    WriteHosts("");
    ASSERT_GT(silent_->Drain(1000), 0) << "the name is asked for again";
    const auto start = steady_clock::now();
    auto another = Add(Loss(1));
    EXPECT_FALSE(Passes(near_, *far_));
    EXPECT_FALSE(Passes(near_, *other_)) << "what it had said last";
    another = nullptr;
    rule = nullptr;
    const auto ended = steady_clock::now();
    EXPECT_LT(ended - start - watch.Between(start, ended), milliseconds(1000));
    EXPECT_TRUE(Passes(near_, *other_));
  });
}

}  // namespace
}  // namespace firedrill::testing
