// SPDX-License-Identifier: Apache-2.0
// The fault that is none, by a real agent and a real worker on this kernel.
#include <csignal>
#include <fstream>
#include <iterator>

#include "proto/support/time.h"
#include "tests/host/agent_fixture.h"

namespace firedrill::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

v1::Fault None() {
  v1::Fault fault;
  fault.mutable_none();
  return fault;
}

// What faults change on a host, as far as it can be read in files that nobody else writes here.
std::string HostState() {
  std::string state;
  for (const char* path : {"/proc/self/mounts", "/proc/self/cgroup", "/proc/self/limits",
                           "/proc/sys/kernel/pid_max", "/etc/hosts"}) {
    std::ifstream file(path);
    state += std::string(std::istreambuf_iterator<char>(file), {}) + "\n--\n";
  }
  return state;
}

class NoFaultTest : public AgentTest {};

TEST_F(NoFaultTest, BeginsShowsAnImpactCostsNothingAndEnds) {
  const std::string before = HostState();
  const SystemTime asked = Clock::Real().System();
  const auto workers = Begin("none", None(), seconds(60));
  ASSERT_EQ(workers.size(), 1u);
  const auto seen = controller_->WaitForUpdate(
      "none", [](const v1::InjectionUpdate& update) { return update.has_first_impact_at(); });
  ASSERT_TRUE(seen) << agent_->Log();
  EXPECT_FALSE(seen->impact_from_kernel());
  EXPECT_GE(FromProto(seen->first_impact_at()), asked);
  EXPECT_LE(FromProto(seen->first_impact_at()), Clock::Real().System());
  EXPECT_EQ(HostState(), before);
  const SteadyTime start = Clock::Real().Steady();
  const Nanoseconds burnt = CpuTime(workers[0]);
  Pause(seconds(1));
  EXPECT_LT(CpuTime(workers[0]) - burnt, (Clock::Real().Steady() - start) / 20)
      << "a worker that does nothing works";
  ASSERT_TRUE(controller_->End("none"));
  const auto ended = Ended("none");
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_REQUESTED);
  EXPECT_TRUE(ended.end_proven()) << ended.error();
  EXPECT_FALSE(Alive(workers[0]));
  EXPECT_EQ(HostState(), before);
}

TEST_F(NoFaultTest, EndsWithItsDuration) {
  Begin("none", None(), seconds(1));
  const auto ended = Ended("none", seconds(5));
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_DURATION);
  EXPECT_TRUE(ended.end_proven());
}

TEST_F(NoFaultTest, DiesWithAKilledWorker) {
  const auto workers = Begin("none", None(), seconds(60));
  ASSERT_EQ(workers.size(), 1u);
  ASSERT_EQ(kill(workers[0], SIGKILL), 0);
  const auto ended = Ended("none", seconds(5));
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_WORKER_DIED);
  EXPECT_TRUE(ended.end_proven());
}

TEST_F(NoFaultTest, DiesWithAKilledAgentAndTheNextOneProvesIt) {
  const auto workers = Begin("none", None(), seconds(60));
  ASSERT_EQ(workers.size(), 1u);
  agent_->Signal(SIGKILL);
  EXPECT_TRUE(WaitFor([&] { return !Alive(workers[0]); }, seconds(4)));
  StartAgent();
  const auto live = controller_->hellos().back().live();
  ASSERT_EQ(live.size(), 1);
  EXPECT_EQ(live[0].state(), v1::INJECTION_STATE_ENDED);
  EXPECT_TRUE(live[0].end_proven()) << live[0].error();
}

}  // namespace
}  // namespace firedrill::test
