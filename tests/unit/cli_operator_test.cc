// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "controller/cli/view/text_width.h"
#include "nlohmann/json.hpp"
#include "proto/support/credentials.h"
#include "tests/unit/cli_command_fixture.h"

namespace firedrill::cli {
namespace {

using test::FinishedRun;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

using OperatorCommandTest = CommandTest;

v1::Agent MakeAgent(const std::string& id, const std::string& role,
                    const std::string& environment) {
  v1::Agent agent;
  agent.set_state(v1::AGENT_STATE_CONNECTED);
  v1::Hello& hello = *agent.mutable_hello();
  hello.set_agent_id(id);
  hello.set_environment(environment);
  hello.set_live_fault_cap(8);
  (*hello.mutable_labels())["role"] = role;
  v1::FaultSupport& fault = *hello.add_faults();
  fault.set_fault("latency");
  fault.set_reason("this kernel has no sch_fq: load it");
  return agent;
}

// An example that the command itself would refuse helps nobody.
TEST_F(OperatorCommandTest, AControllerThatIsNotThereIsCode4WithAHint) {
  const Result result = Run({"get", "runs", "--insecure", "--controller", "127.0.0.1:1"});
  EXPECT_EQ(result.code, 4);
  EXPECT_EQ(result.err,
            "firedrill: controller 127.0.0.1:1 cannot be reached: Connection refused\n"
            "hint: nothing listens there: is the controller running, and is the port right?\n");
}

// The messages are gRPC's own, as its version in Debian 12 words them.
TEST(ConnectionHintTest, TellsTheWaysApartInWhichAConnectionFails) {
  const std::string tls = "Ssl handshake failed: SSL_ERROR_SSL: error:";
  const std::pair<std::string, const char*> cases[] = {
      {tls + "0A000086:SSL routines::certificate verify failed", "of another CA"},
      {tls + "0A00010B:SSL routines::wrong version number", "does not speak TLS"},
      {"tcp handshaker shutdown", "nobody answers at that address"},
      {"Socket closed", "(--cert) of the controller's CA"},
      {"Connection refused", "nothing listens there"}};
  for (const auto& [message, hint] : cases) {
    EXPECT_THAT(ConnectionHint(absl::UnavailableError(message)), HasSubstr(hint)) << message;
  }
  EXPECT_EQ(ConnectionHint(absl::NotFoundError("Connection refused")), "");
}

TEST_F(OperatorCommandTest, WhatTheControllerRefusesHasItsCode) {
  fake_.refuse = absl::PermissionDeniedError("observers may not do this");
  Result result = Ask({"halt"});
  EXPECT_EQ(result.code, 4);
  EXPECT_THAT(result.err, HasSubstr("refuses: observers may not do this"));
  EXPECT_THAT(result.err, HasSubstr("Faults end by themselves"));
  fake_.refuse = absl::FailedPreconditionError("cache-loss is running already");
  result = Ask({"run", Write("good.yaml", kExperiment)});
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.err, "firedrill: cache-loss is running already\n");
}

TEST_F(OperatorCommandTest, RunFollowsToTheVerdictAndItsCode) {
  const struct {
    v1::Verdict verdict;
    int code;
  } verdicts[] = {{v1::VERDICT_PASSED, 0},
                  {v1::VERDICT_FAILED, 1},
                  {v1::VERDICT_ABORTED, 3},
                  {v1::VERDICT_UNCLEAN, 5},
                  {v1::VERDICT_INCONCLUSIVE, 6}};
  const std::string file = Write("good.yaml", kExperiment);
  for (const auto& expected : verdicts) {
    fake_.on_start = [&](v1::Run& run) {
      const std::string id = run.id();
      run = FinishedRun(expected.verdict);
      run.set_id(id);
    };
    const Result result = Ask({"run", file});
    EXPECT_EQ(result.code, expected.code) << result.out << result.err;
    EXPECT_THAT(result.out, HasSubstr("alert firing    ShopSlow"));
    EXPECT_THAT(result.out, HasSubstr("detect    12.3s ± 2ms  detected by ShopSlow"));
    EXPECT_THAT(result.out, Not(HasSubstr("\x1b")));
  }
}

TEST_F(OperatorCommandTest, RunAsJsonPrintsOnlyTheFinishedRun) {
  fake_.on_start = [](v1::Run& run) {
    const std::string id = run.id();
    run = FinishedRun(v1::VERDICT_PASSED);
    run.set_id(id);
  };
  const Result result = Ask({"run", "-o", "json", Write("good.yaml", kExperiment)});
  EXPECT_EQ(result.code, 0);
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json["verdict"]["verdict"], "VERDICT_PASSED");
  EXPECT_EQ(json["injections"][0]["end_proven"], true);
  EXPECT_THAT(result.err, HasSubstr("first impact"));
}

