// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "controller/plan/planner.h"
#include "controller/plan/words.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

v1::Agent MakeAgent(const std::string& id, const std::string& role,
                    const std::string& environment = "staging") {
  v1::Agent agent;
  agent.set_state(v1::AGENT_STATE_CONNECTED);
  v1::Hello* hello = agent.mutable_hello();
  hello->set_agent_id(id);
  hello->set_environment(environment);
  hello->set_software_version("0.1.0");
  (*hello->mutable_labels())["role"] = role;
  for (const char* fault : {"packet_loss", "latency", "cpu", "partition", "bandwidth"}) {
    v1::FaultSupport* support = hello->add_faults();
    support->set_fault(fault);
    support->set_supported(true);
  }
  v1::FaultSupport* kill = hello->add_faults();
  kill->set_fault("process_kill");
  kill->set_reason("its owner does not allow it (--allow process_kill)");
  return agent;
}

class PlannerTest : public ::testing::Test {
 protected:
  PlannerTest() {
    experiment_.set_name("cache-loss");
    experiment_.set_environment("staging");
    Target().mutable_labels()->insert({"role", "cache"});
    v1::Step* step = experiment_.add_method();
    step->set_name("lose packets");
    step->set_target("cache");
    *step->mutable_duration() = ToProto(std::chrono::minutes(1));
    step->mutable_fault()->mutable_packet_loss()->set_percent(33);
    context_.agents = {MakeAgent("cache1", "cache"), MakeAgent("cache2", "cache"),
                       MakeAgent("cache3", "cache"), MakeAgent("web1", "web")};
    context_.has_probe = true;
    context_.random = [this](std::uint64_t below) { return random_ % below; };
  }

  v1::Target& Target() { return (*experiment_.mutable_targets())["cache"]; }
  PlanResult Make() { return MakePlan(experiment_, context_); }
  std::string Fatal() { return FatalProblems(Make().plan); }
  static std::vector<std::string> Hosts(const PlanResult& result) {
    std::vector<std::string> hosts;
    for (const v1::Injection& injection : result.injections) hosts.push_back(injection.host());
    return hosts;
  }

  v1::Experiment experiment_;
  PlanContext context_;
  std::uint64_t random_ = 0;
};

TEST_F(PlannerTest, TakesOneHostAtRandomUnlessToldOtherwise) {
  EXPECT_THAT(Hosts(Make()), ElementsAre("cache1"));
  random_ = 1;
  const PlanResult result = Make();
  EXPECT_THAT(Hosts(result), ElementsAre("cache2"));
  ASSERT_EQ(result.plan.problems_size(), 1);
  EXPECT_FALSE(result.plan.problems(0).fatal());
  EXPECT_THAT(result.plan.problems(0).message(), HasSubstr("1 of 3 hosts, chosen at random"));
  EXPECT_EQ(result.injections[0].state(), v1::INJECTION_STATE_PLANNED);
  EXPECT_EQ(FromProto(result.plan.length()), std::chrono::minutes(1));
}

TEST_F(PlannerTest, PicksByNumberShareOrAll) {
  Target().mutable_pick()->set_count(2);
  EXPECT_THAT(Hosts(Make()), ElementsAre("cache1", "cache2"));
  Target().mutable_pick()->set_percent(34);
  EXPECT_EQ(Make().injections.size(), 2U) << "rounded up";
  Target().mutable_pick()->set_percent(100);
  EXPECT_EQ(Make().injections.size(), 3U);
  Target().mutable_pick()->set_all(true);
  EXPECT_THAT(Hosts(Make()), ElementsAre("cache1", "cache2", "cache3"));
  Target().mutable_pick()->set_count(4);
  EXPECT_THAT(Fatal(), HasSubstr("4 wanted, 3 qualify"));
  EXPECT_THAT(Make().injections, IsEmpty());
}

TEST_F(PlannerTest, TakesNamedHosts) {
  Target().clear_labels();
  Target().add_hosts("cache3");
  EXPECT_THAT(Hosts(Make()), ElementsAre("cache3"));
  Target().set_hosts(0, "cache9");
  EXPECT_THAT(Fatal(), HasSubstr("no agent cache9 has ever connected"));
}

