// SPDX-License-Identifier: Apache-2.0
// What people say of a run, by the command line, the API and a pager's webhook, to a controller
// that is killed in between.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "nlohmann/json.hpp"
#include "proto/support/time.h"
#include "tests/lib/http_peer.h"
#include "tests/lib/process.h"
#include "tests/system/controller_fixture.h"

namespace firedrill {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kToken = "a-token-of-the-test";
constexpr const char* kSecret = "a-secret-of-the-test";

struct Result {
  int code = -1;
  std::string out;
};

class RespondersTest : public ::testing::Test {
 protected:
  RespondersTest() {
    const std::string token = folder_.Write("token", std::string(kToken) + "\n");
    const std::string secret =
        folder_.Write("secret", std::string("of-another-subscription\n") + kSecret + "\n");
    controller_ = std::make_unique<ControllerProcess>(
        std::vector<std::string>{"--lease", "20s", "--http-listen", "127.0.0.1:0",
                                 "--webhook-token-file", token, "--pager-secret-file", secret});
    controller_->Start();
    agent_ = std::make_unique<FakeAgent>(controller_->address(), "cache1",
                                         std::map<std::string, std::string>{{"role", "cache"}});
    agent_->WaitConnected();
  }

  // `firedrill` with its error stream in its output.
  Result Cli(const std::string& words) const {
    const char* build = std::getenv("FIREDRILL_BUILD_DIR");
    const std::string line = fmt::format(
        "FIREDRILL_CONFIG=/dev/null '{}/controller/cli/firedrill' {} --insecure --controller {} "
        "2>&1",
        build == nullptr ? "." : build, words, controller_->address());
    Result result;
    FILE* pipe = popen(line.c_str(), "r");
    char buffer[4096];
    for (std::size_t size; (size = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
      result.out.append(buffer, size);
    }
    result.code = WEXITSTATUS(pclose(pipe));
    return result;
  }

  // The answer's first line and body.
  std::string Post(const std::string& body, const std::string& headers) const {
    static const std::regex serving("webhook/pager on 127.0.0.1 port ([0-9]+)");
    std::smatch match;
    const std::string log = controller_->Log();
    if (!std::regex_search(log, match, serving)) return "no HTTP server";
    const auto answer = test::Exchange(
        std::stoi(match[1]),
        fmt::format("POST /webhook/pager HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}"
                    "Content-Length: {}\r\n\r\n{}",
                    headers, body.size(), body));
    if (!answer.ok()) return std::string(answer.status().message());
    return answer->substr(9, answer->find('\r') - 9) + "\n" + test::BodyOf(*answer);
  }
  static std::string Bearer() { return fmt::format("Authorization: Bearer {}\r\n", kToken); }
  static std::string Signed(const std::string& body) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    HMAC(EVP_sha256(), kSecret, static_cast<int>(std::string(kSecret).size()),
         reinterpret_cast<const unsigned char*>(body.data()), body.size(), digest, &size);
    return Bearer() +
           fmt::format("X-PagerDuty-Signature: v1={}\r\n",
                       absl::BytesToHexString({reinterpret_cast<const char*>(digest), size}));
  }
  static std::string PagerDuty(const std::string& type) {
    return fmt::format(R"({{"event": {{"event_type": "{}", "occurred_at": "2026-11-22T18:45:22Z",
        "agent": {{"summary": "Bob Example", "type": "user_reference"}},
        "data": {{"id": "PGR0VU2", "title": "the shop is slow"}}}}}})",
                       type);
  }

  void StartRun(int duration) {
    v1::StartRunRequest request;
    request.set_run_id("r1");
    v1::Experiment& experiment = *request.mutable_experiment();
    experiment.set_name("cache-loss");
    experiment.set_hypothesis("It holds.");
    experiment.set_environment("staging");
    (*(*experiment.mutable_targets())["cache"].mutable_labels())["role"] = "cache";
    v1::Step* step = experiment.add_method();
    step->set_name("lose packets");
    step->set_target("cache");
    step->mutable_duration()->set_seconds(duration);
    step->mutable_fault()->mutable_packet_loss()->set_percent(33);
    grpc::ClientContext context;
    v1::StartRunResponse response;
    const grpc::Status started = controller_->Operator()->StartRun(&context, request, &response);
    ASSERT_TRUE(started.ok()) << started.error_message();
  }
  v1::Run Get() const {
    grpc::ClientContext context;
    v1::GetRunRequest request;
    request.set_run_id("r1");
    v1::GetRunResponse response;
    controller_->Operator()->GetRun(&context, request, &response);
    return response.run();
  }
  static int Count(const v1::Run& run, v1::MarkKind kind) {
    int count = 0;
    for (const v1::Mark& mark : run.marks()) count += mark.kind() == kind ? 1 : 0;
    return count;
  }

  test::TemporaryFolder folder_;
  std::unique_ptr<ControllerProcess> controller_;
  std::unique_ptr<FakeAgent> agent_;
};

