// SPDX-License-Identifier: Apache-2.0
// The memory fault by a real agent and a real worker on this kernel. Amounts are small: others use
// this machine, too.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "proto/support/time.h"
#include "tests/host/agent_fixture.h"
#include "tests/host/lib/cgroup.h"
#include "tests/host/lib/stalls.h"

namespace firedrill::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kMiB = 1 << 20;

double Counter(const v1::InjectionUpdate& update, const std::string& name) {
  const auto found = update.counters().find(name);
  return found == update.counters().end() ? -1 : found->second;
}

// "Name: 12 kB" of a file of /proc, in bytes.
std::uint64_t Bytes(const std::string& file, const std::string& name) {
  std::istringstream words(ReadFile(file));
  std::uint64_t kilobytes = 0;
  for (std::string word; words >> word;) {
    if (word == name + ":" && words >> kilobytes) return kilobytes << 10;
  }
  return 0;
}

std::uint64_t Resident(pid_t pid) {
  return Bytes("/proc/" + std::to_string(pid) + "/smaps_rollup", "Pss_Anon");
}

// Another process that takes memory when it is told to, in a cgroup or not.
class Eater {
 public:
  Eater() {
    if (pipe(pipe_) != 0) throw std::runtime_error("pipe");
    pid_ = fork();
    if (pid_ != 0) return;
    alarm(60);  // whatever becomes of the test
    std::uint64_t bytes = 0;
    while (read(pipe_[0], &bytes, sizeof bytes) == sizeof bytes) {
      void* memory =
          mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (memory != MAP_FAILED) std::memset(memory, 1, bytes);
    }
    _exit(0);
  }
  ~Eater() {
    if (pid_ > 1) kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    close(pipe_[0]);
    close(pipe_[1]);
  }
  pid_t pid() const { return pid_; }
  void Eat(std::uint64_t bytes) const {
    ASSERT_EQ(write(pipe_[1], &bytes, sizeof bytes), static_cast<ssize_t>(sizeof bytes));
  }

 private:
  int pipe_[2];
  pid_t pid_;
};

class MemoryFaultTest : public AgentTest {
 protected:
  static v1::Fault Memory(std::uint64_t bytes) {
    v1::Fault fault;
    fault.mutable_memory()->set_bytes(bytes);
    return fault;
  }
  // The worker of a memory fault that holds so much.
  pid_t Hold(const std::string& id, const v1::Fault& fault, std::uint64_t bytes) {
    const auto workers = Begin(id, fault, seconds(60));
    EXPECT_EQ(workers.size(), 1u) << agent_->Log();
    const pid_t worker = workers.empty() ? -1 : workers.front();
    EXPECT_TRUE(WaitFor([&] { return Resident(worker) >= bytes; }, seconds(20)))
        << Resident(worker) << " of " << bytes;
    return worker;
  }
  std::optional<v1::InjectionUpdate> Seen(const std::string& id, const std::string& counter,
                                          double least, double most) {
    return controller_->WaitForUpdate(id, [&](const v1::InjectionUpdate& update) {
      return Counter(update, counter) >= least && Counter(update, counter) <= most;
    });
  }
  // A memory cgroup with this limit.
  static void SetLimit(const TestCgroup& cgroup, std::uint64_t bytes) {
    cgroup.Set(cgroup.v2() ? "memory.max" : "memory.limit_in_bytes", std::to_string(bytes));
  }
  static std::uint64_t Used(const TestCgroup& cgroup) {
    return std::stoull(cgroup.Get(cgroup.v2() ? "memory.current" : "memory.usage_in_bytes"));
  }
};

