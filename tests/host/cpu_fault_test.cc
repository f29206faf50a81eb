// SPDX-License-Identifier: Apache-2.0
// The CPU fault by a real agent and a real worker on this kernel.
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "proto/support/time.h"
#include "tests/host/agent_fixture.h"
#include "tests/host/lib/cgroup.h"
#include "tests/host/lib/stalls.h"

namespace firedrill::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Keeps core 0 busy until it is destroyed.
class Hog {
 public:
  Hog() : pid_(fork()) {
    if (pid_ != 0) return;
    cpu_set_t core;
    CPU_ZERO(&core);
    CPU_SET(0, &core);
    sched_setaffinity(0, sizeof core, &core);
    alarm(60);  // whatever becomes of the test
    for (std::atomic<unsigned> i{0};; ++i) {
    }
  }
  ~Hog() {
    if (pid_ > 1) kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};

// What the kernel's scheduler has counted of a worker's burners, to the nanosecond, at some instant
// between two looks at the clock.
struct Burnt {
  SteadyTime from, to;
  Nanoseconds on_core{0};
  Nanoseconds waited{0};  // ready to run, while something else had the core
};

Burnt BurntBy(pid_t worker) {
  Burnt burnt;
  std::error_code error;
  burnt.from = Clock::Real().Steady();
  const std::string tasks = "/proc/" + std::to_string(worker) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, error)) {
    if (ReadFile(task.path() / "comm").find("fdburn-") != 0) continue;
    std::istringstream fields(ReadFile(task.path() / "schedstat"));
    std::int64_t on_core = 0, waited = 0;
    fields >> on_core >> waited;
    burnt.on_core += Nanoseconds(on_core);
    burnt.waited += Nanoseconds(waited);
  }
  burnt.to = Clock::Real().Steady();
  return burnt;
}

// A wait that goes on is counted when it is over: the next look at which they have burnt more.
Burnt Next(pid_t worker, const Burnt& last) {
  Burnt next;
  WaitFor(
      [&] {
        next = BurntBy(worker);
        return next.on_core > last.on_core;
      },
      seconds(5));
  return next;
}

// That a worker burnt so much between the two. What was not given to the burners is not made up
// for: of that, as far as the kernel or the watch know of it, nothing is asked.
void ExpectBurnt(pid_t worker, const Burnt& before, const Burnt& after, const StallWatch& watch,
                 double share, double tolerance) {
  const Nanoseconds burnt = after.on_core - before.on_core;
  const Burnt next = Next(worker, after);
  const Nanoseconds refused = next.waited - before.waited + watch.Between(before.from, next.to);
  EXPECT_LE(Seconds(burnt), (share + tolerance) * Seconds(after.to - before.from));
  EXPECT_GE(Seconds(burnt),
            (share - tolerance) * Seconds(after.from - before.to) - share * Seconds(refused))
      << "of which it was refused " << Seconds(refused) << " s";
}

double Counter(const v1::InjectionUpdate& update, const std::string& name) {
  const auto found = update.counters().find(name);
  return found == update.counters().end() ? -1 : found->second;
}

class CpuFaultTest : public AgentTest {
 protected:
  void SetUp() override {
    // What else this machine does in other sessions is not the question: the kernel may divide its
    // time among sessions first (autogroup, sched(7)). Agent, burners and hogs are all in this one.
    setsid();
    std::ofstream("/proc/self/autogroup") << "-20";
    AgentTest::SetUp();
  }
  // The worker of a burning fault.
  pid_t Burn(const std::string& id, const v1::Fault& fault, Nanoseconds duration = seconds(60)) {
    const auto workers = Begin(id, fault, duration);
    EXPECT_EQ(workers.size(), 1u);
    const pid_t worker = workers.empty() ? -1 : workers.front();
    EXPECT_TRUE(WaitFor([&] { return CpuTime(worker) >= milliseconds(50); }, seconds(10)))
        << "it does not burn";
    return worker;
  }
  static double ShareOf(pid_t pid, Nanoseconds over) {
    const SteadyTime start = Clock::Real().Steady();
    const Nanoseconds before = CpuTime(pid);
    const SteadyTime began = Clock::Real().Steady();
    Pause(over);
    const SteadyTime ended = Clock::Real().Steady();
    const Nanoseconds after = CpuTime(pid);
    // A stall between a look at the clock and one at the time used is in neither or in both.
    return Seconds(after - before) /
           ((Seconds(ended - began) + Seconds(Clock::Real().Steady() - start)) / 2);
  }
};