TEST_F(OperatorCommandTest, RunDetachedReturnsAtOnce) {
  const Result result = Ask({"run", "--detach", Write("good.yaml", kExperiment)});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.out, HasSubstr("firedrill abort " + fake_.WaitForRun()));
  EXPECT_EQ(fake_.Get(fake_.WaitForRun()).state(), v1::RUN_STATE_PLANNED);
}

TEST_F(OperatorCommandTest, ABadFileNeverReachesTheController) {
  const std::string bad = Write("bad.yaml", "name: x\n");
  for (const char* command : {"run", "plan", "apply"}) {
    EXPECT_EQ(Ask({command, bad}).code, 2) << command;
  }
  EXPECT_EQ(Ask({"apply", Write("good.yaml", kExperiment), bad}).code, 2);
  EXPECT_EQ(fake_.starts(), 0);
  EXPECT_THAT(fake_.experiments(), IsEmpty());
}

TEST_F(OperatorCommandTest, AppliesListsDescribesAndDeletesExperiments) {
  const std::string file = Write("good.yaml", kExperiment);
  EXPECT_EQ(Ask({"apply", file}).out, "cache-loss stored\n");
  EXPECT_EQ(Ask({"apply", file}).out, "cache-loss replaced\n");
  EXPECT_THAT(Ask({"get", "experiments"}).out, HasSubstr("cache-loss  staging"));
  // What describe prints is a file again.
  const std::string written =
      Write("again.yaml", Ask({"describe", "experiment", "cache-loss"}).out);
  EXPECT_EQ(Run({"validate", written}).code, 0);
  EXPECT_THAT(Ask({"describe", "experiment", "cache-los"}).err,
              HasSubstr("did you mean cache-loss?"));
  EXPECT_EQ(Ask({"delete", "cache-loss"}).code, 0);
  const Result again = Ask({"delete", "cache-loss"});
  EXPECT_EQ(again.code, 2);
  EXPECT_EQ(again.err,
            "firedrill: no experiment cache-loss\nhint: firedrill get experiments lists them\n");
}

TEST_F(OperatorCommandTest, PlanShowsHostsGuardsAndWhatIsInTheWay) {
  v1::PlannedInjection& injection = *fake_.plan.add_injections();
  injection.set_step("lose");
  injection.set_host("cache1");
  injection.set_fault("loses 33 %");
  injection.mutable_starts_at()->set_seconds(5);
  injection.mutable_duration()->set_seconds(60);
  injection.add_effects("web1 waits longer");
  fake_.plan.add_guards("stops when everything is down");
  fake_.plan.mutable_length()->set_seconds(65);
  const std::string file = Write("good.yaml", kExperiment);
  Result result = Ask({"plan", file});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.out, HasSubstr("+5s     1m   cache1  lose  loses 33 %\n"));
  EXPECT_THAT(result.out, HasSubstr("felt:   web1 waits longer"));
  EXPECT_THAT(result.out, HasSubstr("guard:  stops when everything is down"));
  EXPECT_THAT(result.out, HasSubstr("takes 1m5s. Nothing was changed."));
  // Rows go by time, whatever the order of the steps.
  *fake_.plan.add_injections() = injection;
  fake_.plan.mutable_injections(1)->mutable_starts_at()->set_seconds(2);
  result = Ask({"plan", file});
  EXPECT_LT(result.out.find("+2s"), result.out.find("+5s"));
  v1::PlanProblem& problem = *fake_.plan.add_problems();
  problem.set_fatal(true);
  problem.set_message("no agent matches cache");
  result = Ask({"plan", file});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.out, HasSubstr("would not start: no agent matches cache"));
}

