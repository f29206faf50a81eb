// SPDX-License-Identifier: Apache-2.0
// The descriptors fault by a real agent and a real worker on this kernel.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <sstream>

#include "proto/support/time.h"
#include "tests/host/agent_fixture.h"
#include "tests/host/lib/servant.h"

namespace firedrill::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

double Counter(const v1::InjectionUpdate& update, const std::string& name) {
  const auto found = update.counters().find(name);
  return found == update.counters().end() ? -1 : found->second;
}

// prlimit would need a right that this test may lack.
rlimit LimitOf(pid_t pid) {
  rlimit limit{};
  std::istringstream lines(ReadFile("/proc/" + std::to_string(pid) + "/limits"));
  for (std::string line; std::getline(lines, line);) {
    const std::string name = "Max open files";
    if (line.find(name) == 0)
      std::istringstream(line.substr(name.size())) >> limit.rlim_cur >> limit.rlim_max;
  }
  EXPECT_GT(limit.rlim_max, 0u);
  return limit;
}

std::string NameOfOpeners() {
  static const std::string name = "opener-" + std::to_string(getpid());
  return name;
}

constexpr int kFork = 1 << 20;

pid_t Sleeper() {
  const pid_t child = fork();
  if (child != 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  alarm(60);
  for (;;) pause();
}

// How many of `count` files could be opened, and stay open; less than that by EMFILE only. A
// negative count closes as many.
int OpenOrClose(int count) {
  static std::vector<int> files;
  if (count == kFork) return Sleeper();
  int opened = 0;
  for (; opened < count; ++opened) {
    const int fd = open("/dev/null", O_RDONLY);
    if (fd < 0 && errno != EMFILE) _exit(1);
    if (fd < 0) break;
    files.push_back(fd);
  }
  for (int i = count; i < 0 && !files.empty(); ++i) {
    close(files.back());
    files.pop_back();
  }
  return opened;
}

// A process that opens files when it is told to.
class Opener {
 public:
  explicit Opener(uid_t user = 0)
      : process_(OpenOrClose, [user, name = NameOfOpeners()] {
          prctl(PR_SET_NAME, name.c_str());
          // A hole among the numbers: a limit is one of numbers, not of how many are open.
          dup2(0, 40);
          dup2(0, 41);
          if (user != 0 && setuid(user) != 0) _exit(1);
        }) {
    Ask(0);  // it is ready
  }
  void End() { process_.End(); }
  pid_t pid() const { return process_.pid(); }
  int Ask(int count) const { return process_.Ask(count); }
  // A child of it that only sleeps, until its parent ends.
  pid_t Fork() const { return Ask(kFork); }

 private:
  Servant process_;
};

class DescriptorsFaultTest : public AgentTest {
 protected:
  static v1::Fault Descriptors(const Opener& opener, std::uint32_t leave) {
    v1::Fault fault;
    fault.mutable_descriptors()->mutable_processes()->set_pid(
        static_cast<std::uint32_t>(opener.pid()));
    fault.mutable_descriptors()->set_leave(leave);
    return fault;
  }
  void ExpectRestored(const Opener& opener, const rlimit& before) {
    EXPECT_EQ(LimitOf(opener.pid()).rlim_cur, before.rlim_cur);
    EXPECT_EQ(LimitOf(opener.pid()).rlim_max, before.rlim_max);
    EXPECT_EQ(opener.Ask(100), 100);
    opener.Ask(-100);
  }
};

TEST_F(DescriptorsFaultTest, LeavesSoManyAndNoMoreThenGivesTheLimitBack) {
  const Opener opener, bystander;
  const rlimit before = LimitOf(opener.pid());
  const rlimit others = LimitOf(bystander.pid());
  EXPECT_EQ(opener.Ask(60), 60) << "before";
  opener.Ask(-60);
  Begin("five", Descriptors(opener, 5), seconds(60));
  const auto seen = controller_->WaitForUpdate("five", [](const v1::InjectionUpdate& update) {
    return Counter(update, "processes_limited") == 1;
  });
  ASSERT_TRUE(seen) << agent_->Log();
  EXPECT_FALSE(seen->has_first_impact_at()) << "nothing has been refused yet";
  EXPECT_EQ(opener.Ask(60), 5);
  EXPECT_EQ(LimitOf(bystander.pid()).rlim_cur, others.rlim_cur);
  EXPECT_EQ(bystander.Ask(60), 60);
  const auto full = controller_->WaitForUpdate("five", [](const v1::InjectionUpdate& update) {
    return update.has_first_impact_at() && Counter(update, "processes_at_limit") == 1;
  });
  ASSERT_TRUE(full) << agent_->Log();
  EXPECT_LE(FromProto(full->impact_uncertainty()), milliseconds(500));
  ASSERT_GE(full->events_size(), 1);
  EXPECT_EQ(full->events(0).name(), "at_limit");
  ASSERT_TRUE(controller_->End("five"));
  const auto ended = Ended("five");
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_REQUESTED);
  EXPECT_TRUE(ended.end_proven());
  EXPECT_EQ(ended.error(), "");
  ExpectRestored(opener, before);
}