TEST_F(CpuFaultTest, BurnsTheAskedShareThenLeavesNothing) {
  const pid_t worker = Burn("half", Cpu(40));
  const Burnt before = BurntBy(worker);
  Pause(seconds(3));
  const Burnt after = BurntBy(worker);
  // Others share this machine: what it was not given it had waited for.
  const Nanoseconds burnt = after.on_core - before.on_core;
  const Nanoseconds waited = Next(worker, after).waited - before.waited;
  EXPECT_GT(Seconds(burnt + waited), 0.35 * Seconds(after.from - before.to));
  EXPECT_GT(burnt, Nanoseconds(0));
  EXPECT_LT(Seconds(burnt), 0.45 * Seconds(after.to - before.from));
  const auto seen = controller_->WaitForUpdate("half", [](const v1::InjectionUpdate& update) {
    return update.has_first_impact_at() && update.counters().count("achieved_percent") != 0 &&
           update.counters().at("achieved_percent") > 15;
  });
  ASSERT_TRUE(seen) << agent_->Log();
  EXPECT_GE(FromProto(seen->first_impact_at()), FromProto(seen->applied_at()) - seconds(1));
  EXPECT_NEAR(seen->counters().at("asked_percent"), 40, 0.01);
  ASSERT_TRUE(controller_->End("half"));
  const auto ended = Ended("half");
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_REQUESTED);
  EXPECT_TRUE(ended.end_proven());
  EXPECT_EQ(ended.error(), "");
  EXPECT_FALSE(Alive(worker));
}

TEST_F(CpuFaultTest, RampRisesEvenly) {
  v1::Fault fault = Cpu(60);
  *fault.mutable_cpu()->mutable_ramp() = ToProto(seconds(20));
  Begin("ramp", fault, seconds(60));
  const auto asked = [](double at_least) {
    return [at_least](const v1::InjectionUpdate& update) {
      const auto found = update.counters().find("asked_percent");
      return found != update.counters().end() && found->second >= at_least;
    };
  };
  const auto early = controller_->WaitForUpdate("ramp", asked(1));
  ASSERT_TRUE(early);
  EXPECT_LT(early->counters().at("asked_percent"), 20);
  const auto later = controller_->WaitForUpdate("ramp", asked(12));
  ASSERT_TRUE(later);
  EXPECT_LT(later->counters().at("asked_percent"), 40);
}

TEST_F(CpuFaultTest, FillBurnsOnlyWhatOthersLeave) {
  const pid_t hog = Burn("hog", Cpu(70));
  v1::Fault fill = Cpu(80);
  fill.mutable_cpu()->set_mode(v1::CPU_MODE_FILL);
  const auto workers = Begin("fill", fill, seconds(60));
  ASSERT_EQ(workers.size(), 2u);
  const pid_t filler = workers[0] == hog ? workers[1] : workers[0];
  Pause(seconds(2));
  EXPECT_LT(ShareOf(filler, seconds(2)), 0.40) << "an ADD of 80 % would take half of the core";
}

TEST_F(CpuFaultTest, EndsWithItsDurationThoughTheControllerIsGone) {
  const pid_t worker = Burn("a", Cpu(30), seconds(3));
  controller_->FallSilent();
  EXPECT_TRUE(WaitFor([&] { return !Alive(worker); }, seconds(6)));
  EXPECT_TRUE(agent_->Workers().empty());
}

