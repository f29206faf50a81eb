// SPDX-License-Identifier: Apache-2.0
// The controller as a process, with agents that only pretend: what it promises to people and
// agents.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "proto/support/clock.h"
#include "proto/support/time.h"
#include "proto/support/version.h"
#include "tests/lib/process.h"
#include "tests/system/controller_fixture.h"

namespace firedrill {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::Experiment MakeExperiment(Nanoseconds duration, const std::string& name = "cache-loss") {
  v1::Experiment experiment;
  experiment.set_name(name);
  experiment.set_hypothesis("The shop goes on.");
  experiment.set_environment("staging");
  (*(*experiment.mutable_targets())["cache"].mutable_labels())["role"] = "cache";
  v1::Step* step = experiment.add_method();
  step->set_name("lose packets");
  step->set_target("cache");
  *step->mutable_duration() = ToProto(duration);
  step->mutable_fault()->mutable_packet_loss()->set_percent(33);
  return experiment;
}

class ControllerTest : public ::testing::Test {
 protected:
  explicit ControllerTest(const std::string& lease = "3s") : controller_({"--lease", lease}) {}

  absl::Status Start(const v1::Experiment& experiment, const std::string& id) {
    grpc::ClientContext context;
    v1::StartRunRequest request;
    request.set_run_id(id);
    *request.mutable_experiment() = experiment;
    v1::StartRunResponse response;
    const grpc::Status status = controller_.Operator()->StartRun(&context, request, &response);
    last_run_ = response.run();
    return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  }
  v1::Run Get(const std::string& id) {
    grpc::ClientContext context;
    v1::GetRunRequest request;
    request.set_run_id(id);
    v1::GetRunResponse response;
    const grpc::Status status = controller_.Operator()->GetRun(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.run();
  }
  v1::Run WaitFinished(const std::string& id, int seconds = 30) {
    WaitUntil([&] { return Get(id).state() == v1::RUN_STATE_FINISHED; }, id + " is finished",
              seconds);
    return Get(id);
  }
  void WaitLive(const FakeAgent& agent, std::size_t count) {
    WaitUntil([&] { return agent.Live().size() == count; }, std::to_string(count) + " faults live");
  }

  static std::vector<v1::MarkKind> Kinds(const v1::Run& run) {
    std::vector<v1::MarkKind> kinds;
    for (const v1::Mark& mark : run.marks()) kinds.push_back(mark.kind());
    return kinds;
  }

  ControllerProcess controller_;
  v1::Run last_run_;
};

TEST_F(ControllerTest, RunsAnExperimentFromStartToVerdict) {
  controller_.Start();
  FakeAgent agent(controller_.address(), "cache1", {{"role", "cache"}});
  FakeAgent other(controller_.address(), "web1", {{"role", "web"}});
  agent.WaitConnected();
  other.WaitConnected();
  ASSERT_TRUE(Start(MakeExperiment(std::chrono::seconds(4)), "r1").ok());
  const v1::Run run = WaitFinished("r1");
  EXPECT_EQ(run.verdict().verdict(), v1::VERDICT_PASSED) << run.verdict().DebugString();
  EXPECT_THAT(Kinds(run),
              ElementsAre(v1::MARK_KIND_PLANNED, v1::MARK_KIND_ARMED, v1::MARK_KIND_APPLIED,
                          v1::MARK_KIND_FIRST_IMPACT, v1::MARK_KIND_ENDED));
  ASSERT_EQ(run.injections_size(), 1);
  EXPECT_EQ(run.injections(0).host(), "cache1");
  EXPECT_TRUE(run.injections(0).end_proven());
  EXPECT_EQ(run.injections(0).end_reason(), v1::END_REASON_DURATION);
  EXPECT_GE(agent.renewals(), 1) << "it lasts longer than its lease of 3 s";
  EXPECT_EQ(other.applies(), 0);
  EXPECT_EQ(run.operator_(), "local");
  controller_.Kill();
  controller_.Start();
  EXPECT_EQ(Get("r1").SerializeAsString(), run.SerializeAsString()) << "all of it is on disk";
}

TEST_F(ControllerTest, WatchersSeeEveryStateUntilTheRunIsFinished) {
  controller_.Start();
  FakeAgent agent(controller_.address(), "cache1", {{"role", "cache"}});
  agent.WaitConnected();
  ASSERT_TRUE(Start(MakeExperiment(std::chrono::seconds(3)), "r1").ok());
  grpc::ClientContext context;
  v1::WatchRunRequest request;
  request.set_run_id("r1");
  const auto stub = controller_.Operator();
  const auto stream = stub->WatchRun(&context, request);
  v1::WatchRunResponse response;
  int states = 0;
  while (stream->Read(&response)) ++states;
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(response.run().state(), v1::RUN_STATE_FINISHED);
  EXPECT_GE(states, 2);
}

class LongLeaseTest : public ControllerTest {
 protected:
  LongLeaseTest() : ControllerTest("20s") {}
};

TEST_F(LongLeaseTest, GoesOnWithARunAfterSigkillWhileItsLeaseLives) {
  controller_.Start();
  FakeAgent agent(controller_.address(), "cache1", {{"role", "cache"}});
  agent.WaitConnected();
  ASSERT_TRUE(Start(MakeExperiment(std::chrono::seconds(6)), "r1").ok());
  WaitLive(agent, 1);
  WaitUntil([&] { return Get("r1").marks_size() == 4; }, "the impact is marked");
  const v1::Run before = Get("r1");
  controller_.Kill();
  controller_.Start();
  const v1::Run run = WaitFinished("r1");
  EXPECT_EQ(run.verdict().verdict(), v1::VERDICT_PASSED) << run.verdict().DebugString();
  ASSERT_EQ(run.marks_size(), 5);
  for (int i = 0; i < before.marks_size(); ++i) {
    EXPECT_EQ(run.marks(i).SerializeAsString(), before.marks(i).SerializeAsString());
  }
  EXPECT_EQ(agent.applies(), 1) << "applied once, not again";
}

TEST_F(ControllerTest, AbortsARunWhoseLeaseRanOutWhileItWasDead) {
  controller_.Start();
  FakeAgent agent(controller_.address(), "cache1", {{"role", "cache"}});
  agent.WaitConnected();
  ASSERT_TRUE(Start(MakeExperiment(std::chrono::seconds(60)), "r1").ok());
  WaitLive(agent, 1);
  WaitUntil([&] { return Get("r1").marks_size() == 4; }, "the impact is marked");
  controller_.Kill();
  WaitLive(agent, 0);  // by its lease
  controller_.Start();
  const v1::Run run = WaitFinished("r1");
  EXPECT_EQ(run.verdict().verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(run.verdict().reasons(0), HasSubstr("its lease ran out"));
  EXPECT_EQ(run.injections(0).end_reason(), v1::END_REASON_LEASE);
  EXPECT_EQ(run.marks_size(), 5);
}

TEST_F(ControllerTest, EndsWhatNoRunKnows) {
  controller_.Start();
  FakeAgent agent(controller_.address(), "cache1", {{"role", "cache"}});
  agent.WaitConnected();
  agent.Invent("forgotten", "forgotten.1");
  WaitLive(agent, 0);
}

TEST_F(ControllerTest, AbortEndsTheFaultAndNamesWhoAsked) {
  controller_.Start();
  FakeAgent agent(controller_.address(), "cache1", {{"role", "cache"}});
  agent.WaitConnected();
  ASSERT_TRUE(Start(MakeExperiment(std::chrono::seconds(60)), "r1").ok());
  WaitLive(agent, 1);
  grpc::ClientContext context;
  v1::AbortRunRequest request;
  request.set_run_id("r1");
  request.set_reason("too loud");
  v1::AbortRunResponse response;
  ASSERT_TRUE(controller_.Operator()->AbortRun(&context, request, &response).ok());
  const v1::Run run = WaitFinished("r1");
  EXPECT_EQ(run.verdict().verdict(), v1::VERDICT_ABORTED);
  EXPECT_EQ(run.verdict().reasons(0), "by local: too loud");
  EXPECT_TRUE(agent.Live().empty());
  EXPECT_EQ(run.injections(0).end_reason(), v1::END_REASON_REQUESTED);
}

TEST_F(ControllerTest, RefusesASecondRunAndNamesTheFirst) {
  controller_.Start();
  FakeAgent agent(controller_.address(), "cache1", {{"role", "cache"}});
  agent.WaitConnected();
  const v1::Experiment experiment = MakeExperiment(std::chrono::seconds(60));
  ASSERT_TRUE(Start(experiment, "r1").ok());
  EXPECT_TRUE(Start(experiment, "r1").ok()) << "a retry is harmless";
  EXPECT_EQ(last_run_.id(), "r1");
  const absl::Status other = Start(MakeExperiment(std::chrono::seconds(5), "other"), "r1");
  EXPECT_EQ(other.code(), absl::StatusCode::kAlreadyExists);
  const absl::Status second = Start(experiment, "r2");
  EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.message()), HasSubstr("run r1 of cache-loss is under way"));
}

TEST_F(ControllerTest, SaysWhyNoHostQualifiesAndWhatIsWrongInAnExperiment) {
  controller_.Start();
  FakeAgent agent(controller_.address(), "web1", {{"role", "web"}});
  agent.WaitConnected();
  const absl::Status none = Start(MakeExperiment(std::chrono::seconds(5)), "r1");
  EXPECT_EQ(none.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(none.message()), HasSubstr("target cache (role=cache)"));
  EXPECT_THAT(std::string(none.message()), HasSubstr("web1 (role=web)"));
  v1::Experiment wrong = MakeExperiment(std::chrono::seconds(5));
  wrong.mutable_method(0)->mutable_fault()->mutable_packet_loss()->set_percent(120);
  const absl::Status invalid = Start(wrong, "r2");
  EXPECT_EQ(invalid.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(invalid.message()), HasSubstr("percent"));
}

TEST_F(ControllerTest, LosingTheAgentAbortsAndAnEndThatIsNotProvenIsUnclean) {
  controller_.Start();
  FakeAgent agent(controller_.address(), "cache1", {{"role", "cache"}});
  agent.WaitConnected();
  ASSERT_TRUE(Start(MakeExperiment(std::chrono::seconds(60)), "r1").ok());
  WaitLive(agent, 1);
  agent.StayAway(true);
  WaitUntil([&] { return Get("r1").state() == v1::RUN_STATE_ENDING; }, "the run is aborted");
  EXPECT_THAT(Get("r1").verdict().reasons(0), HasSubstr("agent cache1 was lost for 3s"));
  const v1::Run run = WaitFinished("r1", 60);
  EXPECT_EQ(run.verdict().verdict(), v1::VERDICT_UNCLEAN);
  EXPECT_THAT(run.verdict().reasons(0), HasSubstr("did not come back"));
}

TEST_F(ControllerTest, SigtermEndsFaultsBeforeItExits) {
  controller_.Start();
  FakeAgent agent(controller_.address(), "cache1", {{"role", "cache"}});
  agent.WaitConnected();
  ASSERT_TRUE(Start(MakeExperiment(std::chrono::seconds(60)), "r1").ok());
  WaitLive(agent, 1);
  EXPECT_EQ(controller_.Terminate(), 0) << controller_.Log();
  EXPECT_TRUE(agent.Live().empty());
  controller_.Start();
  const v1::Run run = Get("r1");
  EXPECT_EQ(run.state(), v1::RUN_STATE_FINISHED);
  EXPECT_THAT(run.verdict().reasons(0), HasSubstr("the controller was stopped"));
}

TEST_F(ControllerTest, HaltAbortsEveryRunAndTellsEveryHost) {
  controller_.Start();
  FakeAgent agent(controller_.address(), "cache1", {{"role", "cache"}});
  FakeAgent other(controller_.address(), "web1", {{"role", "web"}});
  agent.WaitConnected();
  other.WaitConnected();
  ASSERT_TRUE(Start(MakeExperiment(std::chrono::seconds(60)), "r1").ok());
  WaitLive(agent, 1);
  grpc::ClientContext context;
  v1::HaltRequest request;
  v1::HaltResponse response;
  ASSERT_TRUE(controller_.Operator()->Halt(&context, request, &response).ok());
  EXPECT_THAT(response.aborted_runs(), ElementsAre("r1"));
  EXPECT_EQ(response.hosts_told(), 2U);
  EXPECT_EQ(WaitFinished("r1").verdict().verdict(), v1::VERDICT_ABORTED);
}

TEST_F(ControllerTest, AppliedExperimentsSurviveSigkillAndShowTheirNextRun) {
  controller_.Start();
  v1::Experiment experiment = MakeExperiment(std::chrono::seconds(5), "weekly");
  experiment.mutable_schedule()->set_cron("0 10 * * tue");
  experiment.mutable_schedule()->set_time_zone("Europe/Berlin");
  {
    grpc::ClientContext context;
    v1::ApplyExperimentRequest request;
    *request.mutable_experiment() = experiment;
    v1::ApplyExperimentResponse response;
    const grpc::Status status =
        controller_.Operator()->ApplyExperiment(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_TRUE(response.created());
  }
  controller_.Kill();
  controller_.Start();
  grpc::ClientContext context;
  v1::ListExperimentsResponse response;
  ASSERT_TRUE(controller_.Operator()->ListExperiments(&context, {}, &response).ok());
  ASSERT_EQ(response.experiments_size(), 1);
  EXPECT_EQ(response.experiments(0).applied_by(), "local");
  EXPECT_GT(response.experiments(0).next_run_at().seconds(), absl::ToUnixSeconds(absl::Now()));
  {
    grpc::ClientContext delete_context;
    v1::DeleteExperimentRequest request;
    request.set_name("weekly");
    v1::DeleteExperimentResponse deleted;
    EXPECT_TRUE(controller_.Operator()->DeleteExperiment(&delete_context, request, &deleted).ok());
  }
}

TEST_F(ControllerTest, AnAgentThatComesBackTakesItsOldStreamsPlace) {
  controller_.Start();
  FakeAgent first(controller_.address(), "cache1", {{"role", "cache"}});
  first.WaitConnected();
  first.StayAway(true);
  FakeAgent second(controller_.address(), "cache1", {{"role", "cache"}});
  second.WaitConnected();
  grpc::ClientContext context;
  v1::ListAgentsResponse response;
  ASSERT_TRUE(controller_.Operator()->ListAgents(&context, {}, &response).ok());
  ASSERT_EQ(response.agents_size(), 1);
  EXPECT_EQ(response.agents(0).state(), v1::AGENT_STATE_CONNECTED);
}

// The first line of what is answered to someone with this certificate.
class ControllerRolesTest : public ::testing::Test {
 protected:
  static std::string Command() {
    return std::string(std::getenv("FIREDRILL_BUILD_DIR")) + "/controller/cli/firedrill";
  }
  void Issue(const std::string& what) {
    const std::string command = Command() + " ca " + what + " > " + folder_.path() + "/log 2>&1";
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }
  std::string Read(const std::string& name) { return test::ReadFile(ca_ + "/" + name); }
  std::shared_ptr<grpc::Channel> Dial(const std::string& address, const std::string& who) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = Read("ca.crt");
    options.pem_cert_chain = Read(who + ".crt");
    options.pem_private_key = Read(who + ".key");
    return grpc::CreateChannel(address, grpc::SslCredentials(options));
  }

  test::TemporaryFolder folder_;
  const std::string ca_ = folder_.path() + "/ca";
};

TEST_F(ControllerRolesTest, ComeFromCertificatesAlone) {
  Issue("init --out " + ca_);
  Issue("issue controller main --ip 127.0.0.1 --ca-dir " + ca_);
  Issue("issue agent web1 --ca-dir " + ca_);
  Issue("issue operator ana --ca-dir " + ca_);
  ControllerProcess controller(
      {"--ca", ca_ + "/ca.crt", "--cert", ca_ + "/main.crt", "--key", ca_ + "/main.key"}, true);
  controller.Start();
  const auto info = [&](const std::string& who) {
    grpc::ClientContext context;
    v1::GetServerInfoResponse response;
    const grpc::Status status = v1::OperatorService::NewStub(Dial(controller.address(), who))
                                    ->GetServerInfo(&context, {}, &response);
    return status.ok() ? response.operator_() : status.error_message();
  };
  EXPECT_EQ(info("ana"), "ana");
  EXPECT_THAT(info("web1"), HasSubstr("the certificate is of spiffe://firedrill/agent/web1"));
  const auto hello_as = [&](const std::string& who, const std::string& id) {
    grpc::ClientContext context;
    const auto stub = v1::AgentLink::NewStub(Dial(controller.address(), who));
    const auto stream = stub->Connect(&context);
    v1::ConnectRequest request;
    *request.mutable_hello()->mutable_version() = OwnProtocolVersion();
    request.mutable_hello()->set_agent_id(id);
    stream->Write(request);
    v1::ConnectResponse response;
    if (stream->Read(&response) && response.has_welcome()) {
      context.TryCancel();
      stream->Finish().error_code();
      return grpc::StatusCode::OK;
    }
    return stream->Finish().error_code();
  };
  EXPECT_EQ(hello_as("web1", "web1"), grpc::StatusCode::OK);
  EXPECT_EQ(hello_as("web1", "web2"), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(hello_as("ana", "web1"), grpc::StatusCode::PERMISSION_DENIED);
}

TEST(ControllerFlagsTest, WithoutTlsItListensOnLoopbackAlone) {
  const std::string program =
      std::string(std::getenv("FIREDRILL_BUILD_DIR")) + "/controller/firedrill-controller";
  const test::TemporaryFolder folder;
  const auto finished = test::RunToEnd({program, "--insecure", "--listen", "0.0.0.0:0", "--data",
                                        folder.path() + "/data", "--http-listen", ""});
  ASSERT_TRUE(finished.ok()) << finished.status();
  EXPECT_EQ(finished->exit_status, 1);
  EXPECT_THAT(finished->output, HasSubstr("loopback"));
}

TEST_F(ControllerTest, CompilesAPartitionFromWhatTheOtherSidesAgentsSay) {
  controller_.Start();
  FakeAgent cache(controller_.address(), "cache1", {{"role", "cache"}}, {"10.0.0.1"});
  FakeAgent one(controller_.address(), "web1", {{"role", "web"}}, {"10.0.1.1", "2001:db8::1"});
  FakeAgent two(controller_.address(), "web2", {{"role", "web"}}, {"10.0.1.2"});
  for (FakeAgent* agent : {&cache, &one, &two}) agent->WaitConnected();
  v1::Experiment experiment = MakeExperiment(std::chrono::seconds(1));
  experiment.mutable_method(0)->mutable_fault()->mutable_partition()->set_from("web");
  v1::Target& web = (*experiment.mutable_targets())["web"];
  (*web.mutable_labels())["role"] = "web";
  web.mutable_pick()->set_all(true);
  ASSERT_TRUE(Start(experiment, "r1").ok());
  const v1::Run run = WaitFinished("r1");
  EXPECT_EQ(run.verdict().verdict(), v1::VERDICT_PASSED) << run.verdict().DebugString();
  EXPECT_THAT(cache.last_apply().fault().partition().addresses(),
              ElementsAre("10.0.1.1", "2001:db8::1", "10.0.1.2"));
  EXPECT_EQ(one.applies() + two.applies(), 0) << "one side is enough";
}

TEST_F(ControllerTest, KeepsEventsWithTheRun) {
  controller_.Start();
  FakeAgent agent(controller_.address(), "cache1", {{"role", "cache"}});
  agent.WaitConnected();
  v1::Experiment experiment = MakeExperiment(std::chrono::seconds(1));
  v1::ProcessKill& kill = *experiment.mutable_method(0)->mutable_fault()->mutable_process_kill();
  kill.mutable_processes()->set_name("redis-server");
  kill.mutable_repeat_every()->set_seconds(1);
  ASSERT_TRUE(Start(experiment, "r1").ok());
  WaitFinished("r1");
  controller_.Kill();
  controller_.Start();
  const v1::Run run = Get("r1");
  ASSERT_EQ(run.injections(0).events_size(), 1) << "from the disk";
  const v1::InjectionEvent& event = run.injections(0).events(0);
  EXPECT_EQ(event.name(), "respawned");
  EXPECT_TRUE(event.from_kernel());
  EXPECT_GT(FromProto(event.at()), FromProto(run.injections(0).first_impact_at()));
  EXPECT_GE(FromProto(event.uncertainty()), std::chrono::milliseconds(2)) << "its own at least";
}

class PreviewTest : public ControllerTest {
 protected:
  static v1::PreviewRequest Request(Nanoseconds duration) {
    v1::PreviewRequest request;
    request.mutable_fault()->mutable_packet_loss()->set_percent(10);
    (*request.mutable_target()->mutable_labels())["role"] = "cache";
    request.mutable_target()->mutable_pick()->set_all(true);
    *request.mutable_duration() = ToProto(duration);
    return request;
  }
};

TEST_F(PreviewTest, CountsOnceASecondKeepsItsLeaseAndLeavesNoRun) {
  controller_.Start();
  FakeAgent one(controller_.address(), "cache1", {{"role", "cache"}});
  FakeAgent two(controller_.address(), "cache2", {{"role", "cache"}});
  one.WaitConnected();
  two.WaitConnected();
  grpc::ClientContext context;
  const auto stub = controller_.Operator();
  const SteadyTime asked = Clock::Real().Steady();
  const auto stream = stub->Preview(&context, Request(std::chrono::seconds(4)));
  std::map<std::string, std::vector<v1::PreviewResponse>> told;
  v1::PreviewResponse response;
  while (stream->Read(&response)) told[response.host()].push_back(response);
  EXPECT_TRUE(stream->Finish().ok());
  const std::int64_t whole_seconds = (Clock::Real().Steady() - asked) / std::chrono::seconds(1);
  const auto matched = [](const v1::PreviewResponse& counts) {
    const auto found = counts.counters().find("packets_matched");
    return found == counts.counters().end() ? 0 : found->second;
  };
  ASSERT_EQ(told.size(), 2U);
  for (const auto& [host, responses] : told) {
    // A machine that stalls makes them late, and so fewer; never more than one a second.
    const auto before_the_last = static_cast<std::int64_t>(responses.size()) - 1;
    EXPECT_GE(before_the_last, 2) << host;
    EXPECT_LE(before_the_last, whole_seconds) << host;
    EXPECT_TRUE(responses.back().done());
    EXPECT_EQ(responses.back().error(), "");
    // The first may come before the agent has told a count.
    const auto counted =
        std::find_if(responses.begin(), responses.end(),
                     [&](const v1::PreviewResponse& counts) { return matched(counts) > 0; });
    ASSERT_LT(counted - responses.begin(), before_the_last) << host;
    EXPECT_GT(matched(responses.back()), matched(*counted)) << host;
    for (std::size_t i = 0; i + 1 < responses.size(); ++i) EXPECT_FALSE(responses[i].done());
  }
  EXPECT_TRUE(one.last_apply().preview());
  EXPECT_GE(one.renewals(), 1) << "it lasts longer than its lease of 3 s";
  grpc::ClientContext list;
  v1::ListRunsResponse runs;
  ASSERT_TRUE(stub->ListRuns(&list, v1::ListRunsRequest(), &runs).ok());
  EXPECT_EQ(runs.runs_size(), 0);
}

TEST_F(PreviewTest, SeveralAtOnceAndEachEndsWithItsCaller) {
  controller_.Start();
  FakeAgent agent(controller_.address(), "cache1", {{"role", "cache"}});
  agent.WaitConnected();
  const auto stub = controller_.Operator();
  grpc::ClientContext first;
  grpc::ClientContext second;
  const auto one = stub->Preview(&first, Request(std::chrono::minutes(4)));
  const auto two = stub->Preview(&second, Request(std::chrono::minutes(4)));
  WaitLive(agent, 2);
  first.TryCancel();
  WaitLive(agent, 1);
  v1::PreviewResponse response;
  EXPECT_TRUE(two->Read(&response)) << "the other goes on";
  // And with the controller, by its lease.
  controller_.Kill();
  WaitLive(agent, 0);
  second.TryCancel();
}

TEST_F(PreviewTest, GoesOnBesideARunAndHaltEndsIt) {
  controller_.Start();
  FakeAgent agent(controller_.address(), "cache1", {{"role", "cache"}});
  agent.WaitConnected();
  const auto stub = controller_.Operator();
  grpc::ClientContext context;
  const auto stream = stub->Preview(&context, Request(std::chrono::minutes(4)));
  WaitLive(agent, 1);
  ASSERT_TRUE(Start(MakeExperiment(std::chrono::seconds(1)), "r1").ok());
  EXPECT_EQ(WaitFinished("r1").verdict().verdict(), v1::VERDICT_PASSED);
  EXPECT_EQ(agent.Live().size(), 1U);
  grpc::ClientContext halt;
  v1::HaltResponse halted;
  ASSERT_TRUE(stub->Halt(&halt, v1::HaltRequest(), &halted).ok());
  WaitLive(agent, 0);
  v1::PreviewResponse response;
  while (stream->Read(&response)) {
  }
  EXPECT_TRUE(response.done());
  EXPECT_EQ(response.error(), "it was ended early");
}

}  // namespace
}  // namespace firedrill