TEST_F(DescriptorsFaultTest, ManyProcessesAreOneRecordAndAllGetTheirLimitsBack) {
  const Opener first, second, third;
  const rlimit before = LimitOf(first.pid());
  v1::Fault fault;
  auto& wanted = *fault.mutable_descriptors();
  wanted.mutable_processes()->set_name(NameOfOpeners());
  wanted.mutable_pick()->set_all(true);
  wanted.set_leave(2);
  const auto records = [&] {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(state() + "/journal")) {
      count += ReadFile(entry.path()).find("rlimit") != std::string::npos ? 1 : 0;
    }
    return count;
  };
  const pid_t worker = Begin("all", fault, seconds(60)).at(0);
  EXPECT_EQ(records(), 1);
  for (const Opener* opener : {&first, &second, &third}) {
    EXPECT_EQ(opener->Ask(60), 2);
    opener->Ask(-2);
  }
  ASSERT_NO_FATAL_FAILURE(SignalWorker(worker, SIGKILL));
  EXPECT_TRUE(Ended("all").end_proven());
  EXPECT_EQ(records(), 0);
  for (const Opener* opener : {&first, &second, &third}) ExpectRestored(*opener, before);
}

TEST_F(DescriptorsFaultTest, LeavingNoneIsFeltAtOnce) {
  const Opener opener;
  const rlimit before = LimitOf(opener.pid());
  Begin("none", Descriptors(opener, 0), seconds(60));
  EXPECT_EQ(opener.Ask(1), 0);
  const auto seen = controller_->WaitForUpdate(
      "none", [](const v1::InjectionUpdate& update) { return update.has_first_impact_at(); });
  ASSERT_TRUE(seen);
  // A second one on the same process would take the first one's limit for its own.
  ASSERT_TRUE(controller_->Apply("again", Descriptors(opener, 0), seconds(10), seconds(30)));
  const auto failed = controller_->WaitForState("again", v1::INJECTION_STATE_FAILED);
  ASSERT_TRUE(failed);
  EXPECT_NE(failed->error().find("of another injection"), std::string::npos) << failed->error();
  ASSERT_TRUE(controller_->End("none"));
  EXPECT_TRUE(Ended("none").end_proven());
  ExpectRestored(opener, before);
}

