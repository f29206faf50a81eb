// SPDX-License-Identifier: Apache-2.0
// disk_fill by a real agent, on small file systems of the test's own.
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "proto/support/time.h"
#include "tests/host/agent_fixture.h"
#include "tests/host/lib/mounts.h"

namespace firedrill::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kAll = 32 * kMiB;
constexpr std::uint64_t kTolerance = 512 << 10;  // what a file system needs for itself

class DiskFillTest : public AgentTest {
 protected:
  static void SetUpTestSuite() { EnterMountNamespace(); }
  void SetUp() override {
    MountTmpfs(disk(), kAll);
    AgentTest::SetUp();
  }
  void TearDown() override {
    agent_.reset();
    Unmount(disk());
  }
  std::string disk() const { return folder_.path() + "/disk"; }
  SpaceLeft Space() const { return SpaceIn(disk()); }

  v1::Fault Fill(double percent, std::uint64_t bytes, std::uint64_t floor) const {
    v1::Fault fault;
    auto& fill = *fault.mutable_disk_fill();
    fill.set_path(disk());
    fill.set_percent(percent);
    fill.set_bytes(bytes);
    fill.set_floor(floor);
    return fault;
  }
  std::string ErrorOf(const std::string& id, const v1::Fault& fault) {
    EXPECT_TRUE(controller_->Apply(id, fault, seconds(10), seconds(30)));
    const auto failed = controller_->WaitForState(id, v1::INJECTION_STATE_FAILED);
    return failed ? failed->error() : "it did not fail";
  }
  bool FreeAgain(Nanoseconds within = seconds(6)) {
    return WaitFor([&] { return Space().available == kAll; }, within);
  }
};

TEST_F(DiskFillTest, UsesTheAskedShareInAllThenGivesEverythingBack) {
  ASSERT_EQ(FillFile(disk() + "/others", 8 * kMiB), 8 * kMiB);
  const std::uint64_t before = Space().available;
  Begin("a", Fill(75, 0, kMiB), seconds(60));
  EXPECT_NEAR(Space().available, kAll / 4, kTolerance) << "75 % of all are used, 25 % of it before";
  const auto seen = controller_->WaitForUpdate("a", [](const v1::InjectionUpdate& update) {
    return update.has_first_impact_at() && update.counters().count("bytes_held") != 0;
  });
  ASSERT_TRUE(seen) << agent_->Log();
  EXPECT_NEAR(seen->counters().at("bytes_asked"), 16 * kMiB, kTolerance);
  EXPECT_NEAR(seen->counters().at("bytes_held"), 16 * kMiB, kTolerance);
  EXPECT_NEAR(seen->counters().at("free_bytes"), 8 * kMiB, kTolerance);
  EXPECT_LE(FromProto(seen->impact_uncertainty()), seconds(2));
  ASSERT_TRUE(controller_->End("a"));
  const auto ended = Ended("a");
  EXPECT_TRUE(ended.end_proven()) << ended.error();
  EXPECT_EQ(Space().available, before);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(disk()), {}), 1) << "no name is left";
}

TEST_F(DiskFillTest, TheFloorStaysFreeWhateverOthersTake) {
  constexpr std::uint64_t kFloor = 6 * kMiB;
  Begin("a", Fill(0, 1024 * kMiB, kFloor), seconds(60));
  EXPECT_NEAR(Space().available, kFloor, kTolerance);
  ASSERT_EQ(FillFile(disk() + "/others", 4 * kMiB), 4 * kMiB) << "there is room down to the floor";
  EXPECT_TRUE(WaitFor([&] { return Space().available + kTolerance >= kFloor; }, seconds(2)))
      << "it gives back what others take";
  std::filesystem::remove(disk() + "/others");
  EXPECT_TRUE(WaitFor([&] { return Space().available <= kFloor + kTolerance; }, seconds(5)))
      << "and takes again what they give back";
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  EXPECT_EQ(Space().available, kAll);
}

TEST_F(DiskFillTest, EndsWithAKilledWorker) {
  const auto workers = Begin("a", Fill(90, 0, kMiB), seconds(60));
  ASSERT_LT(Space().available, 5 * kMiB);
  ASSERT_EQ(kill(workers.at(0), SIGKILL), 0);
  EXPECT_TRUE(FreeAgain(seconds(2)));
  const auto ended = Ended("a");
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_WORKER_DIED);
  EXPECT_TRUE(ended.end_proven()) << ended.error();
}

