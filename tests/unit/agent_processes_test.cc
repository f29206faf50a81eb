// SPDX-License-Identifier: Apache-2.0
// Which processes a fault would find, on a /proc that the test has written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <random>

#include "agent/faults/available_memory.h"
#include "agent/faults/callers.h"
#include "agent/faults/core_load.h"
#include "agent/faults/marks.h"
#include "agent/faults/process_selection.h"
#include "agent/host/host.h"
#include "agent/host/listening.h"
#include "agent/host/processes.h"
#include "agent/host/systemctl.h"
#include "tests/unit/fake_proc.h"

namespace firedrill::agent {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(FakeProc, ReadsAProcessWhoseNameHoldsParentheses) {
  Add(70, 1, "a) R (b", "/bin/odd --x");
  const auto process = ReadProcess(host_, 70);
  ASSERT_TRUE(process.ok()) << process.status();
  EXPECT_EQ(process->name, "a) R (b");
  EXPECT_EQ(process->parent, 1);
  EXPECT_EQ(process->start_time, 1070u);
  EXPECT_EQ(process->command_line, "/bin/odd --x");
  EXPECT_TRUE(absl::IsNotFound(ReadProcess(host_, 71).status()));
}

TEST_F(FakeProc, SelectsByNameExactly) {
  Add(50, 1, "redis-server", "redis-server *:6379");
  Add(51, 1, "redis-server2", "x");
  v1::ProcessSelector selector;
  selector.set_name("redis-server");
  EXPECT_THAT(Found(selector), ElementsAre(50));
}

TEST_F(FakeProc, EveryGivenFieldMustMatch) {
  Add(50, 1, "worker", "worker --queue=mail");
  Add(51, 1, "worker", "worker --queue=sms");
  v1::ProcessSelector selector;
  selector.set_name("worker");
  selector.set_command_line("--queue=(mail|fax)");
  EXPECT_THAT(Found(selector), ElementsAre(50));
  selector.set_pid(51);
  EXPECT_THAT(Found(selector), ElementsAre());
  EXPECT_THAT(error_, HasSubstr("pid 51"));
  EXPECT_THAT(error_, HasSubstr("queue=(mail|fax)"));
}

TEST_F(FakeProc, SelectsByListeningPort) {
  Add(50, 1, "nginx", "nginx");
  Add(51, 1, "client", "client");
  Add(52, 1, "dns", "dns");
  // 0x1F90 is 8080, 0x0035 is 53; 0A listens, 01 is established.
  Sockets("tcp",
          "   0: 00000000:1F90 00000000:0000 0A 0:0 00:0 0 0 0 111 1 0 100\n"
          "   1: 0100007F:1F90 0100007F:C350 01 0:0 00:0 0 0 0 112 1 0 100\n");
  Sockets("udp6", "   9: 00000000000000000000000000000000:0035 0:0 07 0:0 00:0 0 0 0 113 2 0\n");
  Holds(50, "4", "111");
  Holds(51, "7", "112");
  Holds(52, "3", "113");
  v1::ProcessSelector selector;
  selector.set_listening_port(8080);
  EXPECT_THAT(Found(selector), ElementsAre(50)) << "a client's end of a connection is no listener";
  selector.set_listening_port(53);
  EXPECT_THAT(Found(selector), ElementsAre(52));
  selector.set_listening_port(54);
  EXPECT_THAT(Found(selector), ElementsAre());
}

TEST_F(FakeProc, SelectsByCgroupAndUnitOnEitherVersion) {
  Add(50, 1, "redis", "redis");
  Add(51, 1, "other", "other");
  Add(52, 1, "child", "child");
  Cgroup(50, "0::/system.slice/redis.service\n");
  Cgroup(51, "0::/system.slice/redis.service2\n");
  Cgroup(52, "9:name=systemd:/system.slice/redis.service/sub\n4:memory:/\n");
  v1::ProcessSelector selector;
  selector.set_cgroup("/system.slice/redis.service/");
  EXPECT_THAT(Found(selector), ElementsAre(50, 52));
  // As it is mounted, on either version; and one that is removed while somebody is in it.
  for (const char* mounted : {"/sys/fs/cgroup/system.slice/redis.service",
                              "/sys/fs/cgroup/systemd/system.slice/redis.service/",
                              "/sys/fs/cgroup/unified/system.slice/redis.service"}) {
    selector.set_cgroup(mounted);
    EXPECT_THAT(Found(selector), ElementsAre(50, 52)) << mounted;
  }
  Cgroup(50, "0::/system.slice/redis.service (deleted)\n");
  selector.set_cgroup("/system.slice/redis.service");
  EXPECT_THAT(Found(selector), ElementsAre(50, 52));
  selector.clear_cgroup();
  selector.set_systemd_unit("redis");
  EXPECT_THAT(Found(selector), ElementsAre(50, 52));
}

TEST_F(FakeProc, SparesTheFamilyItsAncestorsPid1KernelThreadsAndZombies) {
  Add(30, 1, "shell", "same");
  Add(31, 30, "agent", "same");
  Add(32, 31, "worker", "same");
  Add(33, 30, "bystander", "same");
  Add(34, 1, "dead", "same", 0, 'Z');
  v1::ProcessSelector selector;
  selector.set_command_line("same");
  EXPECT_THAT(Found(selector, {31, 32}), ElementsAre(33));
  selector.set_command_line("init");
  EXPECT_THAT(Found(selector, {31}), ElementsAre());
  EXPECT_THAT(error_, HasSubstr("init (pid 1)"));
  EXPECT_THAT(error_, HasSubstr("never touched"));
  v1::ProcessSelector kernel;
  kernel.set_name("kworker/0:1");
  EXPECT_THAT(Found(kernel), ElementsAre());
}

TEST_F(FakeProc, SparesAWorkerThatTheAgentHasStartedJustNow) {
  const auto runs = [&](int pid, const std::string& program) {
    fs::create_symlink(program, folder_.path() + "/" + std::to_string(pid) + "/exe");
  };
  const int self = getpid();
  Add(self, 31, "agent", "the caller, a worker itself");
  Add(31, 1, "agent", "agent");
  Add(32, 31, "agent", "same");
  Add(33, 31, "helper", "same");
  Add(34, 1, "agent", "same");
  Add(35, 31, "gone", "same");
  runs(self, "/usr/bin/firedrill-agent (deleted)");
  runs(31, "/usr/bin/firedrill-agent");
  runs(32, "/usr/bin/firedrill-agent");
  runs(33, "/usr/bin/systemctl");
  runs(34, "/usr/bin/firedrill-agent");
  v1::ProcessSelector selector;
  selector.set_command_line("same");
  EXPECT_THAT(Found(selector, {31, self}), ElementsAre(33, 34, 35));
  selector.set_pid(32);
  EXPECT_THAT(Found(selector, {31, self}), ElementsAre());
  EXPECT_THAT(error_, HasSubstr("agent (pid 32)"));
}

TEST_F(FakeProc, AWorkersThreadsBearItsInjectionsMark) {
  const auto thread = [&](int pid, int tid, const std::string& name) {
    const std::string folder = std::to_string(pid) + "/task/" + std::to_string(tid);
    fs::create_directories(folder_.path() + "/" + folder);
    folder_.Write(folder + "/comm", name + "\n");
  };
  const std::string mark = MarkOf("fdpids", "one");
  Add(40, 1, "agent", "firedrill-agent worker");
  thread(40, 40, "firedrill-agent");
  for (int tid = 41; tid < 50; ++tid) thread(40, tid, MarkOf("fdpids", "two"));
  EXPECT_TRUE(VerifyNoMark(host_, mark).ok());
  Add(60, 1, "agent", "firedrill-agent worker");
  thread(60, 60, "firedrill-agent");
  thread(60, 61, "fd-no-mark");
  for (int tid = 62; tid < 70; ++tid) thread(60, tid, mark);
  EXPECT_THAT(std::string(VerifyNoMark(host_, mark).message()), HasSubstr("process 60"));
}

TEST_F(FakeProc, AWorkersThreadsThatOutliveItsMainThreadBearItsMarkYet) {
  const std::string mark = MarkOf("fdpids", "one");
  Add(60, 1, "agent", "", 0, 'Z');
  folder_.Write("60/task/60/comm", "firedrill-agent\n");
  EXPECT_TRUE(VerifyNoMark(host_, mark).ok());
  folder_.Write("60/task/61/comm", mark + "\n");
  EXPECT_THAT(std::string(VerifyNoMark(host_, mark).message()), HasSubstr("process 60"));
}

TEST_F(FakeProc, CallersThatAreGoneAreChosenNoLonger) {
  Add(50, 1, "shop", "shop");
  v1::ProcessSelector selector;
  selector.set_name("shop");
  Callers callers(host_, selector, Protected());
  ASSERT_TRUE(callers.Refresh().ok());
  EXPECT_THAT(callers.chosen(), ElementsAre(50));
  fs::remove_all(folder_.path() + "/50");
  Add(50, 1, "other", "another program with the same number");
  EXPECT_TRUE(absl::IsNotFound(callers.Refresh()));
  EXPECT_THAT(callers.chosen(), ElementsAre());
}

TEST_F(FakeProc, ThreadsThatMemoryDoesNotHoldAreRefusedWithTheFigures) {
  folder_.Write("meminfo", "MemTotal: 400000 kB\nMemAvailable:   307200 kB\n");  // 300 MiB
  EXPECT_TRUE(CheckMemoryForThreads(host_, 3600).ok());
  const absl::Status status = CheckMemoryForThreads(host_, 3700);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("holding 3700 pids takes 173 MiB"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("of the 300 MiB"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("128 MiB must stay"));
}

TEST_F(FakeProc, AnEmptyOrBrokenSelectorFindsNothing) {
  EXPECT_THAT(Found(v1::ProcessSelector()), ElementsAre());
  v1::ProcessSelector selector;
  selector.set_command_line("(");
  EXPECT_THAT(Found(selector), ElementsAre());
  EXPECT_THAT(error_, HasSubstr("command_line"));
}

TEST_F(FakeProc, PicksANumberOrAShareRoundedUpOrAll) {
  std::vector<Process> all(5);
  for (int i = 0; i < 5; ++i) all[static_cast<std::size_t>(i)].pid = i;
  std::mt19937_64 random(1);
  v1::Amount amount;
  EXPECT_EQ(Pick(all, amount, random).size(), 1u);
  amount.set_count(3);
  EXPECT_EQ(Pick(all, amount, random).size(), 3u);
  amount.set_count(9);
  EXPECT_EQ(Pick(all, amount, random).size(), 5u);
  amount.set_percent(50);
  EXPECT_EQ(Pick(all, amount, random).size(), 3u);
  amount.set_all(true);
  EXPECT_EQ(Pick(all, amount, random).size(), 5u);
}

TEST_F(FakeProc, PicksInTheOrderAskedFor) {
  std::vector<Process> all(3);
  all[0].pid = 9, all[0].start_time = 5;
  all[1].pid = 7, all[1].start_time = 6;
  all[2].pid = 8, all[2].start_time = 5;
  std::mt19937_64 random(1);
  v1::Amount two;
  two.set_count(2);
  const auto pids = [&](v1::Pick order) {
    std::vector<int> pids;
    for (const Process& process : Pick(all, two, random, order)) pids.push_back(process.pid);
    return pids;
  };
  EXPECT_THAT(pids(v1::PICK_OLDEST), ElementsAre(8, 9));
  EXPECT_THAT(pids(v1::PICK_NEWEST), ElementsAre(7, 9));
  std::set<int> seen;
  for (int i = 0; i < 200; ++i) seen.insert(pids(v1::PICK_UNSPECIFIED)[0]);
  EXPECT_EQ(seen, (std::set<int>{7, 8, 9})) << "at random";
}

TEST_F(FakeProc, LeavesOutWhatIsExcluded) {
  Add(50, 1, "worker", "worker --queue=mail");
  Add(51, 1, "worker", "worker --queue=sms");
  v1::ProcessSelector selector, exclude;
  selector.set_name("worker");
  exclude.set_command_line("sms");
  const auto found = SelectProcesses(host_, selector, {}, exclude);
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->size(), 1u);
  EXPECT_EQ(found->front().pid, 50);
  exclude.set_command_line("worker");
  const absl::Status none = SelectProcesses(host_, selector, {}, exclude).status();
  EXPECT_TRUE(absl::IsNotFound(none));
  EXPECT_THAT(std::string(none.message()), HasSubstr("is excluded (command line like 'worker')"));
}

TEST_F(FakeProc, ReadsUnitsAsSystemctlPrintsThem) {
  const auto units = ParseUnits(
      "Id=a.service\nLoadState=loaded\nActiveState=active\nInvocationID=77\nCanStop=no\n"
      "RequiredBy=c.service b.service\nRequisiteOf=d.service\nConsistsOf=b.service\n"
      "ActiveEnterTimestampMonotonic=1234\n\nId=x.service\nLoadState=not-found\n"
      "ActiveState=inactive\nCanStop=yes\nActiveEnterTimestampMonotonic=[not set]\n");
  ASSERT_EQ(units.size(), 2u);
  EXPECT_EQ(units[0].id, "a.service");
  EXPECT_TRUE(units[0].is_active());
  EXPECT_FALSE(units[0].can_stop);
  EXPECT_EQ(units[0].active_since_us, 1234u);
  EXPECT_THAT(units[0].stops_with, ElementsAre("b.service", "c.service", "d.service"));
  EXPECT_EQ(units[1].load, "not-found");
  EXPECT_FALSE(units[1].is_active());
  EXPECT_EQ(units[1].active_since_us, 0u);
  EXPECT_TRUE(ParseUnits("").empty());
}

TEST_F(FakeProc, ReadsWhereAProcessListens) {
  Add(50, 1, "server", "server");
  Sockets("tcp",
          "   0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 111 1 0 100\n"
          "   1: 00000000:0050 00000000:0000 0A 0:0 00:0 0 0 0 112 1 0 100\n"
          "   2: 0100007F:0051 0100007F:0052 01 0:0 00:0 0 0 0 113 1 0 100\n");
  Sockets("tcp6",
          "   0: 00000000000000000000000001000000:0016 0:0 0A 0:0 00:0 0 0 0 114 1 0 100\n");
  Holds(50, "3", "111");
  Holds(50, "4", "112");
  Holds(50, "5", "113");
  Holds(50, "6", "114");
  const auto found = TcpListeners(host_, 50);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0], (ListeningAddress{"::1", 22}));
  EXPECT_EQ(found[1], (ListeningAddress{"0.0.0.0", 80}));
  EXPECT_EQ(found[2], (ListeningAddress{"127.0.0.1", 8080}));
}