TEST_F(MemoryFaultTest, HoldsWhatWasAskedThenLeavesNothing) {
  const std::uint64_t asked = 96 * kMiB;
  const pid_t worker = Hold("a", Memory(asked), asked);
  EXPECT_LT(Resident(worker), asked + 16 * kMiB);
  EXPECT_EQ(ReadFile("/proc/" + std::to_string(worker) + "/oom_score_adj"), "1000\n");
  EXPECT_NE(ReadFile("/proc/" + std::to_string(agent_->pid()) + "/oom_score_adj"), "1000\n");
  const auto seen = Seen("a", "bytes_held", 0.99 * asked, 1.05 * asked);
  ASSERT_TRUE(seen) << agent_->Log();
  EXPECT_EQ(Counter(*seen, "bytes_asked"), asked);
  EXPECT_GT(Counter(*seen, "available_bytes"), 128 * kMiB);
  ASSERT_TRUE(seen->has_first_impact_at());
  EXPECT_LE(FromProto(seen->first_impact_at()), FromProto(seen->applied_at()));
  EXPECT_GT(FromProto(seen->first_impact_at()), FromProto(seen->applied_at()) - seconds(5));
  ASSERT_TRUE(controller_->End("a"));
  const auto ended = Ended("a");
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_REQUESTED);
  EXPECT_TRUE(ended.end_proven());
  EXPECT_EQ(ended.error(), "");
  EXPECT_FALSE(Alive(worker));
}

TEST_F(MemoryFaultTest, RampRisesEvenly) {
  const StallWatch watch;
  v1::Fault fault = Memory(64 * kMiB);
  *fault.mutable_memory()->mutable_ramp() = ToProto(seconds(4));
  const pid_t worker = Begin("a", fault, seconds(60)).at(0);
  Pause(milliseconds(300));
  const SteadyTime early = Clock::Real().Steady();
  const std::uint64_t before = Resident(worker);
  const Nanoseconds waited = RunDelay(worker);
  const SteadyTime began = Clock::Real().Steady();
  EXPECT_LT(before, 48 * kMiB);
  Pause(milliseconds(1500));
  const SteadyTime ended = Clock::Real().Steady();
  const std::uint64_t after = Resident(worker);
  const SteadyTime late = Clock::Real().Steady();
  const double risen = static_cast<double>(after - before) / (64.0 * kMiB);
  EXPECT_LE(risen, Seconds(late - early) / 4 + 0.15);
  // It takes what is due as soon as it runs. A wait that goes on is counted when it is over: when
  // it has taken more.
  EXPECT_TRUE(WaitFor([&] { return Resident(worker) > after; }, seconds(10)));
  const Nanoseconds refused = RunDelay(worker) - waited + watch.Between(began, late);
  EXPECT_GE(risen, Seconds(ended - began - refused) / 4 - 0.15);
  EXPECT_TRUE(Seen("a", "bytes_held", 63.0 * kMiB, 80.0 * kMiB));
}

TEST_F(MemoryFaultTest, InACgroupItTakesAShareOfWhatTheLimitLeaves) {
  const TestCgroup cgroup("memory", "fdmemory");
  SetLimit(cgroup, 128 * kMiB);
  v1::Fault fault;
  fault.mutable_memory()->set_percent(50);
  fault.mutable_memory()->set_floor(16 * kMiB);
  fault.mutable_memory()->set_cgroup(cgroup.path());
  const pid_t worker = Hold("a", fault, 62 * kMiB);
  EXPECT_EQ(cgroup.Processes(), std::vector<pid_t>{worker});
  EXPECT_NEAR(static_cast<double>(Used(cgroup)), 64.0 * kMiB, 6.0 * kMiB);
  const auto seen = Seen("a", "bytes_asked", 60.0 * kMiB, 64.0 * kMiB);
  EXPECT_TRUE(seen);
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  EXPECT_TRUE(cgroup.Processes().empty());
}

TEST_F(MemoryFaultTest, TheFloorIsNeverTakenAndOthersGetItBack) {
  const TestCgroup cgroup("memory", "fdmemory");
  SetLimit(cgroup, 128 * kMiB);
  const Eater eater;
  cgroup.Add(eater.pid());
  v1::Fault fault;
  fault.mutable_memory()->set_percent(100);
  fault.mutable_memory()->set_floor(32 * kMiB);
  fault.mutable_memory()->set_cgroup(cgroup.path());
  Hold("a", fault, 88 * kMiB);
  Pause(milliseconds(300));
  EXPECT_LE(Used(cgroup), 97 * kMiB) << "the floor was taken";
  // Less than the floor at once, so that the kernel need not choose between the two meanwhile.
  eater.Eat(24 * kMiB);
  EXPECT_TRUE(WaitFor([&] { return Resident(eater.pid()) >= 24 * kMiB; }, seconds(5)));
  EXPECT_TRUE(WaitFor([&] { return Used(cgroup) <= 97 * kMiB; }, seconds(3)))
      << Used(cgroup) << " of the cgroup are used: nothing was given back";
  const auto gave = controller_->WaitForUpdate("a", [](const v1::InjectionUpdate& update) {
    return Counter(update, "bytes_given_back") > 0 && update.events_size() > 0;
  });
  ASSERT_TRUE(gave) << agent_->Log();
  EXPECT_EQ(gave->events(0).name(), "gave_back");
  EXPECT_LT(Counter(*gave, "bytes_held"), Counter(*gave, "bytes_asked"));
  EXPECT_TRUE(Alive(eater.pid()));
}