TEST_F(PlannerTest, EveryStepOfATargetGetsTheSameHosts) {
  *experiment_.add_method() = experiment_.method(0);
  experiment_.mutable_method(1)->set_name("again");
  random_ = 2;
  EXPECT_THAT(Hosts(Make()), ElementsAre("cache3", "cache3"));
  EXPECT_EQ(FromProto(Make().plan.injections(1).starts_at()), std::chrono::minutes(1));
}

TEST_F(PlannerTest, ShowsTheFleetWhenNothingMatches) {
  Target().mutable_labels()->at("role") = "db";
  EXPECT_THAT(Fatal(), AllOf(HasSubstr("target cache (role=db): no connected agent qualifies"),
                             HasSubstr("cache1 (role=cache)"), HasSubstr("web1 (role=web)")));
  context_.agents.clear();
  EXPECT_THAT(Fatal(), HasSubstr("no agent is connected at all"));
}

TEST_F(PlannerTest, LeavesOutHostsThatDoNotQualifyAndSaysWhy) {
  context_.agents[0].set_state(v1::AGENT_STATE_GONE);
  context_.agents[1].mutable_hello()->set_environment("production");
  PlanResult result = Make();
  EXPECT_THAT(Hosts(result), ElementsAre("cache3"));
  EXPECT_THAT(result.plan.problems(0).message(),
              AllOf(HasSubstr("cache1 is gone since"),
                    HasSubstr("cache2 declares environment production, not staging")));
  context_.agents[2].set_state(v1::AGENT_STATE_DRAINING);
  EXPECT_THAT(Fatal(), HasSubstr("cache3 is stopping"));
}

TEST_F(PlannerTest, AllMeansAll) {
  Target().mutable_pick()->set_all(true);
  context_.agents[0].set_state(v1::AGENT_STATE_GONE);
  EXPECT_THAT(Fatal(), HasSubstr("not all qualify; cache1 is gone"));
}

TEST_F(PlannerTest, LeavesOutHostsOfAnotherRun) {
  context_.busy_hosts = {{"cache1", "r7"}, {"cache2", "r7"}, {"cache3", "r8"}};
  EXPECT_THAT(Fatal(), AllOf(HasSubstr("cache1 is in use by run r7"),
                             HasSubstr("cache3 is in use by run r8")));
}

TEST_F(PlannerTest, GivesTheHostsReasonForAFaultThatItCannotDo) {
  experiment_.mutable_method(0)->mutable_fault()->mutable_process_kill();
  EXPECT_THAT(Fatal(), HasSubstr("cache1 cannot do process_kill: its owner does not allow it"));
  for (v1::Agent& agent : context_.agents) agent.mutable_hello()->clear_faults();
  EXPECT_THAT(Fatal(), HasSubstr("cache1 (version 0.1.0) does not know process_kill"));
}

// A parameter may need more of the host than the kind does.
TEST_F(PlannerTest, RefusesAHostThatLacksWhatAParameterNeeds) {
  v1::PacketLoss& loss = *experiment_.mutable_method(0)->mutable_fault()->mutable_packet_loss();
  loss.mutable_traffic()->mutable_owner()->set_name("redis-server");
  Target().mutable_pick()->set_all(true);
  EXPECT_THAT(Fatal(), HasSubstr("cache1 (version 0.1.0) does not know traffic_owner, which this "
                                 "packet_loss needs"));
  for (v1::Agent& agent : context_.agents) {
    v1::Ability& ability = *agent.mutable_hello()->add_abilities();
    ability.set_name("traffic_owner");
    ability.set_available(agent.hello().agent_id() != "cache2");
    ability.set_reason("no cgroup v2 is mounted");
  }
  EXPECT_THAT(Fatal(), HasSubstr("cache2 lacks traffic_owner, which this packet_loss needs: no "
                                 "cgroup v2 is mounted"));
  Target().mutable_pick()->set_count(2);
  EXPECT_THAT(Hosts(Make()), ElementsAre("cache1", "cache3"));
  loss.clear_traffic();
  Target().mutable_pick()->set_all(true);
  EXPECT_EQ(Fatal(), "") << "without the parameter nothing is needed";
}