TEST_F(OperatorCommandTest, GetsAndReportsRuns) {
  const v1::Run run = FinishedRun(v1::VERDICT_FAILED);
  EXPECT_THAT(Ask({"get", "runs"}).out, HasSubstr("No runs yet"));
  fake_.Update(run.id(), [&](v1::Run& to) { to = run; });
  EXPECT_THAT(Ask({"get", "runs"}).out,
              HasSubstr("failed   12.3s           1m8s             after the end"));
  EXPECT_EQ(nlohmann::json::parse(Ask({"get", "runs", "-o", "json"}).out)["runs"].size(), 1U);
  EXPECT_THAT(Ask({"get", "runs", "--experiment", "other"}).out,
              HasSubstr("No runs of an experiment other."));
  EXPECT_THAT(Ask({"get", "run", run.id()}).out, HasSubstr("first impact    cache1"));
  EXPECT_THAT(Ask({"describe", "run", run.id()}).out, HasSubstr("packets_dropped=1234567"));
  EXPECT_THAT(Ask({"report", run.id()}).out, StartsWith("# cache-loss: failed"));
  EXPECT_THAT(Ask({"report", run.id(), "--format", "plain"}).out, StartsWith(run.id()));
  EXPECT_EQ(nlohmann::json::parse(Ask({"report", run.id(), "-f", "json"}).out)["id"], run.id());
  const Result none = Ask({"get", "run", "2020"});
  EXPECT_EQ(none.code, 2);
  EXPECT_EQ(none.err, "firedrill: no run begins with 2020\nhint: firedrill get runs lists them\n");
}

TEST_F(OperatorCommandTest, GetsAndDescribesAgents) {
  EXPECT_THAT(Ask({"get", "agents"}).out, HasSubstr("No agents yet"));
  fake_.agents = {MakeAgent("web1", "web", "staging")};
  EXPECT_THAT(Ask({"get", "agents"}).out, HasSubstr("web1   connected  staging      0 of 8"));
  const std::string agent = Ask({"describe", "agent", "web1"}).out;
  EXPECT_THAT(agent, HasSubstr("latency  no        this kernel has no sch_fq: load it"));
  EXPECT_THAT(Ask({"describe", "agent", "web2"}).err, HasSubstr("did you mean web1?"));
}

TEST_F(OperatorCommandTest, AbortsAndHalts) {
  fake_.Update("run1", [](v1::Run& run) { run.set_state(v1::RUN_STATE_INJECTING); });
  EXPECT_EQ(Ask({"abort", "run1", "--reason", "customers"}).out, "run1 is over: aborted\n");
  EXPECT_EQ(fake_.abort_reason(), "customers");
  EXPECT_THAT(Ask({"halt"}).out, HasSubstr("2 hosts were told to end every fault\naborted run1"));
}

