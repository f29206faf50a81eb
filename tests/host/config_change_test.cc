// SPDX-License-Identifier: Apache-2.0
// config_change by a real agent, on files of the test's own.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "agent/host/systemctl.h"
#include "proto/support/time.h"
#include "tests/host/agent_fixture.h"
#include "tests/host/lib/mounts.h"
#include "tests/host/lib/stalls.h"

namespace firedrill::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const char* const kOriginal = "# shop\ntimeout = 30\nretries = 3\n";
const char* const kEdited = "# shop\ntimeout = 1\nretries = 3\n";

class ConfigChangeTest : public AgentTest {
 protected:
  static void SetUpTestSuite() { EnterMountNamespace(); }
  void SetUp() override {
    root_ = std::filesystem::canonical(folder_.path());
    folder_.Write("shop.conf", kOriginal);
    ASSERT_EQ(chmod(file().c_str(), 0640), 0);
    auto controller = FakeController::Start();
    ASSERT_TRUE(controller.ok()) << controller.status();
    controller_ = *std::move(controller);
    StartAgent(Allowed());
  }
  std::vector<std::string> Allowed() const { return {"--allow-file", root_ + "/*.conf"}; }
  std::string file() const { return root_ + "/shop.conf"; }

  v1::Fault Change(const std::string& path, const std::string& pattern = "timeout = [0-9]+",
                   const std::string& text = "timeout = 1") const {
    v1::Fault fault;
    auto& change = *fault.mutable_config_change();
    change.set_path(path);
    change.set_pattern(pattern);
    change.set_text(text);
    return fault;
  }
  std::string ErrorOf(const std::string& id, const v1::Fault& fault) {
    EXPECT_TRUE(controller_->Apply(id, fault, seconds(10), seconds(30)));
    const auto failed = controller_->WaitForState(id, v1::INJECTION_STATE_FAILED);
    return failed ? failed->error() : "it did not fail";
  }
  static void Write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::trunc) << text;
  }
  bool Holds(const std::string& text, Nanoseconds within) const {
    return WaitFor([&] { return ReadFile(file()) == text; }, within);
  }
  // Only the file that was there before is there: no temporary one.
  void ExpectTidy() const {
    for (const auto& entry : std::filesystem::directory_iterator(root_)) {
      EXPECT_NE(entry.path().filename().string().front(), '.') << entry.path();
    }
  }

  std::string root_;
};

TEST_F(ConfigChangeTest, EditsAndPutsEverythingBack) {
  ASSERT_EQ(chown(file().c_str(), 12, 34), 0);
  ASSERT_EQ(setxattr(file().c_str(), "user.owner", "shop", 4, 0), 0);
  struct stat before;
  ASSERT_EQ(stat(file().c_str(), &before), 0);
  const SystemTime asked = Clock::Real().System();
  Begin("a", Change(file()), seconds(60));
  EXPECT_EQ(ReadFile(file()), kEdited);
  struct stat during;
  ASSERT_EQ(stat(file().c_str(), &during), 0);
  EXPECT_EQ(during.st_mode, before.st_mode);
  EXPECT_EQ(during.st_uid, 12u);
  const auto seen = controller_->WaitForUpdate(
      "a", [](const v1::InjectionUpdate& update) { return update.has_first_impact_at(); });
  ASSERT_TRUE(seen);
  EXPECT_GE(FromProto(seen->first_impact_at()), asked);
  EXPECT_LE(FromProto(seen->first_impact_at()), FromProto(seen->applied_at()) + milliseconds(1));
  ASSERT_TRUE(controller_->End("a"));
  const auto ended = Ended("a");
  EXPECT_TRUE(ended.end_proven()) << ended.error();
  EXPECT_EQ(ended.error(), "");
  EXPECT_EQ(ReadFile(file()), kOriginal);
  struct stat after;
  ASSERT_EQ(stat(file().c_str(), &after), 0);
  EXPECT_EQ(after.st_mode, before.st_mode);
  EXPECT_EQ(after.st_gid, 34u);
  EXPECT_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
  char owner[8] = {};
  EXPECT_EQ(getxattr(file().c_str(), "user.owner", owner, sizeof owner), 4);
  ExpectTidy();
  EXPECT_TRUE(std::filesystem::is_empty(state() + "/journal"));
}