class PartitionPlanTest : public PlannerTest {
 protected:
  PartitionPlanTest() {
    v1::Fault& fault = *experiment_.mutable_method(0)->mutable_fault();
    fault.mutable_partition()->set_from("web");
    (*(*experiment_.mutable_targets())["web"].mutable_labels())["role"] = "web";
    (*experiment_.mutable_targets())["web"].mutable_pick()->set_all(true);
    context_.agents.push_back(MakeAgent("web2", "web"));
    Address("cache1", {"10.0.0.1", "2001:db8::1"});
    Address("cache2", {"10.0.0.2"});
    Address("cache3", {"10.0.0.3"});
    Address("web1", {"10.0.1.1", "2001:db8:1::1"});
    Address("web2", {"10.0.1.2"});
  }
  void Address(const std::string& id, const std::vector<std::string>& addresses) {
    for (v1::Agent& agent : context_.agents) {
      if (agent.hello().agent_id() != id) continue;
      agent.mutable_hello()->clear_addresses();
      for (const std::string& address : addresses) agent.mutable_hello()->add_addresses(address);
    }
  }
  static std::vector<std::string> Cut(const v1::Injection& injection) {
    const auto& addresses = injection.fault().partition().addresses();
    return {addresses.begin(), addresses.end()};
  }
};

TEST_F(PartitionPlanTest, PutsTheOtherSidesAddressesIntoEachInjection) {
  const PlanResult result = Make();
  EXPECT_EQ(FatalProblems(result.plan), "");
  ASSERT_THAT(Hosts(result), ElementsAre("cache1")) << "the other side needs no part in it";
  EXPECT_THAT(Cut(result.injections[0]), ElementsAre("10.0.1.1", "2001:db8:1::1", "10.0.1.2"));
  EXPECT_EQ(result.injections[0].fault().partition().from(), "web");
  EXPECT_EQ(result.plan.injections(0).fault(),
            "cut off from web (10.0.1.1, 2001:db8:1::1, 10.0.1.2): packets, both directions");
  EXPECT_EQ(result.plan.injections(0).effects(0),
            "nothing passes between cache1 and web1 (10.0.1.1, 2001:db8:1::1), web2 (10.0.1.2)");
}

TEST_F(PartitionPlanTest, AHostNeverGetsItsOwnAddresses) {
  // The other side is everything, this host among it, and behind an address that two hosts share.
  v1::Target& web = (*experiment_.mutable_targets())["web"];
  web.clear_labels();
  for (const char* host : {"cache1", "cache2", "web1"}) web.add_hosts(host);
  Address("web1", {"10.0.0.1", "10.0.1.1"});
  experiment_.mutable_method(0)->mutable_fault()->mutable_partition()->add_addresses("10.0.0.1");
  experiment_.mutable_method(0)->mutable_fault()->mutable_partition()->add_addresses("10.9.0.0/16");
  const PlanResult result = Make();
  EXPECT_EQ(FatalProblems(result.plan), "");
  EXPECT_THAT(Cut(result.injections[0]), ElementsAre("10.9.0.0/16", "10.0.0.2", "10.0.1.1"));
}

TEST_F(PartitionPlanTest, RefusesAnOtherSideWithoutAnAddress) {
  Address("web2", {});
  EXPECT_THAT(Fatal(), HasSubstr("step lose packets: web2, on the other side of the partition, has "
                                 "told no address"));
  Address("web2", {"10.0.0.1"});
  Address("web1", {"10.0.0.1"});
  EXPECT_THAT(Fatal(), HasSubstr("nothing is on the other side of cache1's partition from web"));
}