TEST_F(OperatorCommandTest, InjectTakesTheEnvironmentThatTheAgentsDeclare) {
  const std::vector<std::string> inject = {"inject", "process_kill", "--name",  "redis-server",
                                           "-t",     "role=cache",   "--detach"};
  fake_.agents = {MakeAgent("cache1", "cache", "staging"), MakeAgent("web1", "web", "production")};
  EXPECT_EQ(Ask(inject).code, 0);
  EXPECT_EQ(fake_.Get(fake_.WaitForRun()).experiment().environment(), "staging");

  fake_.agents.push_back(MakeAgent("cache2", "cache", "test"));
  EXPECT_THAT(Ask(inject).err,
              HasSubstr("the agents that match declare staging or test; name one"));
  fake_.agents = {MakeAgent("cache1", "cache", "production")};
  EXPECT_THAT(Ask(inject).err,
              HasSubstr("name it, if that is what you mean: --environment production"));
  fake_.agents.clear();
  EXPECT_THAT(Ask(inject).err,
              HasSubstr("--target: no agent that is connected carries role=cache; firedrill get"));
  fake_.agents = {MakeAgent("cache1", "cache", "staging")};
  EXPECT_THAT(Ask({"inject", "cpu", "--percent", "5", "--host", "cach1", "--duration", "5s"}).err,
              HasSubstr("--host: no agent that is connected is cach1; did you mean cache1?"));
  EXPECT_EQ(fake_.starts(), 1);
}

TEST_F(OperatorCommandTest, DoctorSaysWhatIsMissingAndGoesOn) {
  const Result result = Ask({"doctor"});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.out, HasSubstr("this host: "));
  EXPECT_THAT(result.out, HasSubstr("controller: reachable at " + fake_.address()));
  const Result away = Run({"doctor", "--insecure", "--controller", "127.0.0.1:1"});
  EXPECT_EQ(away.code, 4);
  EXPECT_THAT(away.out, HasSubstr("controller: not usable"));
}

v1::PreviewResponse Counts(const std::string& host, double packets, double bytes, bool done) {
  v1::PreviewResponse response;
  response.set_host(host);
  (*response.mutable_counters())["packets_matched"] = packets;
  (*response.mutable_counters())["bytes_matched"] = bytes;
  response.set_done(done);
  return response;
}

TEST_F(OperatorCommandTest, PreviewShowsWhatWouldBeTouched) {
  fake_.previews = {Counts("cache1", 10, 1000, false), Counts("cache2", 0, 0, false),
                    Counts("cache1", 500, 64000, true), Counts("cache2", 0, 0, true)};
  const std::vector<std::string> words = {"preview",  "packet_loss", "--port",        "6379",
                                          "--target", "role=cache",  "--target-pick", "all"};
  const Result result = Ask(words);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out,
            "HOST    PACKETS  PACKETS/S  BYTES  BYTES/S\n"
            "cache1  500      100        64000  12800\n"
            "cache2  0        0          0      0\n"
            "\n5s on 2 hosts; nothing was touched.\n");
  const v1::PreviewRequest asked = fake_.preview_request();
  EXPECT_EQ(asked.duration().seconds(), 5);
  EXPECT_EQ(asked.target().labels().at("role"), "cache");
  EXPECT_TRUE(asked.target().pick().all());
  EXPECT_EQ(asked.fault().packet_loss().traffic().ports(0), "6379");

  std::vector<std::string> as_json = words;
  for (const char* word : {"--for", "10s", "-o", "json"}) as_json.emplace_back(word);
  const auto json = nlohmann::json::parse(Ask(as_json).out);
  EXPECT_EQ(json["seconds"], 10);
  EXPECT_EQ(json["hosts"][0]["host"], "cache1");
  EXPECT_EQ(json["hosts"][0]["counters"]["packets_matched"], 500);
}