TEST_F(ConfigChangeTest, MeasuresWhenSomebodyPutsItRight) {
  const StallWatch watch;
  const pid_t worker = Begin("a", Change(file()), seconds(60)).at(0);
  Pause(milliseconds(600));
  const SteadyTime start = Clock::Real().Steady();
  const Nanoseconds delay_before = RunDelay(worker);
  const SystemTime before = Clock::Real().System();
  Write(root_ + "/new", kOriginal);
  ASSERT_EQ(rename((root_ + "/new").c_str(), file().c_str()), 0);
  const SystemTime after = Clock::Real().System();
  const auto seen = controller_->WaitForUpdate("a", [](const v1::InjectionUpdate& update) {
    return update.counters().count("put_right_after_seconds") != 0;
  });
  ASSERT_TRUE(seen) << agent_->Log();
  EXPECT_GT(seen->counters().at("put_right_after_seconds"), 0.5);
  EXPECT_LT(seen->counters().at("put_right_after_seconds"), 3);
  ASSERT_EQ(seen->events_size(), 1);
  const v1::InjectionEvent& event = seen->events(0);
  EXPECT_EQ(event.name(), "put_right");
  const Nanoseconds within = FromProto(event.uncertainty());
  const Nanoseconds kept_waiting = RunDelay(worker) - delay_before;
  const Nanoseconds stalled = watch.Between(start, Clock::Real().Steady());
  EXPECT_LE(within, milliseconds(100) + kept_waiting);
  EXPECT_GE(FromProto(event.at()) + within, before);
  EXPECT_LE(FromProto(event.at()) - within - milliseconds(100) - stalled, after);
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  EXPECT_EQ(ReadFile(file()), kOriginal);
}

TEST_F(ConfigChangeTest, WhatSomebodyElseWroteIsLeftAlone) {
  const std::string third = "# rewritten\ntimeout = 45\n";
  Begin("a", Change(file()), seconds(60));
  Write(file(), third);
  const auto seen = controller_->WaitForUpdate("a", [](const v1::InjectionUpdate& update) {
    return update.events_size() > 0 && update.events(0).name() == "changed";
  });
  EXPECT_TRUE(seen) << agent_->Log();
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven()) << "nothing of the edit is left";
  EXPECT_EQ(ReadFile(file()), third);
}

TEST_F(ConfigChangeTest, ALineOfOursInSomebodyElsesFileIsNoProvenEnd) {
  const std::string mixed = "# rewritten\ntimeout = 1\n";
  Begin("a", Change(file()), seconds(60));
  Write(file(), mixed);
  ASSERT_TRUE(controller_->End("a"));
  const auto ended = Ended("a");
  EXPECT_FALSE(ended.end_proven());
  EXPECT_NE(ended.error().find("put it right by hand"), std::string::npos) << ended.error();
  EXPECT_EQ(ReadFile(file()), mixed);
  Write(file(), "# mended\ntimeout = 9\n");
  agent_->Signal(SIGKILL);
  StartAgent(Allowed());
  EXPECT_TRUE(controller_->hellos().back().live(0).end_proven()) << "a person has mended it";
  EXPECT_TRUE(std::filesystem::is_empty(state() + "/journal"));
}

TEST_F(ConfigChangeTest, OneFileHoldsOneEdit) {
  Begin("a", Change(file()), seconds(60));
  const std::string error = ErrorOf("b", Change(file(), "", "late = 1"));
  EXPECT_NE(error.find("the edit of another config_change"), std::string::npos) << error;
  EXPECT_EQ(ReadFile(file()), kEdited);
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  EXPECT_EQ(ReadFile(file()), kOriginal);
  EXPECT_TRUE(std::filesystem::is_empty(state() + "/journal"));
  Begin("c", Change(file(), "", "late = 1"), seconds(60));
}

TEST_F(ConfigChangeTest, IsUndoneWhateverDies) {
  auto workers = Begin("a", Change(file()), seconds(60));
  ASSERT_EQ(kill(workers.at(0), SIGKILL), 0);
  EXPECT_TRUE(Holds(kOriginal, seconds(2)));
  EXPECT_TRUE(Ended("a").end_proven());
  workers = Begin("b", Change(file(), "", "late = 1"), seconds(60));
  ASSERT_EQ(ReadFile(file()), std::string(kOriginal) + "late = 1\n");
  ASSERT_EQ(kill(workers.at(0), SIGSTOP), 0);
  EXPECT_TRUE(Holds(kOriginal, seconds(5)));
  EXPECT_TRUE(Ended("b").end_proven());
  workers = Begin("c", Change(file()), seconds(60));
  ASSERT_EQ(kill(workers.at(0), SIGSTOP), 0);
  agent_->Signal(SIGKILL);
  StartAgent(Allowed());
  EXPECT_EQ(ReadFile(file()), kOriginal) << "before the new agent says hello";
  const auto live = controller_->hellos().back().live();
  ASSERT_EQ(live.size(), 1);
  EXPECT_TRUE(live[0].end_proven()) << live[0].error();
  ExpectTidy();
}