TEST_F(CpuFaultTest, EndsWithItsLease) {
  const auto workers = Begin("a", Cpu(30), seconds(60), seconds(2));
  const auto ended = Ended("a", seconds(6));
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_LEASE);
  EXPECT_TRUE(ended.end_proven());
  EXPECT_FALSE(Alive(workers.at(0)));
}

TEST_F(CpuFaultTest, DiesWithAKilledWorker) {
  const pid_t worker = Burn("a", Cpu(30));
  ASSERT_NO_FATAL_FAILURE(SignalWorker(worker, SIGKILL));
  const auto ended = Ended("a", seconds(5));
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_WORKER_DIED);
  EXPECT_TRUE(ended.end_proven());
}

TEST_F(CpuFaultTest, DiesWithAStoppedWorker) {
  const pid_t worker = Burn("a", Cpu(30));
  ASSERT_NO_FATAL_FAILURE(SignalWorker(worker, SIGSTOP));
  const auto ended = Ended("a", seconds(6));
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_WORKER_DIED);
  EXPECT_TRUE(ended.end_proven());
  EXPECT_FALSE(Alive(worker));
}

TEST_F(CpuFaultTest, DiesWithAKilledAgentAndTheNextOneProvesIt) {
  const pid_t worker = Burn("a", Cpu(30));
  agent_->Signal(SIGKILL);
  EXPECT_TRUE(WaitFor([&] { return !Alive(worker); }, seconds(4)));
  StartAgent();
  const auto live = controller_->hellos().back().live();
  ASSERT_EQ(live.size(), 1);
  EXPECT_EQ(live[0].injection_id(), "a");
  EXPECT_EQ(live[0].state(), v1::INJECTION_STATE_ENDED);
  EXPECT_TRUE(live[0].end_proven()) << live[0].error();
}

TEST_F(CpuFaultTest, DiesWithAStoppedAgent) {
  const pid_t worker = Burn("a", Cpu(30));
  agent_->Signal(SIGSTOP);
  EXPECT_TRUE(WaitFor([&] { return !Alive(worker); }, seconds(5)));
  agent_->Signal(SIGCONT);
  EXPECT_TRUE(Ended("a").end_proven());
}

TEST_F(CpuFaultTest, DiesThoughAgentAndWorkerAreBothStopped) {
  const pid_t worker = Burn("a", Cpu(30));
  ASSERT_NO_FATAL_FAILURE(SignalWorker(worker, SIGSTOP));
  agent_->Signal(SIGSTOP);
  EXPECT_TRUE(WaitFor([&] { return !Alive(worker); }, seconds(5)))
      << "the kernel's own leash kills even a stopped process";
  agent_->Signal(SIGCONT);
}

TEST_F(CpuFaultTest, ACoreThatTheHostHasNotIsAClearError) {
  ASSERT_TRUE(controller_->Apply("a", Cpu(30, {4000}), seconds(10), seconds(30)));
  const auto failed = controller_->WaitForState("a", v1::INJECTION_STATE_FAILED);
  ASSERT_TRUE(failed) << agent_->Log();
  EXPECT_NE(failed->error().find("found 4000; allowed"), std::string::npos) << failed->error();
  EXPECT_TRUE(WaitFor([&] { return agent_->Workers().empty(); }, seconds(5)));
}