TEST_F(OperatorCommandTest, PreviewNamesProcesses) {
  v1::PreviewResponse response;
  response.set_host("cache1");
  (*response.mutable_counters())["processes_matched"] = 2;
  response.add_matches("redis-server, pid 4711");
  response.add_matches("redis-server, pid \x1b[2J");
  response.set_done(true);
  fake_.previews = {response};
  const Result result =
      Ask({"preview", "process_kill", "--name", "redis-server", "-t", "role=cache"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out,
              HasSubstr("HOST    PROCESSES\ncache1  2\n\n  cache1  redis-server, pid 4711"));
  EXPECT_EQ(result.out.find('\x1b'), std::string::npos);
}

TEST_F(OperatorCommandTest, PreviewFillsInWhatOnlySaysHowMuchIsDone) {
  fake_.previews = {Counts("a", 5, 500, true)};
  EXPECT_EQ(Ask({"preview", "dns", "--answer", "late", "--host", "a"}).code, 0);
  EXPECT_EQ(fake_.preview_request().fault().dns().delay().seconds(), 1);
  const Result file = Ask({"preview", "file_fault", "--path", "/x", "--name", "y", "--host", "a"});
  EXPECT_EQ(file.err, "");
  EXPECT_EQ(fake_.preview_request().fault().file_fault().error(), "EPERM");
  EXPECT_EQ(fake_.preview_request().fault().file_fault().processes().name(), "y");
}

TEST_F(OperatorCommandTest, PreviewSaysWhenNothingMatchesOrAHostCannotSay) {
  const std::vector<std::string> words = {"preview", "latency", "--port", "1", "--host", "a"};
  fake_.previews = {Counts("a", 0, 0, true)};
  EXPECT_EQ(Ask(words).code, 6) << "nothing matched";
  fake_.previews = {Counts("a", 5, 500, true), Counts("b", 0, 0, true)};
  fake_.previews[1].set_error("its agent is gone");
  const Result result = Ask(words);
  EXPECT_EQ(result.code, 6);
  EXPECT_THAT(result.out, HasSubstr("its agent is gone"));
  fake_.refuse = absl::FailedPreconditionError("target (host a): no connected agent qualifies");
  EXPECT_THAT(Ask(words).err, HasSubstr("no connected agent qualifies"));
  EXPECT_NE(Ask(words).code, 0);
}

TEST_F(OperatorCommandTest, PreviewOfAPartitionAsksForTheOtherSidesAddresses) {
  v1::Agent database;
  database.set_state(v1::AGENT_STATE_CONNECTED);
  database.mutable_hello()->set_agent_id("db1");
  (*database.mutable_hello()->mutable_labels())["role"] = "database";
  database.mutable_hello()->add_addresses("10.0.7.1");
  fake_.agents = {database};
  fake_.previews = {Counts("web1", 5, 500, true)};
  EXPECT_EQ(Ask({"preview", "partition", "--from", "role=database", "-t", "role=web"}).code, 0);
  EXPECT_EQ(fake_.preview_request().fault().partition().addresses(0), "10.0.7.1");
  EXPECT_THAT(Ask({"preview", "partition", "--from", "role=none", "-t", "role=web"}).err,
              HasSubstr("--from: no agent that is connected carries role=none"));
}

TEST_F(OperatorCommandTest, GetFaultsSaysOnHowManyAgentsEachWorks) {
  for (const char* id : {"cache1", "cache2"}) {
    v1::Agent& agent = fake_.agents.emplace_back();
    agent.set_state(v1::AGENT_STATE_CONNECTED);
    agent.mutable_hello()->set_agent_id(id);
    v1::FaultSupport& cpu = *agent.mutable_hello()->add_faults();
    cpu.set_fault("cpu");
    cpu.set_supported(agent.hello().agent_id() == "cache1");
  }
  const Result result = Ask({"get", "faults"});
  EXPECT_THAT(
      result.out,
      HasSubstr("needs cpu; some parameters also: cap_sys_nice;\n    works on 1 of 2 agents"));
  for (const absl::string_view line : absl::StrSplit(result.out, '\n')) {
    EXPECT_LE(DisplayWidth(std::string(line)), 100) << std::string(line);
  }
  const auto json = nlohmann::json::parse(Ask({"get", "faults", "-o", "json"}).out);
  EXPECT_EQ(json[2]["name"], "cpu");
  EXPECT_EQ(json[2]["works_on_agents"], 1);
  EXPECT_EQ(json[2]["fields"][0]["field"], "percent");
}

}  // namespace
}  // namespace firedrill::cli