TEST_F(RespondersTest, WhatIsSaidStandsWhateverDiesMeanwhile) {
  StartRun(15);
  WaitUntil([&] { return Count(Get(), v1::MARK_KIND_FIRST_IMPACT) == 1; }, "there is an impact");
  const Result ack = Cli("ack --note looking");
  EXPECT_EQ(ack.code, 0) << ack.out;
  EXPECT_THAT(ack.out,
              AllOf(StartsWith("r1: acknowledged "), HasSubstr(" after the first impact")));
  const std::string body = PagerDuty("incident.acknowledged");
  EXPECT_EQ(Post(body, Signed(body)), "200 OK\nrun r1 acknowledged\n");
  EXPECT_EQ(Post(body, Signed(body)), "200 OK\nrun r1 acknowledged\n") << "delivered twice";
  EXPECT_THAT(controller_->Log(), HasSubstr("audit who=local action=run.acknowledge subject=r1 "
                                            "local: looking"));
  EXPECT_THAT(controller_->Log(), HasSubstr("audit who=pager action=run.acknowledge subject=r1 "
                                            "Bob Example"));
  const v1::Run before = Get();

  controller_->Kill();
  controller_->Start();

  {
    grpc::ClientContext context;
    v1::MitigateRunRequest request;
    request.set_run_id("r");
    request.set_note("moved the traffic");
    request.set_by("carol");
    v1::MitigateRunResponse response;
    const grpc::Status told = controller_->Operator()->MitigateRun(&context, request, &response);
    ASSERT_TRUE(told.ok()) << told.error_message();
    EXPECT_EQ(Count(response.run(), v1::MARK_KIND_MITIGATED), 1);
  }
  EXPECT_EQ(Post(R"({"action": "mitigated", "by": "dave", "note": "restarted redis"})", Bearer()),
            "200 OK\nrun r1 mitigated\n");
  EXPECT_THAT(controller_->Log(), HasSubstr("audit who=pager action=run.mitigate subject=r1 dave"));
  WaitUntil([&] { return Get().state() == v1::RUN_STATE_FINISHED; }, "the run is finished");

  const Result described = Cli("describe run r1 -o json");
  ASSERT_EQ(described.code, 0) << described.out;
  const auto json = nlohmann::json::parse(described.out);
  std::vector<std::string> said;
  for (const auto& mark : json["marks"]) {
    const std::string kind = mark["kind"];
    if (kind != "MARK_KIND_ACKNOWLEDGED" && kind != "MARK_KIND_MITIGATED") continue;
    said.push_back(kind.substr(10) + " " + mark["source"].get<std::string>().substr(12) + " " +
                   mark["detail"].get<std::string>());
  }
  EXPECT_THAT(said,
              ::testing::ElementsAre(
                  "ACKNOWLEDGED OPERATOR local: looking",
                  "ACKNOWLEDGED PAGER Bob Example; incident PGR0VU2 \"the shop is slow\"; by the "
                  "pager's clock at 2026-11-22T18:45:22Z",
                  "MITIGATED OPERATOR carol, told by local: moved the traffic",
                  "MITIGATED PAGER dave: restarted redis"));
  // The measures are the differences of the first marks, to the nanosecond.
  const v1::Run run = Get();
  EXPECT_EQ(run.verdict().verdict(), v1::VERDICT_PASSED) << run.verdict().DebugString();
  const auto first = [&run](v1::MarkKind kind) {
    for (const v1::Mark& mark : run.marks()) {
      if (mark.kind() == kind) return FromProto(mark.at());
    }
    return SystemTime();
  };
  const SystemTime impact = first(v1::MARK_KIND_FIRST_IMPACT);
  EXPECT_EQ(FromProto(run.time_to_acknowledge().value()),
            first(v1::MARK_KIND_ACKNOWLEDGED) - impact);
  EXPECT_EQ(FromProto(run.time_to_mitigate().value()), first(v1::MARK_KIND_MITIGATED) - impact);
  EXPECT_FALSE(json["time_to_acknowledge"]["value"].get<std::string>().empty());
  for (int i = 0; i < before.marks_size(); ++i) {
    EXPECT_EQ(run.marks(i).SerializeAsString(), before.marks(i).SerializeAsString());
  }
  EXPECT_THAT(Cli("describe run r1").out,
              AllOf(HasSubstr("time to acknowledge"), HasSubstr("time to mitigate")));

  const Result late = Cli("mitigated r1 --note late");
  EXPECT_EQ(late.code, 2);
  EXPECT_THAT(late.out, HasSubstr("run r1 finished at "));
  EXPECT_EQ(Get().SerializeAsString(), run.SerializeAsString());
}