TEST_F(MemoryFaultTest, AFloorThatLeavesNothingIsRefused) {
  v1::Fault fault = Memory(64 * kMiB);
  fault.mutable_memory()->set_floor(16ULL << 40);
  ASSERT_TRUE(controller_->Apply("a", fault, seconds(10), seconds(30)));
  const auto failed = controller_->WaitForState("a", v1::INJECTION_STATE_FAILED);
  ASSERT_TRUE(failed) << agent_->Log();
  EXPECT_NE(failed->error().find("there is nothing to take"), std::string::npos) << failed->error();
  EXPECT_TRUE(WaitFor([&] { return agent_->Workers().empty(); }, seconds(5)));
}

// The worker shares a cgroup with a process that takes all of its limit at once.
TEST_F(MemoryFaultTest, TheOomKillerTakesTheWorkerFirstAndTheEndSaysSo) {
  const TestCgroup cgroup("memory", "fdmemory");
  SetLimit(cgroup, 96 * kMiB);
  const Eater eater;
  cgroup.Add(eater.pid());
  v1::Fault fault = Memory(60 * kMiB);
  fault.mutable_memory()->set_floor(1 * kMiB);
  fault.mutable_memory()->set_cgroup(cgroup.path());
  const pid_t worker = Hold("a", fault, 58 * kMiB);
  // It cannot give back while it is stopped: the kernel has to choose.
  ASSERT_NO_FATAL_FAILURE(SignalWorker(worker, SIGSTOP));
  eater.Eat(64 * kMiB);
  const auto ended = Ended("a", seconds(10));
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_WORKER_DIED);
  EXPECT_NE(ended.error().find("OOM killer"), std::string::npos) << ended.error();
  EXPECT_TRUE(ended.end_proven()) << ended.error();
  // Not that the bystander lives: while the kernel still frees what the worker had, it may find no
  // room and choose again (seen in its log: a victim's pages are uncharged in batches).
  EXPECT_FALSE(Alive(worker));
}

TEST_F(MemoryFaultTest, DiesWithAKilledOrStoppedWorkerAndAKilledAgent) {
  const pid_t killed = Hold("killed", Memory(16 * kMiB), 16 * kMiB);
  ASSERT_NO_FATAL_FAILURE(SignalWorker(killed, SIGKILL));
  EXPECT_TRUE(Ended("killed").end_proven());
  const pid_t stopped = Hold("stopped", Memory(16 * kMiB), 16 * kMiB);
  ASSERT_NO_FATAL_FAILURE(SignalWorker(stopped, SIGSTOP));
  EXPECT_TRUE(Ended("stopped").end_proven());
  EXPECT_FALSE(Alive(stopped));
  const pid_t orphan = Hold("orphan", Memory(16 * kMiB), 16 * kMiB);
  agent_->Signal(SIGKILL);
  EXPECT_TRUE(WaitFor([&] { return !Alive(orphan); }, seconds(5)));
  StartAgent();
  const auto live = controller_->hellos().back().live();
  ASSERT_EQ(live.size(), 3 - 2);
  EXPECT_TRUE(live[0].end_proven()) << live[0].error();
}

TEST_F(MemoryFaultTest, ACgroupThatIsNotThereIsAClearError) {
  v1::Fault fault = Memory(kMiB);
  fault.mutable_memory()->set_cgroup("/no-such/cgroup");
  ASSERT_TRUE(controller_->Apply("a", fault, seconds(10), seconds(30)));
  const auto failed = controller_->WaitForState("a", v1::INJECTION_STATE_FAILED);
  ASSERT_TRUE(failed) << agent_->Log();
  EXPECT_NE(failed->error().find("there is no cgroup /no-such/cgroup in "), std::string::npos)
      << failed->error();
}

}  // namespace
}  // namespace firedrill::test
