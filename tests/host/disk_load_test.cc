// SPDX-License-Identifier: Apache-2.0
// disk_load by a real agent, on a small ext4 of the test's own.
#include <csignal>
#include <filesystem>
#include <sstream>

#include "proto/support/time.h"
#include "tests/host/agent_fixture.h"
#include "tests/host/lib/mounts.h"

namespace firedrill::test {
namespace {

using std::chrono::seconds;

constexpr std::uint64_t kMiB = 1 << 20;

class DiskLoadTest : public AgentTest {
 protected:
  static void SetUpTestSuite() { EnterMountNamespace(); }
  void SetUp() override {
    MountImage(folder_.path() + "/image", disk(), 128 * kMiB);
    before_ = SpaceIn(disk()).available;
    AgentTest::SetUp();
  }
  void TearDown() override {
    agent_.reset();
    Unmount(disk());
  }
  std::string disk() const { return folder_.path() + "/disk"; }

  v1::Fault Load(std::uint64_t read_rate, std::uint64_t write_rate,
                 std::uint64_t size = 8 * kMiB) const {
    v1::Fault fault;
    auto& load = *fault.mutable_disk_load();
    load.set_path(disk());
    load.set_read_rate(read_rate);
    load.set_write_rate(write_rate);
    load.set_size(size);
    return fault;
  }

  // What the kernel counts of a process at its block devices.
  struct Moved {
    double read = 0;
    double written = 0;
  };
  static Moved MovedBy(pid_t pid) {
    std::istringstream text(ReadFile("/proc/" + std::to_string(pid) + "/io"));
    Moved moved;
    std::string name;
    for (double value = 0; text >> name >> value;) {
      if (name == "read_bytes:") moved.read = value;
      if (name == "write_bytes:") moved.written = value;
    }
    return moved;
  }
  bool FreeAgain(Nanoseconds within = seconds(6)) {
    return WaitFor([&] { return SpaceIn(disk()).available == before_; }, within);
  }

  std::uint64_t before_ = 0;
};

TEST_F(DiskLoadTest, MovesTheAskedBytesPastThePageCache) {
  const auto workers = Begin("a", Load(4 * kMiB, 2 * kMiB), seconds(60));
  ASSERT_TRUE(controller_->WaitForUpdate("a", [](const v1::InjectionUpdate& update) {
    const auto found = update.counters().find("prepared_bytes");
    return found != update.counters().end() && found->second >= 8 * kMiB;
  }));
  // Never more than asked; as much, unless the disk or the machine were too busy for it each time.
  bool kept = false;
  for (int attempt = 0; attempt < 6 && !kept; ++attempt) {
    const SteadyTime start = Clock::Real().Steady();
    const Moved at_first = MovedBy(workers.at(0));
    const SteadyTime began = Clock::Real().Steady();
    Pause(seconds(3));
    const SteadyTime ended = Clock::Real().Steady();
    const Moved then = MovedBy(workers.at(0));
    const double most = Seconds(Clock::Real().Steady() - start), least = Seconds(ended - began);
    const double read = (then.read - at_first.read) / kMiB;
    const double written = (then.written - at_first.written) / kMiB;
    EXPECT_LE(read, 4.6 * most);
    EXPECT_LE(written, 2.5 * most);
    kept = read >= 3.4 * least && written >= 1.5 * least;
  }
  EXPECT_TRUE(kept);
  const auto seen = controller_->WaitForUpdate("a", [](const v1::InjectionUpdate& update) {
    return update.has_first_impact_at() &&
           update.counters().count("achieved_read_bytes_per_second") &&
           update.counters().at("achieved_read_bytes_per_second") > 3 * kMiB;
  });
  ASSERT_TRUE(seen) << agent_->Log();
  EXPECT_EQ(seen->counters().at("past_page_cache"), 1);
  EXPECT_EQ(seen->counters().at("io_errors"), 0);
  EXPECT_EQ(seen->counters().at("asked_read_bytes_per_second"), 4 * kMiB);
  EXPECT_GT(seen->counters().at("written_bytes"), 0);
  ASSERT_TRUE(controller_->End("a"));
  const auto ended = Ended("a");
  EXPECT_TRUE(ended.end_proven()) << ended.error();
  EXPECT_EQ(SpaceIn(disk()).available, before_);
}

TEST_F(DiskLoadTest, ShrinksBeforeTheFloorIsReached) {
  Begin("a", Load(0, 16 * kMiB, 32 * kMiB), seconds(60));
  ASSERT_TRUE(
      WaitFor([&] { return SpaceIn(disk()).available < before_ - 24 * kMiB; }, seconds(10)));
  const std::uint64_t others = SpaceIn(disk()).available - 50 * kMiB;
  ASSERT_EQ(FillFile(disk() + "/others", others), others);
  EXPECT_TRUE(WaitFor([&] { return SpaceIn(disk()).available >= 63 * kMiB; }, seconds(10)))
      << SpaceIn(disk()).available / kMiB << " MiB";
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  std::filesystem::remove(disk() + "/others");
  EXPECT_TRUE(FreeAgain());
}

TEST_F(DiskLoadTest, EndsWithAKilledAndAStoppedWorker) {
  auto workers = Begin("a", Load(kMiB, kMiB), seconds(60));
  ASSERT_EQ(kill(workers.at(0), SIGKILL), 0);
  EXPECT_TRUE(FreeAgain(seconds(2)));
  EXPECT_TRUE(Ended("a").end_proven());
  workers = Begin("b", Load(kMiB, kMiB), seconds(60));
  ASSERT_EQ(kill(workers.at(0), SIGSTOP), 0);
  EXPECT_TRUE(FreeAgain());
  EXPECT_TRUE(Ended("b").end_proven());
}

TEST_F(DiskLoadTest, EndsWithAKilledAgentAndTheNextOneProvesIt) {
  Begin("a", Load(kMiB, kMiB), seconds(60));
  agent_->Signal(SIGKILL);
  EXPECT_TRUE(FreeAgain(seconds(4)));
  StartAgent();
  const auto live = controller_->hellos().back().live();
  ASSERT_EQ(live.size(), 1);
  EXPECT_TRUE(live[0].end_proven()) << live[0].error();
}

TEST_F(DiskLoadTest, AFileThatDoesNotFitIsAClearError) {
  ASSERT_TRUE(controller_->Apply("a", Load(kMiB, 0, 100 * kMiB), seconds(10), seconds(30)));
  const auto failed = controller_->WaitForState("a", v1::INJECTION_STATE_FAILED);
  ASSERT_TRUE(failed);
  EXPECT_NE(failed->error().find("choose a smaller size"), std::string::npos) << failed->error();
}

}  // namespace
}  // namespace firedrill::test
