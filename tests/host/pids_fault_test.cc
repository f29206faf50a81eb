// SPDX-License-Identifier: Apache-2.0
// The pids fault by a real agent and a real worker on this kernel: only ever inside a cgroup of the
// test's own, with a small limit.
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "proto/support/time.h"
#include "tests/host/agent_fixture.h"
#include "tests/host/lib/cgroup.h"
#include "tests/host/lib/servant.h"

namespace firedrill::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

double Counter(const v1::InjectionUpdate& update, const std::string& name) {
  const auto found = update.counters().find(name);
  return found == update.counters().end() ? -1 : found->second;
}

// How many of `count` processes could be started, all alive at once; then they end.
int StartAndEnd(int count) {
  std::vector<pid_t> children;
  for (int i = 0; i < count; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      pause();
      _exit(0);
    }
    if (child < 0) break;
    children.push_back(child);
  }
  for (const pid_t child : children) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
  return static_cast<int>(children.size());
}

// A process that lives in a cgroup and tries to start others.
class Starter {
 public:
  explicit Starter(const TestCgroup& cgroup) : process_(StartAndEnd) { cgroup.Add(process_.pid()); }
  int Start(int count) const { return process_.Ask(count); }

 private:
  const Servant process_;
};

class PidsFaultTest : public AgentTest {
 protected:
  PidsFaultTest() : cgroup_("pids", "fdpids") { cgroup_.Set("pids.max", "200"); }

  v1::Fault Pids(std::uint32_t leave) const {
    v1::Fault fault;
    fault.mutable_pids()->set_leave(leave);
    fault.mutable_pids()->set_cgroup(cgroup_.path());
    return fault;
  }
  int Current() const { return std::stoi(cgroup_.Get("pids.current")); }
  // The worker, once only so many are left.
  pid_t Hold(const std::string& id, int leave) {
    const auto workers = Begin(id, Pids(static_cast<std::uint32_t>(leave)), seconds(60));
    EXPECT_EQ(workers.size(), 1u) << agent_->Log();
    EXPECT_TRUE(WaitFor([&] { return Current() >= 200 - leave; }, seconds(15))) << Current();
    return workers.empty() ? -1 : workers.front();
  }

  const TestCgroup cgroup_;
};

TEST_F(PidsFaultTest, LeavesSoManyThenNoneThenAll) {
  const Starter starter(cgroup_);
  EXPECT_EQ(starter.Start(50), 50) << "before";
  const pid_t worker = Hold("five", 5);
  EXPECT_EQ(ReadFile("/proc/" + std::to_string(worker) + "/oom_score_adj"), "1000\n")
      << "nobody dies in its place";
  EXPECT_EQ(starter.Start(50), 5);
  const auto seen = controller_->WaitForUpdate("five", [](const v1::InjectionUpdate& update) {
    return Counter(update, "pids_held") > 150 && Counter(update, "starts_refused") > 0;
  });
  ASSERT_TRUE(seen) << agent_->Log();
  ASSERT_TRUE(seen->has_first_impact_at());
  EXPECT_GT(FromProto(seen->first_impact_at()), FromProto(seen->applied_at()) - seconds(2));
  // Cheap: no stack but the first page of each.
  EXPECT_TRUE(Alive(worker));
  ASSERT_TRUE(controller_->End("five"));
  const auto ended = Ended("five");
  EXPECT_TRUE(ended.end_proven());
  EXPECT_EQ(ended.error(), "");
  EXPECT_EQ(starter.Start(50), 50) << "after";

  Hold("none", 0);
  EXPECT_EQ(starter.Start(1), 0);
  ASSERT_TRUE(controller_->End("none"));
  EXPECT_TRUE(Ended("none").end_proven());
  EXPECT_EQ(starter.Start(50), 50) << "after";
  EXPECT_EQ(cgroup_.Processes().size(), 1u);
}

TEST_F(PidsFaultTest, WhatOthersFreeIsTakenToo) {
  const Starter starter(cgroup_);
  Hold("a", 0);
  cgroup_.Set("pids.max", "230");
  EXPECT_TRUE(WaitFor([&] { return Current() >= 230; }, seconds(15))) << Current();
  EXPECT_EQ(starter.Start(1), 0);
}

TEST_F(PidsFaultTest, ACgroupWithoutALimitIsAClearError) {
  cgroup_.Set("pids.max", "max");
  ASSERT_TRUE(controller_->Apply("a", Pids(0), seconds(10), seconds(30)));
  const auto failed = controller_->WaitForState("a", v1::INJECTION_STATE_FAILED);
  ASSERT_TRUE(failed) << agent_->Log();
  EXPECT_NE(failed->error().find("has no limit of pids to use up"), std::string::npos)
      << failed->error();
  EXPECT_TRUE(cgroup_.Processes().empty());
}

TEST_F(PidsFaultTest, AWholeHostKeepsItsLastPids) {
  v1::Fault fault;
  fault.mutable_pids()->set_leave(15);
  ASSERT_TRUE(controller_->Apply("a", fault, seconds(10), seconds(30)));
  const auto failed = controller_->WaitForState("a", v1::INJECTION_STATE_FAILED);
  ASSERT_TRUE(failed) << agent_->Log();
  EXPECT_NE(failed->error().find("at least 16"), std::string::npos) << failed->error();
}

TEST_F(PidsFaultTest, DiesWithAKilledOrStoppedWorkerAndAKilledAgent) {
  const Starter starter(cgroup_);
  const pid_t killed = Hold("killed", 0);
  ASSERT_NO_FATAL_FAILURE(SignalWorker(killed, SIGKILL));
  EXPECT_TRUE(Ended("killed").end_proven());
  EXPECT_EQ(starter.Start(50), 50);
  const pid_t stopped = Hold("stopped", 0);
  ASSERT_NO_FATAL_FAILURE(SignalWorker(stopped, SIGSTOP));
  EXPECT_TRUE(Ended("stopped").end_proven());
  EXPECT_EQ(starter.Start(50), 50);
  const pid_t orphan = Hold("orphan", 0);
  agent_->Signal(SIGKILL);
  EXPECT_TRUE(WaitFor([&] { return !Alive(orphan); }, seconds(5)));
  EXPECT_EQ(starter.Start(50), 50);
  StartAgent();
  const auto live = controller_->hellos().back().live();
  ASSERT_EQ(live.size(), 1);
  EXPECT_TRUE(live[0].end_proven()) << live[0].error();
}

// The agent shares the limit, and yet its other faults begin and end.
TEST_F(PidsFaultTest, TheAgentKeepsSomeForItsOwnWorkers) {
  cgroup_.Add(agent_->pid());
  const Starter starter(cgroup_);
  Hold("pids", 0);
  // A thread of the agent's that ends leaves its place free until the next look.
  EXPECT_TRUE(WaitFor([&] { return starter.Start(1) == 0; }, seconds(15)));
  EXPECT_EQ(Begin("cpu", Cpu(5), seconds(30)).size(), 2u) << agent_->Log();
  ASSERT_TRUE(controller_->End("cpu"));
  EXPECT_TRUE(Ended("cpu").end_proven());
  ASSERT_TRUE(controller_->End("pids"));
  EXPECT_TRUE(Ended("pids").end_proven());
  EXPECT_EQ(starter.Start(50), 50);
}

}  // namespace
}  // namespace firedrill::test