TEST_F(RespondersTest, WithoutARunOrAnImpactNothingIsNoted) {
  const Result none = Cli("ack");
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.out, HasSubstr("firedrill: no run is under way"));
  EXPECT_EQ(Post(R"({"action": "acknowledged"})", Bearer()), "409 Conflict\nno run is under way\n");
  // Three refusals would switch the subscription off: people are paged when nobody drills too.
  const std::string body = PagerDuty("incident.acknowledged");
  EXPECT_EQ(Post(body, Signed(body)), "202 Accepted\nnothing noted: no run is under way\n");
  const Result unknown = Cli("ack r7");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.out, HasSubstr("r7"));

  agent_->Hang(true);
  StartRun(5);
  WaitUntil([&] { return Get().state() == v1::RUN_STATE_INJECTING; }, "the fault is asked for");
  const Result early = Cli("ack");
  EXPECT_EQ(early.code, 2);
  EXPECT_THAT(early.out, HasSubstr("no fault of run r1 has had an impact yet"));
  EXPECT_THAT(Post(R"({"action": "acknowledged", "run": "r1"})", Bearer()),
              StartsWith("409 Conflict\nno fault of run r1 has had an impact yet"));
  EXPECT_EQ(Count(Get(), v1::MARK_KIND_ACKNOWLEDGED), 0);
}

TEST_F(RespondersTest, ThePagersWebhookLetsNobodyElseIn) {
  const std::string body = PagerDuty("incident.acknowledged");
  EXPECT_THAT(Post(body, ""), StartsWith("401 "));
  EXPECT_THAT(Post(body, "Authorization: Bearer wrong\r\n"), StartsWith("401 "));
  EXPECT_THAT(Post(body, Bearer()), AllOf(StartsWith("401 "), HasSubstr("X-PagerDuty-Signature")));
  EXPECT_THAT(Post(body + " ", Signed(body)), StartsWith("401 "));
  EXPECT_THAT(Post("{", Bearer()), StartsWith("400 Bad Request\npager webhook: body: must be"));
  EXPECT_THAT(Post(R"({"action": "acked"})", Bearer()),
              StartsWith("400 Bad Request\npager webhook: action: must be"));
  EXPECT_THAT(Post(std::string((1 << 20) + 1, ' '), Bearer()), StartsWith("413 "));
  const std::string ping = R"({"event": {"event_type": "pagey.ping", "data": {}}})";
  EXPECT_THAT(Post(ping, Signed(ping)), StartsWith("202 Accepted\nnothing noted: pagey.ping"));
}

}  // namespace
}  // namespace firedrill