TEST_F(FakeProc, ReadsHostFactsFromItsRoots) {
  fs::create_directories(folder_.path() + "/sys/kernel/random");
  folder_.Write("sys/kernel/random/boot_id", "8c4f\n");
  folder_.Write("sys/kernel/osrelease", "6.1.0-18-amd64\n");
  EXPECT_EQ(host_.BootId(), "8c4f");
  EXPECT_EQ(host_.KernelRelease(), "6.1.0-18-amd64");
  EXPECT_TRUE((host_.Kernel() == KernelVersion{6, 1}));
  EXPECT_TRUE((host_.Kernel() < KernelVersion{6, 6}));
}

TEST_F(FakeProc, CoreLoadCountsOthersWithoutItself) {
  using std::chrono::milliseconds;
  const auto stat = [&](int user, int idle) {
    folder_.Write("stat", "cpu  0 0 0 0 0 0 0 0 0 0\ncpu1 " + std::to_string(user) + " 0 0 " +
                              std::to_string(idle) + " 0 0 0 0 0 0\n");
  };
  CoreLoad load(host_, 1);
  stat(1000, 1000);
  EXPECT_EQ(load.Others(milliseconds(0), milliseconds(0)), 0);
  // In 500 ms the core was busy for 400 ms (40 ticks of 10 ms), 150 ms of them were ours.
  stat(1040, 1010);
  EXPECT_NEAR(load.Others(milliseconds(500), milliseconds(150)), 0.5, 0.001);
  EXPECT_TRUE(absl::IsNotFound(ReadCoreTimes(host_, 7).status()));
}

}  // namespace
}  // namespace firedrill::agent