TEST_F(PlannerTest, SaysWhatOverlappingStepsDoTogether) {
  const auto latency = [](int milliseconds) {
    v1::Fault fault;
    *fault.mutable_latency()->mutable_delay() = ToProto(std::chrono::milliseconds(milliseconds));
    return fault;
  };
  *experiment_.mutable_method(0)->mutable_fault() = latency(50);
  *experiment_.add_method() = experiment_.method(0);
  experiment_.mutable_method(1)->set_name("more");
  *experiment_.mutable_method(1)->mutable_fault() = latency(20);
  *experiment_.mutable_method(1)->mutable_at() = ToProto(std::chrono::seconds(10));
  const auto together = [this] {
    const PlanResult result = Make();
    for (const std::string& effect : result.plan.injections(1).effects()) {
      if (effect.rfind("together", 0) == 0) return effect;
    }
    return std::string();
  };
  EXPECT_EQ(together(),
            "together with \"lose packets\", on packets that both match: 50ms + 20ms = 70ms, 140ms "
            "on each round trip");
  // One after the other, or on packets that cannot be the same, they do nothing together.
  experiment_.mutable_method(1)->clear_at();
  EXPECT_EQ(together(), "");
  *experiment_.mutable_method(1)->mutable_at() = ToProto(std::chrono::seconds(10));
  const auto traffic = [this](int step) {
    return experiment_.mutable_method(step)->mutable_fault()->mutable_latency()->mutable_traffic();
  };
  traffic(0)->set_protocol(v1::PROTOCOL_TCP);
  traffic(1)->set_protocol(v1::PROTOCOL_UDP);
  EXPECT_EQ(together(), "");
  traffic(1)->set_protocol(v1::PROTOCOL_TCP);
  traffic(0)->add_remote_ports("80");
  traffic(1)->add_remote_ports("8000-8100");
  EXPECT_EQ(together(), "");
  traffic(1)->add_remote_ports("79-81");
  EXPECT_THAT(together(), HasSubstr("= 70ms"));
  // Losses multiply.
  for (int i = 0; i < 2; ++i) {
    experiment_.mutable_method(i)->mutable_fault()->mutable_packet_loss()->set_percent(50);
  }
  EXPECT_THAT(together(), HasSubstr("75 % are lost in all"));
}

TEST_F(PlannerTest, NeedsAPrometheusForWhatIsMeasured) {
  context_.has_probe = false;
  EXPECT_EQ(Fatal(), "") << "nothing is measured";
  experiment_.add_detection()->set_alert("ShopSlow");
  experiment_.add_stop_when()->set_query("up == 0");
  EXPECT_THAT(Fatal(), HasSubstr("detection and stop_when needs a Prometheus"));
  context_.has_probe = true;
  EXPECT_EQ(Fatal(), "");
}

TEST_F(PlannerTest, WarnsOfAHostsCap) {
  context_.agents[0].mutable_hello()->set_live_fault_cap(1);
  context_.agents[0].mutable_last_heartbeat()->set_live_faults(1);
  const PlanResult result = Make();
  EXPECT_THAT(result.plan.problems(1).message(), HasSubstr("cache1 allows 1 live faults"));
}

TEST_F(PlannerTest, SaysInWordsWhatGuardsTheRun) {
  v1::Indicator* indicator = experiment_.add_steady_state();
  indicator->set_name("success ratio");
  indicator->mutable_expect()->set_operator_(v1::OPERATOR_GREATER_OR_EQUAL);
  indicator->mutable_expect()->set_value(0.99);
  experiment_.add_detection()->set_alert("ShopSlow");
  experiment_.add_stop_when()->set_query("sum(up) == 0");
  const v1::Plan plan = Make().plan;
  EXPECT_THAT(plan.guards(0), HasSubstr("success ratio was >= 0.99 for 10s"));
  EXPECT_THAT(plan.guards(1), HasSubstr("alert ShopSlow is not firing"));
  EXPECT_THAT(plan.guards(2), HasSubstr("stops when \"sum(up) == 0\" holds"));
}

}  // namespace
}  // namespace firedrill::controller
