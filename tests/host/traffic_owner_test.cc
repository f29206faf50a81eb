// SPDX-License-Identifier: Apache-2.0
// Packets of chosen processes, and nobody else's.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <tuple>
#include <utility>

#include "agent/traffic/owned_processes.h"
#include "agent/traffic/owned_sockets.h"
#include "tests/host/lib/actor.h"
#include "tests/host/lib/connection.h"
#include "tests/host/lib/traffic_fixture.h"

namespace firedrill::testing {
namespace {

using agent::Descriptor;

constexpr int kSome = 20;
constexpr int kFarPort = 7500;
constexpr int kPatience = 60;  // tries, of 100 ms, until a process is noticed

agent::TrafficRuleSpec LossOf(int pid, v1::Direction direction = v1::DIRECTION_EGRESS) {
  agent::TrafficRuleSpec spec = Loss(1, direction);
  spec.traffic.mutable_owner()->set_pid(static_cast<std::uint32_t>(pid));
  return spec;
}

// Everything that matches is lost. The actors live on the near host; the test itself is the
// bystander, with sockets beside theirs to the same end.
class TrafficOwnerTest : public TrafficTest {
 protected:
  TrafficOwnerTest()
      : far_(hosts_.far(), TwoHosts::kFar4, kFarPort),
        far6_(hosts_.far(), TwoHosts::kFar6, kFarPort),
        bystander_(hosts_.near(), TwoHosts::kNear4),
        bystander6_(hosts_.near(), TwoHosts::kNear6) {}

  static UdpSocket Udp(const Actor& actor, int port = 0) {
    return {actor.Socket(AF_INET, SOCK_DGRAM), TwoHosts::kNear4, port};
  }
  static UdpSocket Udp6(const Actor& actor) {
    return {actor.Socket(AF_INET6, SOCK_DGRAM), TwoHosts::kNear6};
  }
  static bool Passes(const UdpSocket& from, const UdpSocket& to) {
    const Delivery delivery = Send(from, to, kSome, 30);
    EXPECT_TRUE(delivery.arrived == 0 || delivery.arrived == delivery.sent) << delivery.arrived;
    return delivery.arrived != 0;
  }
  bool Sends(const UdpSocket& from) { return Passes(from, far_); }
  bool Receives(const UdpSocket& to) { return Passes(far_, to); }
  void ExpectBystandersUntouched() {
    EXPECT_TRUE(Sends(bystander_));
    EXPECT_TRUE(Receives(bystander_));
    EXPECT_TRUE(Passes(bystander6_, far6_));
    EXPECT_TRUE(Passes(far6_, bystander6_));
  }
  // Whether the socket's packets are lost within the patience.
  bool IsNoticed(const UdpSocket& socket) {
    for (int attempt = 0; attempt < kPatience; ++attempt) {
      if (!Sends(socket)) return true;
      poll(nullptr, 0, 70);
    }
    return false;
  }