TEST_F(DescriptorsFaultTest, TheLimitIsGivenBackWhateverDies) {
  const Opener opener;
  const rlimit before = LimitOf(opener.pid());
  const pid_t killed = Begin("killed", Descriptors(opener, 0), seconds(60)).at(0);
  EXPECT_EQ(opener.Ask(1), 0);
  ASSERT_NO_FATAL_FAILURE(SignalWorker(killed, SIGKILL));
  auto ended = Ended("killed");
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_WORKER_DIED);
  EXPECT_TRUE(ended.end_proven()) << ended.error();
  ExpectRestored(opener, before);

  const pid_t stopped = Begin("stopped", Descriptors(opener, 0), seconds(60)).at(0);
  EXPECT_EQ(opener.Ask(1), 0);
  ASSERT_NO_FATAL_FAILURE(SignalWorker(stopped, SIGSTOP));
  ended = Ended("stopped");
  EXPECT_TRUE(ended.end_proven()) << ended.error();
  ExpectRestored(opener, before);

  const pid_t both = Begin("both", Descriptors(opener, 0), seconds(60)).at(0);
  EXPECT_EQ(opener.Ask(1), 0);
  ASSERT_NO_FATAL_FAILURE(SignalWorker(both, SIGSTOP));
  agent_->Signal(SIGKILL);
  EXPECT_TRUE(WaitFor([&] { return !Alive(both); }, seconds(6)));
  StartAgent();
  const auto live = controller_->hellos().back().live();
  ASSERT_EQ(live.size(), 1);
  EXPECT_TRUE(live[0].end_proven()) << live[0].error();
  ExpectRestored(opener, before);
}

TEST_F(DescriptorsFaultTest, WhatTheProcessStartsMeanwhileGetsItsLimitBackToo) {
  const Opener opener;
  const rlimit before = LimitOf(opener.pid());
  Begin("a", Descriptors(opener, 0), seconds(60));
  Pause(milliseconds(50));
  const pid_t child = opener.Fork();
  ASSERT_GT(child, 0);
  EXPECT_LT(LimitOf(child).rlim_cur, before.rlim_cur) << "a limit is inherited";
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  EXPECT_EQ(LimitOf(child).rlim_cur, before.rlim_cur);
}

TEST_F(DescriptorsFaultTest, ALimitThatSomebodyElseSetMeanwhileIsLeftAlone) {
  const Opener opener;
  const rlimit before = LimitOf(opener.pid());
  Begin("a", Descriptors(opener, 0), seconds(60));
  const rlimit theirs{123, before.rlim_max};
  ASSERT_EQ(prlimit(opener.pid(), RLIMIT_NOFILE, &theirs, nullptr), 0);
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a").end_proven());
  EXPECT_EQ(LimitOf(opener.pid()).rlim_cur, 123u);
}

TEST_F(DescriptorsFaultTest, EndsWhenItsProcessHasEnded) {
  Opener opener;
  Begin("a", Descriptors(opener, 3), seconds(60));
  opener.End();
  const auto ended = Ended("a", seconds(5));
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_HOST_CHANGED);
  EXPECT_TRUE(ended.end_proven()) << ended.error();
}

// A right that this machine's root lacks; where it has it, the limit is changed and given back.
TEST_F(DescriptorsFaultTest, AnotherUsersProcessIsLimitedOrRefusedWithTheReason) {
  const Opener opener(65534);
  const rlimit before = LimitOf(opener.pid());
  ASSERT_TRUE(controller_->Apply("a", Descriptors(opener, 0), seconds(10), seconds(30)));
  const auto known = controller_->WaitForUpdate("a", [](const v1::InjectionUpdate& update) {
    return update.state() == v1::INJECTION_STATE_FAILED ||
           update.state() == v1::INJECTION_STATE_ACTIVE;
  });
  ASSERT_TRUE(known) << agent_->Log();
  if (known->state() == v1::INJECTION_STATE_FAILED) {
    EXPECT_NE(known->error().find("CAP_SYS_RESOURCE"), std::string::npos) << known->error();
  } else {
    EXPECT_EQ(opener.Ask(1), 0);
    ASSERT_TRUE(controller_->End("a"));
    EXPECT_TRUE(Ended("a").end_proven());
  }
  EXPECT_EQ(LimitOf(opener.pid()).rlim_cur, before.rlim_cur);
}

}  // namespace
}  // namespace firedrill::test
