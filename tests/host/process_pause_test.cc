// SPDX-License-Identifier: Apache-2.0
// The pause of processes by a real agent, on processes with several threads that the test starts:
// this program itself, executed anew, which counts.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <thread>

#include "tests/host/agent_fixture.h"

namespace firedrill::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// What a counting process shows, in a file that it shares with the test.
struct Counts {
  static constexpr int kThreads = 4;
  std::array<std::atomic<std::uint64_t>, kThreads> each;
  std::atomic<std::uint64_t> born;     // threads that came and went
  std::atomic<std::uint64_t> signals;  // SIGUSR1 taken
  std::uint64_t sum() const {
    std::uint64_t sum = born;
    for (const auto& one : each) sum += one;
    return sum;
  }
  bool all_count() const {
    return std::all_of(each.begin(), each.end(), [](const auto& one) { return one > 0; });
  }
};

Counts* Map(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(Counts)) != 0) return nullptr;
  void* memory = mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return memory == MAP_FAILED ? nullptr : static_cast<Counts*>(memory);
}

Counts* shown = nullptr;

// What the counting process does: its threads count in small steps, for ever; one more bears
// threads, if it is told to.
int Count(const std::string& path, bool bears) {
  shown = Map(path);
  if (shown == nullptr) return 1;
  signal(SIGUSR1, [](int) { ++shown->signals; });
  for (auto& one : shown->each) {
    std::thread([&one] {
      for (;;) {
        ++one;
        usleep(1000);
      }
    }).detach();
  }
  for (;;) {
    if (!bears) {
      pause();
      continue;
    }
    std::thread([] { ++shown->born; }).detach();
    usleep(200);
  }
}

class ProcessPauseTest : public AgentTest {
 protected:
  struct Counter {
    std::unique_ptr<Child> child;
    Counts* counts = nullptr;
    pid_t pid() const { return child->pid(); }
  };
  std::string Mark(const std::string& mark) const { return folder_.path() + "/" + mark + ".count"; }
  // A counting process, told apart by `mark` in its command line.
  Counter Start(const std::string& mark, const char* how = "counts") {
    auto child = Child::Start({std::filesystem::read_symlink("/proc/self/exe"), how, Mark(mark)},
                              folder_.path() + "/log");
    EXPECT_TRUE(child.ok());
    Counter counter{*std::move(child), Map(Mark(mark))};
    // All of them: a pause that comes sooner would keep it from starting the others.
    EXPECT_TRUE(WaitFor([&] { return counter.counts->all_count(); }, seconds(10)));
    return counter;
  }
  v1::Fault Pausing(const std::string& mark) const {
    v1::Fault fault;
    fault.mutable_process_pause()->mutable_processes()->set_command_line(Mark(mark) + "$");
    return fault;
  }
  static bool GoesOn(const Counter& counter, Nanoseconds within = seconds(8)) {
    const std::uint64_t before = counter.counts->sum();
    return WaitFor([&] { return counter.counts->sum() > before + 4; }, within);
  }
  static bool StandsStill(const Counter& counter) {
    const std::uint64_t before = counter.counts->sum();
    Pause(milliseconds(150));
    return counter.counts->sum() == before;
  }
  // Of every thread, "t" where it is traced and stands still.
  static std::string States(pid_t pid) {
    std::string states;
    for (const auto& entry :
         std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
      const std::string stat = ReadFile(entry.path() / "stat");
      states += stat[stat.rfind(')') + 2];
    }
    return states;
  }
  static int TracerOf(pid_t pid) {
    const std::string status = ReadFile("/proc/" + std::to_string(pid) + "/status");
    return std::atoi(status.c_str() + status.find("TracerPid:") + 10);
  }
};

TEST_F(ProcessPauseTest, EveryThreadStandsStillUntilTheEnd) {
  const Counter victim = Start("victim"), bystander = Start("bystander");
  EXPECT_TRUE(GoesOn(victim));
  Begin("a", Pausing("victim"), seconds(60));
  EXPECT_EQ(States(victim.pid()), std::string(Counts::kThreads + 1, 't'));
  EXPECT_TRUE(StandsStill(victim));
  EXPECT_TRUE(GoesOn(bystander));
  ASSERT_EQ(kill(victim.pid(), SIGUSR1), 0);
  Pause(milliseconds(50));
  EXPECT_EQ(victim.counts->signals, 0u) << "a signal waits";
  ASSERT_TRUE(controller_->End("a"));
  const auto ended = Ended("a");
  EXPECT_TRUE(ended.end_proven()) << ended.error();
  EXPECT_TRUE(GoesOn(victim));
  EXPECT_TRUE(WaitFor([&] { return victim.counts->signals == 1; }, seconds(5)));
  EXPECT_EQ(TracerOf(victim.pid()), 0);
  EXPECT_TRUE(ended.has_first_impact_at());
  EXPECT_EQ(ended.counters().at("processes_paused"), 1);
  EXPECT_EQ(ended.counters().at("threads_paused"), Counts::kThreads + 1);
}