  UdpSocket far_, far6_, bystander_, bystander6_;
};

TEST_F(TrafficOwnerTest, TakesSocketsThatWereOpenAndNewOnesOfBothFamilies) {
  const Actor actor;
  const UdpSocket open = Udp(actor), open6 = Udp6(actor);
  EXPECT_TRUE(Sends(open));
  auto rule = Add(LossOf(actor.pid()));
  ASSERT_NE(rule, nullptr);
  EXPECT_FALSE(Sends(open));
  EXPECT_FALSE(Passes(open6, far6_));
  EXPECT_TRUE(Receives(open)) << "the other direction";
  EXPECT_FALSE(Sends(Udp(actor))) << "a new one, from its first packet on";
  EXPECT_FALSE(Passes(Udp6(actor), far6_));
  ExpectBystandersUntouched();
  const auto stats = rule->Stats();
  ASSERT_OK(stats.status());
  EXPECT_EQ(stats->rule.hit_packets, 4u * kSome);
  EXPECT_EQ(stats->rule.matched_packets, 4u * kSome);
  EXPECT_EQ(stats->owner_processes, 1u);
  EXPECT_OK(rule->Remove());
  EXPECT_TRUE(Sends(open));
}

TEST_F(TrafficOwnerTest, TakesWhatArrives) {
  const Actor actor;
  const UdpSocket open = Udp(actor), open6 = Udp6(actor);
  auto rule = Add(LossOf(actor.pid(), v1::DIRECTION_INGRESS));
  ASSERT_NE(rule, nullptr);
  EXPECT_FALSE(Receives(open));
  EXPECT_FALSE(Passes(far6_, open6));
  EXPECT_FALSE(Receives(Udp(actor)));
  EXPECT_TRUE(Sends(open));
  ExpectBystandersUntouched();
}

TEST_F(TrafficOwnerTest, OnLoopbackEitherEndMayBeTheOwners) {
  const Actor actor;
  const auto local = [](const Actor* owner) {
    return owner == nullptr ? Descriptor(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))
                            : owner->Socket(AF_INET, SOCK_DGRAM);
  };
  const UdpSocket own(local(&actor), "127.0.0.1"), other(local(nullptr), "127.0.0.1"),
      third(local(nullptr), "127.0.0.1");
  const auto passes = [](const UdpSocket& from, const UdpSocket& to) { return Passes(from, to); };
  for (const auto& [direction, sends, receives] : {std::tuple(v1::DIRECTION_EGRESS, false, true),
                                                   std::tuple(v1::DIRECTION_INGRESS, true, false),
                                                   std::tuple(v1::DIRECTION_BOTH, false, false)}) {
    SCOPED_TRACE(v1::Direction_Name(direction));
    agent::TrafficRuleSpec spec = LossOf(actor.pid(), direction);
    spec.traffic.set_device("lo");
    const auto rule = Add(spec);
    EXPECT_EQ(passes(own, other), sends);
    EXPECT_EQ(passes(other, own), receives);
    EXPECT_TRUE(passes(other, third));
  }
}

TEST_F(TrafficOwnerTest, DescendantsBelongToThemWhateverTheyAreCalled) {
  const Actor actor;
  const Actor before = actor.Fork();
  const UdpSocket of_child = Udp(before);
  auto rule = Add(LossOf(actor.pid()));
  ASSERT_NE(rule, nullptr);
  EXPECT_FALSE(Sends(of_child));
  const Actor later = actor.Fork();
  const Actor grandchild = later.Fork();
  grandchild.TakeName("somebody");
  EXPECT_FALSE(Sends(Udp(later)));
  EXPECT_FALSE(Sends(Udp(grandchild)));
  int attempts = 0;
  while (rule->Stats()->owner_processes != 4u) {
    ASSERT_LT(++attempts, kPatience);
    poll(nullptr, 0, 50);
  }
  ExpectBystandersUntouched();
}

TEST_F(TrafficOwnerTest, AChildAloneIsNotItsParent) {
  const Actor parent;
  const Actor child = parent.Fork();
  const UdpSocket of_parent = Udp(parent), of_child = Udp(child);
  auto rule = Add(LossOf(child.pid()));
  ASSERT_NE(rule, nullptr);
  EXPECT_FALSE(Sends(of_child));
  EXPECT_TRUE(Sends(of_parent));
  EXPECT_TRUE(Sends(Udp(parent)));
}

TEST_F(TrafficOwnerTest, WhatComesToMatchLaterJoinsWithItsOpenSockets) {
  const std::string name = fmt::format("fd{}", getpid());
  Actor first;
  first.TakeName(name);
  const Actor second, bystander;
  const UdpSocket of_first = Udp(first), of_second = Udp(second), of_bystander = Udp(bystander);
  agent::TrafficRuleSpec spec = Loss(1);
  spec.traffic.mutable_owner()->set_name(name);
  auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  EXPECT_FALSE(Sends(of_first));
  EXPECT_TRUE(Sends(of_second));
  // The service ends, and comes back as another process.
  first.Kill();
  second.TakeName(name);
  const Actor birth;  // A restart forks; a mere change of name shows in seconds.
  EXPECT_TRUE(IsNoticed(of_second));
  EXPECT_FALSE(Sends(Udp(second)));
  EXPECT_TRUE(Sends(of_bystander));
  EXPECT_EQ(rule->Stats()->owner_processes, 1u);
}

// By what a chosen program's name says as it is executed, not by looking for it now and then.
TEST_F(TrafficOwnerTest, AProgramOfTheNameJoinsAsItBegins) {
  const std::string name = fmt::format("fdx{}", getpid());
  const std::string path = (std::filesystem::temp_directory_path() / name).string();
  ASSERT_EQ(symlink("/proc/self/exe", path.c_str()), 0);
  const Actor first;
  first.TakeName(name);
  agent::TrafficRuleSpec spec = Loss(1);
  spec.traffic.mutable_owner()->set_name(name);
  auto rule = Add(spec);
  const pid_t child = fork();
  if (child == 0) {
    // Sends at once and ends: nobody who looks now and then would see it.
    execl(path.c_str(), name.c_str(), "--send-and-end", TwoHosts::kFar4,
          std::to_string(kFarPort).c_str(), nullptr);
    _exit(127);
  }
  int status = -1;
  waitpid(child, &status, 0);
  unlink(path.c_str());
  EXPECT_EQ(status, 0);
  EXPECT_EQ(far_.Drain(50), 0);
  EXPECT_EQ(rule->Stats()->rule.hit_packets, 1u);
}

// A cgroup of version 2 of the test's own.
class Cgroup {
 public:
  Cgroup() : path_(fmt::format("/fd-test-{}", getpid())) {
    folder_ = agent::UnifiedCgroupRoot().value() + path_;
    if (mkdir(folder_.c_str(), 0755) < 0) throw std::runtime_error("make " + folder_);
    if (mkdir((folder_ + "/inner").c_str(), 0755) < 0) throw std::runtime_error("make inner");
  }
  ~Cgroup() {
    for (const char* below : {"/inner", ""}) {
      for (int attempt = 0; attempt < 1000 && rmdir((folder_ + below).c_str()) < 0; ++attempt) {
        poll(nullptr, 0, 1);  // The dead leave it a moment later.
      }
    }
  }
  const std::string& path() const { return path_; }
  void Take(const Actor& actor, const char* below = "") const {
    std::ofstream(folder_ + below + "/cgroup.procs") << actor.pid();
  }

