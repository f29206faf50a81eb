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
  for (const char* fault : {"packet_loss", "latency", "cpu"}) {
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

TEST(FaultWordsTest, SayWhatPeersWillFeel) {
  v1::Fault fault;
  *fault.mutable_latency()->mutable_delay() = ToProto(std::chrono::milliseconds(50));
  EXPECT_THAT(EffectsInWords(fault)[0], HasSubstr("2 × 50ms = 100ms on each round trip"));
  EXPECT_THAT(EffectsInWords(fault)[1], HasSubstr("200ms more"));
  fault.mutable_latency()->mutable_traffic()->set_direction(v1::DIRECTION_EGRESS);
  EXPECT_EQ(EffectsInWords(fault)[0], "50ms on each round trip");
  fault.mutable_packet_loss()->set_percent(10);
  EXPECT_THAT(EffectsInWords(fault)[0], HasSubstr("81 % of cases"));
  fault.mutable_cpu()->set_percent(80);
  EXPECT_THAT(EffectsInWords(fault)[0], HasSubstr("20 % of every core is left"));
}

TEST(FaultWordsTest, SayWhatTheFaultDoesOnOneLine) {
  v1::Fault fault;
  v1::Traffic* traffic = fault.mutable_packet_loss()->mutable_traffic();
  fault.mutable_packet_loss()->set_percent(33);
  traffic->set_protocol(v1::PROTOCOL_TCP);
  traffic->add_ports("6379");
  traffic->mutable_exclude()->add_ports("22");
  EXPECT_EQ(FaultInWords(fault),
            "drop 33 % of TCP packets, both directions, port 6379, never port 22");
  fault.mutable_process_kill()->mutable_processes()->set_name("redis-server");
  EXPECT_EQ(FaultInWords(fault), "send KILL to 1 of the processes named redis-server");
}

}  // namespace
}  // namespace firedrill::controller