// Raised, so that whatever else this machine does meanwhile does not blur it.
TEST_F(CpuFaultTest, IsExactFromTheSecondSecondOnAndNeverOvershoots) {
  const StallWatch watch;
  v1::Fault fault = Cpu(50);
  fault.mutable_cpu()->set_priority(v1::PRIORITY_RAISED);
  const pid_t worker = Begin("exact", fault, seconds(60)).at(0);
  const Burnt first = BurntBy(worker);
  Burnt last = first, after_warm_up;
  for (int i = 1; i <= 10; ++i) {
    Pause(milliseconds(500));
    const Burnt now = BurntBy(worker);
    // What it had to wait for is made up for, but two periods of 10 ms at most.
    const Nanoseconds made_up = std::min<Nanoseconds>(
        now.waited - first.waited + watch.Between(first.from, now.to), milliseconds(20));
    EXPECT_LE(Seconds(now.on_core - last.on_core),
              0.55 * Seconds(now.to - last.from) + Seconds(made_up))
        << "in half-second " << i;
    last = now;
    if (i == 4) after_warm_up = now;
  }
  ExpectBurnt(worker, after_warm_up, last, watch, 0.50, 0.005);
  const auto seen = controller_->WaitForUpdate(
      "exact",
      [](const v1::InjectionUpdate& update) {
        return std::abs(Counter(update, "achieved_percent") - 50) <= 0.5;
      },
      seconds(30));
  ASSERT_TRUE(seen);
  EXPECT_NEAR(Counter(*seen, "asked_percent"), 50, 0.5);
  EXPECT_LT(FromProto(seen->impact_uncertainty()),
            milliseconds(10) + first.waited + watch.Between(first.from - seconds(30), first.to));
  EXPECT_GT(FromProto(seen->impact_uncertainty()), Nanoseconds(0));
}

TEST_F(CpuFaultTest, RaisedHoldsItsShareBesideHogsAndNormalSaysThatItStarves) {
  const Hog one, two;
  const StallWatch watch;
  const pid_t normal = Burn("normal", Cpu(70));
  Pause(seconds(1));
  EXPECT_LT(ShareOf(normal, seconds(2)), 0.55) << "a third is its fair share";
  const auto starved = controller_->WaitForUpdate("normal", [](const v1::InjectionUpdate& update) {
    return Counter(update, "starved_seconds") > 0.2 && Counter(update, "waited_seconds") > 0.2;
  });
  EXPECT_TRUE(starved) << "it does not say that it got too little, and why";
  ASSERT_TRUE(controller_->End("normal"));
  Ended("normal");

  v1::Fault fault = Cpu(70);
  fault.mutable_cpu()->set_priority(v1::PRIORITY_RAISED);
  const pid_t raised = Begin("raised", fault, seconds(60)).at(0);
  Pause(milliseconds(500));
  const Burnt before = BurntBy(raised);
  Pause(seconds(2));
  ExpectBurnt(raised, before, BurntBy(raised), watch, 0.70, 0.01);
  const auto seen = controller_->WaitForUpdate("raised", [](const v1::InjectionUpdate& update) {
    return Counter(update, "realtime_cores") >= 0;
  });
  ASSERT_TRUE(seen);
  EXPECT_EQ(Counter(*seen, "realtime_cores"), 1);
}

TEST_F(CpuFaultTest, ACgroupsQuotaLimitsItAndItDoesNotHangInIt) {
  const TestCgroup cgroup("cpu", "fdcpu");
  // A fifth of one core.
  if (cgroup.v2()) {
    cgroup.Set("cpu.max", "20000 100000");
  } else {
    cgroup.Set("cpu.cfs_period_us", "100000");
    cgroup.Set("cpu.cfs_quota_us", "20000");
  }
  v1::Fault fault = Cpu(80);
  fault.mutable_cpu()->set_cgroup(cgroup.path());
  const pid_t worker = Burn("limited", fault);
  Pause(seconds(1));
  const double share = ShareOf(worker, seconds(2));
  EXPECT_LT(share, 0.26);
  EXPECT_GT(share, 0.10);
  EXPECT_TRUE(controller_->WaitForUpdate("limited", [](const v1::InjectionUpdate& update) {
    return Counter(update, "starved_seconds") > 0.2 && Counter(update, "throttled_seconds") > 0.2;
  })) << agent_->Log();
  EXPECT_EQ(cgroup.Get(cgroup.v2() ? "cgroup.procs" : "tasks").empty(), false);
  const SteadyTime end = Clock::Real().Steady();
  ASSERT_TRUE(controller_->End("limited"));
  const auto ended = Ended("limited");
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_REQUESTED);
  EXPECT_TRUE(ended.end_proven());
  EXPECT_EQ(ended.error(), "");
  EXPECT_LT(Clock::Real().Steady() - end, seconds(2));
  EXPECT_EQ(cgroup.Get(cgroup.v2() ? "cgroup.procs" : "tasks"), "");
}