TEST_F(ConfigChangeTest, AFileThatIsMountedAloneIsWrittenInPlace) {
  const std::string other = folder_.Write("backing", kOriginal);
  ASSERT_EQ(mount(other.c_str(), file().c_str(), nullptr, MS_BIND, nullptr), 0);
  agent_->Signal(SIGTERM);
  StartAgent(Allowed());  // in this mount namespace, with the new mount
  Begin("a", Change(file()), seconds(60));
  EXPECT_EQ(ReadFile(file()), kEdited);
  EXPECT_EQ(ReadFile(other), kEdited);
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  EXPECT_EQ(ReadFile(other), kOriginal);
  Unmount(file());
  ExpectTidy();
}

TEST_F(ConfigChangeTest, ReloadsTheUnitAfterTheChangeAndAfterTheEnd) {
  v1::Fault fault = Change(file());
  const std::string unit = "firedrill-reload-test.service";
  fault.mutable_config_change()->set_reload_unit(unit);
  if (!agent::TrySystemd().ok()) {
    EXPECT_NE(ErrorOf("a", fault).find("needs systemd of this host"), std::string::npos);
    EXPECT_EQ(ReadFile(file()), kOriginal);
    return;
  }
  const std::string log = root_ + "/reloads";
  std::filesystem::create_directories("/run/systemd/system");
  Write("/run/systemd/system/" + unit,
        "[Service]\nExecStart=/bin/sleep 600\nExecReload=/bin/sh -c 'cat " + file() + " >> " + log +
            "'\n");
  ASSERT_EQ(RunToEnd({"systemctl", "daemon-reload"})->exit_status, 0);
  ASSERT_EQ(RunToEnd({"systemctl", "start", unit})->exit_status, 0);
  const auto reloaded = [&](const std::string& text) {
    return WaitFor([&] { return ReadFile(log) == text; }, seconds(10));
  };
  Begin("a", fault, seconds(60));
  EXPECT_TRUE(reloaded(kEdited)) << ReadFile(log);
  EXPECT_TRUE(controller_->WaitForUpdate("a", [](const v1::InjectionUpdate& update) {
    return update.events_size() == 1 && update.events(0).name() == "reloaded";
  })) << agent_->Log();
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  EXPECT_TRUE(reloaded(std::string(kEdited) + kOriginal)) << ReadFile(log);
  std::filesystem::remove(log);
  const auto workers = Begin("b", fault, seconds(60));
  EXPECT_TRUE(reloaded(kEdited));
  ASSERT_EQ(kill(workers.at(0), SIGKILL), 0);
  EXPECT_TRUE(Ended("b").end_proven());
  EXPECT_TRUE(reloaded(std::string(kEdited) + kOriginal)) << ReadFile(log);
  EXPECT_TRUE(RunToEnd({"systemctl", "stop", unit}).ok());
  std::filesystem::remove("/run/systemd/system/" + unit);
}

TEST_F(ConfigChangeTest, WhatIsNotAllowedIsRefusedUntouched) {
  const std::string other = folder_.Write("other.ini", kOriginal);
  EXPECT_NE(ErrorOf("a", Change(root_ + "/other.ini")).find("--allow-file " + root_ + "/other.ini"),
            std::string::npos);
  ASSERT_EQ(symlink(other.c_str(), (root_ + "/link.conf").c_str()), 0);
  EXPECT_NE(ErrorOf("b", Change(root_ + "/link.conf")).find("symbolic link"), std::string::npos);
  EXPECT_EQ(ReadFile(other), kOriginal);
  EXPECT_NE(ErrorOf("c", Change(file(), "no such text", "x")).find("matches nothing"),
            std::string::npos);
  EXPECT_EQ(ReadFile(file()), kOriginal);
  EXPECT_TRUE(WaitFor([&] { return agent_->Workers().empty(); }, seconds(5)));
  StartAgent();
  EXPECT_NE(ErrorOf("d", Change(file())).find("has allowed no file"), std::string::npos);
}

}  // namespace
}  // namespace firedrill::test