 private:
  std::string path_, folder_;
};

TEST_F(TrafficOwnerTest, ACgroupIsAllThatLivesInIt) {
  const Cgroup cgroup;
  const Actor inside, newcomer;
  cgroup.Take(inside, "/inner");
  const UdpSocket of_inside = Udp(inside), of_newcomer = Udp(newcomer);
  agent::TrafficRuleSpec spec = Loss(1, v1::DIRECTION_BOTH);
  spec.traffic.mutable_owner()->set_cgroup(cgroup.path());
  auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  EXPECT_FALSE(Sends(of_inside));
  EXPECT_FALSE(Receives(of_inside));
  EXPECT_TRUE(Sends(of_newcomer));
  cgroup.Take(newcomer);
  EXPECT_FALSE(Sends(Udp(newcomer))) << "at once";
  ExpectBystandersUntouched();
}

Descriptor Tcp(const Actor* owner = nullptr) {
  return owner == nullptr ? TcpSocket() : owner->Socket(AF_INET, SOCK_STREAM);
}

TEST_F(TrafficOwnerTest, ConnectionsThatWereOpenStallAndNewOnesDoNotComeUp) {
  const Actor actor;
  Descriptor listener;
  RunIn(hosts_.far(), [&] {
    listener = Tcp();
    ListenOn(listener, TwoHosts::kFar4, kFarPort);
  });
  Connection own, other;
  own.near = Tcp(&actor);
  ASSERT_TRUE(ConnectTo(own.near, TwoHosts::kFar4, kFarPort, 1000));
  own.far = AcceptFrom(listener);
  other.near = Tcp();
  ASSERT_TRUE(ConnectTo(other.near, TwoHosts::kFar4, kFarPort, 1000));
  other.far = AcceptFrom(listener);
  ASSERT_TRUE(own.NearSends() && own.FarSends() && other.NearSends() && other.FarSends());
  auto rule = Add(LossOf(actor.pid(), v1::DIRECTION_BOTH));
  ASSERT_NE(rule, nullptr);
  EXPECT_FALSE(own.NearSends());
  EXPECT_FALSE(own.FarSends());
  EXPECT_TRUE(other.NearSends() && other.FarSends());
  EXPECT_FALSE(ConnectTo(Tcp(&actor), TwoHosts::kFar4, kFarPort));
  EXPECT_TRUE(ConnectTo(Tcp(), TwoHosts::kFar4, kFarPort, 1000));
}

TEST_F(TrafficOwnerTest, WhatAListenerAcceptsIsItsOwn) {
  const Actor actor, neighbour;
  const Descriptor listener = Tcp(&actor), other_listener = Tcp(&neighbour);
  ListenOn(listener, TwoHosts::kNear4, 7510);
  ListenOn(other_listener, TwoHosts::kNear4, 7511);
  const auto connect = [&](const Descriptor& at, int port) {
    Connection connection;
    RunIn(hosts_.far(), [&] { connection.far = Tcp(); });
    EXPECT_TRUE(ConnectTo(connection.far, TwoHosts::kNear4, port, 1000));
    connection.near = AcceptFrom(at);
    return connection;
  };
  const Connection bystander = connect(other_listener, 7511);
  // Only data is lost, so that new connections come up.
  agent::TrafficRuleSpec spec = Loss(1, v1::DIRECTION_BOTH);
  spec.traffic.set_protocol(v1::PROTOCOL_TCP);
  spec.traffic.set_segments(v1::TCP_SEGMENTS_DATA);
  spec.traffic.mutable_owner()->set_pid(static_cast<std::uint32_t>(actor.pid()));
  auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  const Connection after = connect(listener, 7510);
  EXPECT_FALSE(after.NearSends());
  EXPECT_FALSE(after.FarSends());
  EXPECT_TRUE(bystander.NearSends() && bystander.FarSends());
  EXPECT_TRUE(connect(other_listener, 7511).NearSends());
  rule = nullptr;
  // Neither does its SYN-ACK get out once everything is lost: it is the listener's.
  rule = Add(LossOf(actor.pid()));
  Descriptor client;
  RunIn(hosts_.far(), [&] { client = Tcp(); });
  EXPECT_FALSE(ConnectTo(client, TwoHosts::kNear4, 7510));
}

TEST_F(TrafficOwnerTest, WhoListensOnAPortIsChosenByIt) {
  const Actor actor, neighbour;
  ListenOn(Tcp(&actor), TwoHosts::kNear4, 7520);
  ListenOn(Tcp(&neighbour), TwoHosts::kNear4, 7521);
  const UdpSocket own = Udp(actor), other = Udp(neighbour);
  agent::TrafficRuleSpec spec = Loss(1);
  spec.traffic.mutable_owner()->set_listening_port(7520);
  auto rule = Add(spec);
  ASSERT_NE(rule, nullptr);
  EXPECT_FALSE(Sends(own)) << "all of its packets, not only those of the port";
  EXPECT_TRUE(Sends(other));
  ExpectBystandersUntouched();
}

TEST_F(TrafficOwnerTest, RulesOfDifferentOwnersAreIndependent) {
  const Actor first, second;
  const UdpSocket of_first = Udp(first), of_second = Udp(second);
  auto rule_of_first = Add(LossOf(first.pid()));
  auto rule_of_second = Add(LossOf(second.pid()));
  ASSERT_TRUE(rule_of_first != nullptr && rule_of_second != nullptr);
  EXPECT_FALSE(Sends(of_first));
  EXPECT_FALSE(Sends(of_second));
  rule_of_first = nullptr;
  EXPECT_TRUE(Sends(of_first));
  EXPECT_FALSE(Sends(of_second));
  EXPECT_EQ(rule_of_second->Stats()->rule.hit_packets, 2u * kSome);
  rule_of_second = nullptr;
  // Slots are used in turn: when the first one comes round again it knows nobody of before.
  for (int turn = 0; turn < FD_MAX_RULES - 2; ++turn) {
    agent::TrafficRuleSpec spec = Loss(1);
    spec.traffic.add_ports("9");
    const auto passing = Add(spec);
    ASSERT_NE(passing, nullptr);
  }
  auto again = Add(LossOf(second.pid()));
  EXPECT_TRUE(Sends(of_first));
  EXPECT_FALSE(Sends(of_second));
}

TEST_F(TrafficOwnerTest, OwnersNarrowWhatOtherFieldsChoose) {
  const Actor actor;
  const UdpSocket own = Udp(actor);
  agent::TrafficRuleSpec spec = LossOf(actor.pid());
  spec.traffic.add_remote_ports("7501");
  auto rule = Add(spec);
  EXPECT_TRUE(Sends(own));
  spec.traffic.set_remote_ports(0, std::to_string(kFarPort));
  rule = Add(spec);
  EXPECT_FALSE(Sends(own));
  ExpectBystandersUntouched();
  rule = nullptr;
  spec.traffic.mutable_exclude()->add_addresses(TwoHosts::kFar4);
  rule = Add(spec);
  EXPECT_TRUE(Sends(own)) << "exclusions win";
}

TEST_F(TrafficOwnerTest, RefusesWhomItCannotTell) {
  StartEngine();
  agent::TrafficRuleSpec spec = Loss(1);
  spec.traffic.mutable_owner()->set_name("no-such-process");
  EXPECT_EQ(engine_->AddRule(spec).status().code(), absl::StatusCode::kNotFound);
  std::unique_ptr<Actor> elsewhere;
  RunIn(hosts_.far(), [&] { elsewhere = std::make_unique<Actor>(); });
  const absl::Status refused = engine_->AddRule(LossOf(elsewhere->pid())).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(refused.message().find("another network namespace"), std::string::npos) << refused;
  EXPECT_EQ(engine_->RuleCount(), 0);
  EXPECT_EQ(AttachedCount("eth0"), 0);
  // The agent's family is never chosen, nor are its children.
  const Actor family;
  spec = LossOf(family.pid());
  spec.spared.insert(family.pid());
  EXPECT_EQ(engine_->AddRule(spec).status().code(), absl::StatusCode::kNotFound);
  ExpectBystandersUntouched();
}

// Programs at the hook for new sockets of the root cgroup.
int CgroupPrograms() {
  const std::string root = agent::UnifiedCgroupRoot().value();
  const Descriptor folder(open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  __u32 ids[64] = {};
  __u32 count = 64;
  __u32 flags = 0;
  EXPECT_EQ(bpf_prog_query(folder.get(), BPF_CGROUP_INET_SOCK_CREATE, 0, &flags, ids, &count), 0);
  return static_cast<int>(count);
}

TEST_F(TrafficOwnerTest, AllIsGoneWithItsProcess) {
  const int before = CgroupPrograms();
  const Actor actor;
  const UdpSocket own = Udp(actor);
  HolderProcess holder({.journal = journal_.folder(), .lease_ms = 2000, .owner_pid = actor.pid()});
  EXPECT_FALSE(Sends(own));
  EXPECT_TRUE(Sends(bystander_));
  EXPECT_EQ(CgroupPrograms(), before + 1);
  holder.Signal(SIGKILL);
  // Before Linux 6.6 the filter stays and passes everything once the lease of 2 s is over.
  constexpr int kLeaseAndMore = 30;  // tries, of 100 ms
  int attempts = 0;
  while (!Sends(own)) {
    ASSERT_LT(++attempts, kLeaseAndMore);
    poll(nullptr, 0, 70);
  }
  while (CgroupPrograms() > before) {
    ASSERT_LT(++attempts, kPatience);
    poll(nullptr, 0, 50);
  }
  EXPECT_TRUE(Sends(Udp(actor)));
  EXPECT_OK(journal_.Replay());
}

TEST_F(TrafficOwnerTest, NobodyPaysForOwnersThatNoRuleAsksFor) {
  const int before = CgroupPrograms();
  auto without = Add(Loss(0.1));
  EXPECT_EQ(CgroupPrograms(), before);
  const Actor actor;
  auto with = Add(LossOf(actor.pid()));
  EXPECT_EQ(CgroupPrograms(), before + 1);
  with = nullptr;
  EXPECT_EQ(CgroupPrograms(), before);
}

TEST(OwnedSocketsTest, ThisKernelHasWhatItTakes) { EXPECT_OK(agent::ProbeOwnedSockets()); }

}  // namespace
}  // namespace firedrill::testing
