// SPDX-License-Identifier: Apache-2.0
// Restarts of the host by a real agent, only in an emulated machine that comes back from them
// (tests/kernels/run --boots 3): the program begins anew with each boot and goes on where it was.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "agent/host/host.h"
#include "proto/support/time.h"
#include "tests/lib/agent_process.h"
#include "tests/lib/fake_controller.h"

namespace firedrill::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A starting agent loads its BPF programs, through a verifier that is emulated.
constexpr Nanoseconds kToStart = seconds(60);
constexpr const char* kOutlives = "/persist";  // what is on the machine's disk

void WriteSynced(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0) << path;
  ASSERT_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  ASSERT_EQ(fsync(fd), 0);
  close(fd);
}

class RebootTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(getenv("FIREDRILL_EMULATED"), nullptr)
        << "this restarts the machine: run it by tests/kernels/run --boots 3";
    ASSERT_NE(getenv("FIREDRILL_BOOT"), nullptr) << "the machine must come back: --boots 3";
    auto controller = FakeController::Start();
    ASSERT_TRUE(controller.ok()) << controller.status();
    controller_ = *std::move(controller);
  }

  void StartAgent(const std::vector<std::string>& more) {
    agent_.reset();
    const std::size_t before = controller_->hellos().size();
    std::vector<std::string> arguments = {"--controller", controller_->address(), "--insecure",
                                          "--id", "host"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    auto agent = AgentProcess::Start(State(), arguments);
    ASSERT_TRUE(agent.ok()) << agent.status();
    agent_ = *std::move(agent);
    ASSERT_TRUE(controller_->WaitForHello(kToStart, before + 1)) << agent_->Log();
  }

  static std::string State() { return std::string(kOutlives) + "/agent"; }
  static v1::Fault Reboot(v1::RebootHow how) {
    v1::Fault fault;
    fault.mutable_reboot()->set_how(how);
    return fault;
  }
  bool Apply(const std::string& id, v1::RebootHow how) {
    return controller_->Apply(id, Reboot(how), std::nullopt, seconds(30));
  }

  // Does not return, unless it fails.
  void RestartBy(const std::string& id, v1::RebootHow how) {
    WriteSynced(std::string(kOutlives) + "/boot_id", agent::Host().BootId());
    WriteSynced(
        std::string(kOutlives) + "/before",
        std::to_string(std::chrono::system_clock::now().time_since_epoch() / milliseconds(1)));
    // Whether a sudden end loses it is the file system's affair; an orderly one must not.
    std::ofstream(std::string(kOutlives) + "/unwritten") << "in memory alone";
    ASSERT_TRUE(Apply(id, how));
    ASSERT_TRUE(controller_->WaitForState(id, v1::INJECTION_STATE_ACTIVE, kToStart))
        << agent_->Log();
    Pause(seconds(40));
    FAIL() << "the machine did not restart\n" << agent_->Log();
  }

  // What the agent of this boot says of the restart that the boot before asked for.
  void ExpectRestarted(const std::string& id) {
    const v1::Hello hello = controller_->hellos().back();
    EXPECT_NE(hello.boot_id(), ReadFile(std::string(kOutlives) + "/boot_id"));
    ASSERT_EQ(hello.live().size(), 1) << agent_->Log();
    const v1::InjectionUpdate& told = hello.live()[0];
    SCOPED_TRACE(told.ShortDebugString());
    EXPECT_EQ(told.injection_id(), id);
    EXPECT_EQ(told.state(), v1::INJECTION_STATE_ENDED);
    EXPECT_EQ(told.end_reason(), v1::END_REASON_COMPLETED);
    EXPECT_TRUE(told.end_proven());
    EXPECT_EQ(told.error(), "");
    const SystemTime before{milliseconds(std::stoll(ReadFile(std::string(kOutlives) + "/before")))};
    const SystemTime first = FromProto(told.first_impact_at());
    const Nanoseconds uncertainty = FromProto(told.impact_uncertainty());
    EXPECT_LE(uncertainty, seconds(2));
    EXPECT_GE(first, before - uncertainty);
    EXPECT_LE(first, before + seconds(5) + uncertainty);
    ASSERT_EQ(told.events().size(), 1);
    EXPECT_EQ(told.events(0).name(), "rebooted");
    EXPECT_GE(FromProto(told.events(0).at()), first);
    EXPECT_LE(FromProto(told.events(0).at()), FromProto(told.ended_at()));
    EXPECT_GT(told.counters().at("down_seconds"), 0);
    EXPECT_LT(told.counters().at("down_seconds"), 120);
    for (const auto& entry : fs::directory_iterator(State() + "/journal")) {
      EXPECT_NE(entry.path().extension(), ".undo") << entry.path();
    }
  }

  std::unique_ptr<FakeController> controller_;
  std::unique_ptr<AgentProcess> agent_;
};

TEST_F(RebootTest, RestartsSuddenlyThenInGoodOrderAndTheNextBootProvesIt) {
  const std::string boot = getenv("FIREDRILL_BOOT");
  const std::string unwritten = std::string(kOutlives) + "/unwritten";
  if (boot == "1") {
    StartAgent({});
    ASSERT_TRUE(Apply("forbidden", v1::REBOOT_HOW_SUDDEN));
    const auto failed = controller_->WaitForState("forbidden", v1::INJECTION_STATE_FAILED);
    ASSERT_TRUE(failed);
    EXPECT_NE(failed->error().find("--allow"), std::string::npos) << failed->error();
    StartAgent({"--allow", "reboot"});
    ASSERT_TRUE(Apply("called-off", v1::REBOOT_HOW_SUDDEN));
    ASSERT_TRUE(controller_->End("called-off"));
    const auto ended = controller_->WaitForState("called-off", v1::INJECTION_STATE_ENDED);
    ASSERT_TRUE(ended) << agent_->Log();
    EXPECT_TRUE(ended->end_proven());
    EXPECT_FALSE(ended->has_first_impact_at());
    Pause(seconds(2));
    if (!HasFailure()) RestartBy("sudden", v1::REBOOT_HOW_SUDDEN);
  } else if (boot == "2") {
    StartAgent({"--allow", "reboot"});
    ExpectRestarted("sudden");
    if (!HasFailure()) RestartBy("orderly", v1::REBOOT_HOW_ORDERLY);
  } else {
    ASSERT_EQ(boot, "3");
    StartAgent({"--allow", "reboot"});
    ExpectRestarted("orderly");
    EXPECT_EQ(ReadFile(unwritten), "in memory alone");
  }
}

}  // namespace
}  // namespace firedrill::test