TEST_F(CpuFaultTest, DiesWithAStoppedAgentThoughItsCgroupGetsHardlyAnyTime) {
  const TestCgroup cgroup("cpu", "fdcpu");
  if (cgroup.v2()) {
    // The worker itself is in there, and needs some of it.
    cgroup.Set("cpu.max", "2000 200000");
  } else {
    cgroup.Set("cpu.cfs_period_us", "200000");
    cgroup.Set("cpu.cfs_quota_us", "2000");
  }
  v1::Fault fault = Cpu(100);
  fault.mutable_cpu()->set_cgroup(cgroup.path());
  const pid_t worker = Begin("a", fault, seconds(60)).at(0);
  Pause(seconds(1));
  ASSERT_NO_FATAL_FAILURE(SignalWorker(worker, SIGSTOP));
  agent_->Signal(SIGSTOP);
  EXPECT_TRUE(WaitFor([&] { return !Alive(worker); }, seconds(5)));
  agent_->Signal(SIGCONT);
  EXPECT_EQ(cgroup.Get(cgroup.v2() ? "cgroup.procs" : "tasks"), "");
}

TEST_F(CpuFaultTest, ACgroupThatIsNotThereIsAClearError) {
  v1::Fault fault = Cpu(30);
  fault.mutable_cpu()->set_cgroup("/no-such/cgroup");
  ASSERT_TRUE(controller_->Apply("a", fault, seconds(10), seconds(30)));
  const auto failed = controller_->WaitForState("a", v1::INJECTION_STATE_FAILED);
  ASSERT_TRUE(failed) << agent_->Log();
  EXPECT_NE(failed->error().find("there is no cgroup /no-such/cgroup in "), std::string::npos)
      << failed->error();
}

// The test's own threads are raised as the agent's are: a controller sits on another host.
class CpuHealthTest : public CpuFaultTest {
 protected:
  void SetUp() override {
    ASSERT_EQ(setpriority(PRIO_PROCESS, 0, -20), 0);
    CpuFaultTest::SetUp();
  }
  void TearDown() override { setpriority(PRIO_PROCESS, 0, 0); }

  // From a question to the agent's answer, without what this machine was given to nobody; it goes
  // through the stream and the supervisor.
  Nanoseconds Ask(const std::string& id, const StallWatch& watch) {
    const SteadyTime asked = Clock::Real().Steady();
    controller_->Apply(id, v1::Fault(), std::nullopt, seconds(30));
    while (controller_->updates(id).empty() && Clock::Real().Steady() - asked < seconds(10)) {
      Pause(milliseconds(1));
    }
    const SteadyTime answered = Clock::Real().Steady();
    return answered - asked - watch.Between(asked, answered);
  }
};

TEST_F(CpuHealthTest, AnswersWithinATenthOfASecondWhileEveryCoreBurns) {
  const StallWatch watch;
  for (const auto priority : {v1::PRIORITY_NORMAL, v1::PRIORITY_RAISED}) {
    v1::Fault fault;
    fault.mutable_cpu()->set_percent(100);
    fault.mutable_cpu()->set_priority(priority);
    const std::string id = v1::Priority_Name(priority);
    Begin(id, fault, seconds(60));
    Pause(milliseconds(500));
    Nanoseconds slowest{0};
    for (int i = 0; i < 40; ++i) {
      slowest = std::max(slowest, Ask(id + std::to_string(i), watch));
      Pause(milliseconds(20));
    }
    RecordProperty(id + "_slowest_ms", std::to_string(1e3 * Seconds(slowest)));
    EXPECT_LE(slowest, milliseconds(100)) << id;
    ASSERT_TRUE(controller_->End(id));
    EXPECT_TRUE(Ended(id).end_proven());
  }
}

}  // namespace
}  // namespace firedrill::test