TEST_F(DiskFillTest, EndsWithAStoppedWorkerAndWithAKilledAgent) {
  auto workers = Begin("a", Fill(0, 8 * kMiB, kMiB), seconds(60));
  ASSERT_EQ(kill(workers.at(0), SIGSTOP), 0);
  EXPECT_TRUE(FreeAgain());
  EXPECT_TRUE(Ended("a").end_proven());
  Begin("b", Fill(0, 8 * kMiB, kMiB), seconds(60));
  ASSERT_LT(Space().available, kAll);
  agent_->Signal(SIGKILL);
  EXPECT_TRUE(FreeAgain(seconds(4)));
  StartAgent();
  const auto live = controller_->hellos().back().live();
  ASSERT_EQ(live.size(), 1);
  EXPECT_TRUE(live[0].end_proven()) << live[0].error();
}

TEST_F(DiskFillTest, FullIsWhereOrdinaryProgramsAreStoppedAndRootsReserveStays) {
  const std::string folder = folder_.path() + "/reserved";
  std::filesystem::permissions(folder_.path(), std::filesystem::perms(0755));
  MountImage(folder_.path() + "/image", folder, 24 * kMiB, {"mkfs.ext4", "-q", "-m", "20"});
  const SpaceLeft before = SpaceIn(folder);
  const std::uint64_t reserve = before.free - before.available;
  ASSERT_GT(reserve, 3 * kMiB);
  v1::Fault fault = Fill(100, 0, 0);
  fault.mutable_disk_fill()->set_path(folder);
  Begin("a", fault, seconds(60));
  EXPECT_TRUE(WaitFor([&] { return SpaceIn(folder).available < 64 << 10; }, seconds(10)));
  EXPECT_NEAR(SpaceIn(folder).free, reserve, kTolerance);
  const auto other = RunToEnd({"setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", "dd",
                               "if=/dev/zero", "of=" + folder + "/others", "bs=1M", "count=1"});
  ASSERT_TRUE(other.ok());
  EXPECT_NE(other->exit_status, 0);
  EXPECT_NE(other->output.find("No space left"), std::string::npos) << other->output;
  EXPECT_EQ(FillFile(folder + "/roots", kMiB), kMiB) << "root's reserve is there to mend with";
  std::filesystem::remove(folder + "/roots");
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  EXPECT_NEAR(SpaceIn(folder).available, before.available, kTolerance);
  Unmount(folder);
}

TEST_F(DiskFillTest, AFileSystemWithoutFallocateIsWrittenFull) {
  const std::string folder = folder_.path() + "/old";
  MountImage(folder_.path() + "/image", folder, 24 * kMiB, {"mkfs.ext4", "-q", "-t", "ext2"});
  v1::Fault fault = Fill(0, 12 * kMiB, kMiB);
  fault.mutable_disk_fill()->set_path(folder);
  const std::uint64_t before = SpaceIn(folder).available;
  Begin("a", fault, seconds(60));
  EXPECT_TRUE(WaitFor([&] { return SpaceIn(folder).available <= before - 12 * kMiB + kTolerance; },
                      seconds(10)));
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  EXPECT_EQ(SpaceIn(folder).available, before);
  Unmount(folder);
}

TEST_F(DiskFillTest, WhatCannotBeFilledIsAClearError) {
  FillFile(disk() + "/file", 20 * kMiB);
  v1::Fault fault = Fill(90, 0, kMiB);
  fault.mutable_disk_fill()->set_path(disk() + "/file");
  EXPECT_NE(ErrorOf("a", fault).find("is no folder"), std::string::npos);
  fault.mutable_disk_fill()->set_path(disk() + "/none");
  EXPECT_NE(ErrorOf("b", fault).find("/none"), std::string::npos);
  EXPECT_NE(ErrorOf("c", Fill(50, 0, kMiB)).find("used already"), std::string::npos);
  EXPECT_NE(ErrorOf("d", Fill(90, 0, 20 * kMiB)).find("(floor)"), std::string::npos);
  ASSERT_EQ(mount(nullptr, disk().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0);
  EXPECT_NE(ErrorOf("e", Fill(90, 0, kMiB)).find("read-only"), std::string::npos);
  EXPECT_TRUE(WaitFor([&] { return agent_->Workers().empty(); }, seconds(5)));
}

}  // namespace
}  // namespace firedrill::test