TEST_F(ProcessPauseTest, ADeadWorkerLetsItGoOn) {
  const Counter victim = Start("victim");
  const auto workers = Begin("a", Pausing("victim"), seconds(60));
  EXPECT_TRUE(StandsStill(victim));
  ASSERT_EQ(kill(victim.pid(), SIGUSR1), 0);
  ASSERT_EQ(kill(workers.at(0), SIGKILL), 0);
  EXPECT_TRUE(GoesOn(victim, seconds(2)));
  EXPECT_TRUE(WaitFor([&] { return victim.counts->signals == 1; }, seconds(5)));
  const auto ended = Ended("a");
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_WORKER_DIED);
  EXPECT_TRUE(ended.end_proven());
}

TEST_F(ProcessPauseTest, ADeadAgentLetsItGoOn) {
  const Counter victim = Start("victim");
  Begin("a", Pausing("victim"), seconds(60));
  agent_->Signal(SIGKILL);
  EXPECT_TRUE(GoesOn(victim, seconds(5)));
}

TEST_F(ProcessPauseTest, AStoppedWorkerLetsItGoOn) {
  const Counter victim = Start("victim");
  const auto workers = Begin("a", Pausing("victim"), seconds(60));
  ASSERT_EQ(kill(workers.at(0), SIGSTOP), 0);
  EXPECT_TRUE(GoesOn(victim, seconds(8)));
  EXPECT_EQ(Ended("a").end_reason(), v1::END_REASON_WORKER_DIED);
}

TEST_F(ProcessPauseTest, SigkillWorksAtOnceAndEndsThePause) {
  Counter victim = Start("victim");
  Begin("a", Pausing("victim"), seconds(60));
  victim.child->Signal(SIGKILL);
  EXPECT_TRUE(WaitFor([&] { return !victim.child->Running(); }, seconds(2)))
      << "its parent must hear of its end";
  EXPECT_EQ(Ended("a").end_reason(), v1::END_REASON_HOST_CHANGED);
}

TEST_F(ProcessPauseTest, WhatWasStoppedBeforeIsSoAfterwards) {
  const Counter victim = Start("victim");
  ASSERT_EQ(kill(victim.pid(), SIGSTOP), 0);
  EXPECT_TRUE(WaitFor([&] { return ProcessState(victim.pid()) == 'T'; }, seconds(5)));
  Begin("a", Pausing("victim"), seconds(60));
  EXPECT_EQ(States(victim.pid()), std::string(Counts::kThreads + 1, 't'));
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  EXPECT_TRUE(WaitFor([&] { return ProcessState(victim.pid()) == 'T'; }, seconds(5)));
  EXPECT_TRUE(StandsStill(victim));
  ASSERT_EQ(kill(victim.pid(), SIGCONT), 0);
  EXPECT_TRUE(GoesOn(victim));
}

TEST_F(ProcessPauseTest, OneThatIsTracedAlreadyIsAnErrorAndNoneIsTouched) {
  const Counter free = Start("pair1"), traced = Start("pair2");
  ASSERT_EQ(ptrace(PTRACE_SEIZE, traced.pid(), nullptr, nullptr), 0);
  v1::Fault fault;
  fault.mutable_process_pause()->mutable_processes()->set_command_line(folder_.path() + "/pair");
  fault.mutable_process_pause()->mutable_pick()->set_all(true);
  ASSERT_TRUE(controller_->Apply("a", fault, seconds(60), seconds(30)));
  const auto failed = controller_->WaitForState("a", v1::INJECTION_STATE_FAILED);
  ASSERT_TRUE(failed);
  EXPECT_NE(failed->error().find("traced already"), std::string::npos) << failed->error();
  EXPECT_TRUE(GoesOn(free));
  EXPECT_TRUE(GoesOn(traced));
  EXPECT_EQ(TracerOf(free.pid()), 0);
}

TEST_F(ProcessPauseTest, ThreadsThatAreBornMeanwhileStandStillToo) {
  const Counter victim = Start("victim", "bears");
  Begin("a", Pausing("victim"), seconds(60));
  EXPECT_TRUE(StandsStill(victim));
  EXPECT_EQ(States(victim.pid()).find_first_not_of('t'), std::string::npos) << States(victim.pid());
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  const std::uint64_t born = victim.counts->born;
  EXPECT_TRUE(WaitFor([&] { return victim.counts->born > born + 10; }, seconds(5)));
}

TEST_F(ProcessPauseTest, PausesTheNewestOfThoseThatAreNotExcluded) {
  std::vector<Counter> crowd;
  for (int i = 0; i < 3; ++i) {
    crowd.push_back(Start("crowd" + std::to_string(i)));
    Pause(milliseconds(30));
  }
  v1::Fault fault;
  auto& pause = *fault.mutable_process_pause();
  pause.mutable_processes()->set_command_line(folder_.path() + "/crowd");
  pause.mutable_exclude()->set_command_line("crowd2");
  pause.set_order(v1::PICK_NEWEST);
  Begin("a", fault, seconds(60));
  EXPECT_TRUE(StandsStill(crowd[1]));
  EXPECT_TRUE(GoesOn(crowd[0]));
  EXPECT_TRUE(GoesOn(crowd[2]));
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_EQ(Ended("a").counters().at("processes_found"), 2);
  EXPECT_TRUE(GoesOn(crowd[1]));
}

}  // namespace
}  // namespace firedrill::test

int main(int argc, char** argv) {
  const std::string how = argc == 3 ? argv[1] : "";
  if (how == "counts" || how == "bears") return firedrill::test::Count(argv[2], how == "bears");
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
