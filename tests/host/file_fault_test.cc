// SPDX-License-Identifier: Apache-2.0
// file_fault by a real agent, on a small ext4 of the test's own: fanotify's pre-content events need
// it. Where BPF is among the security modules, what has no delay goes through its hooks.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include "agent/files/file_gate.h"
#include "agent/files/file_hooks.h"
#include "proto/support/time.h"
#include "tests/host/agent_fixture.h"
#include "tests/host/lib/mounts.h"
#include "tests/lib/time.h"

namespace firedrill::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

SteadyTime Now() { return Clock::Real().Steady(); }

// 0, or the errno of an open for reading.
int OpenError(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  close(fd);
  return 0;
}

Nanoseconds TimeToOpen(const std::string& path) {
  const SteadyTime start = Now();
  OpenError(path);
  return Now() - start;
}

class FileFaultTest : public AgentTest {
 protected:
  static void SetUpTestSuite() { EnterMountNamespace(); }
  void SetUp() override {
    MountImage(folder_.path() + "/image", disk(), 16 << 20);
    std::filesystem::create_directories(shop() + "/deep/er");
    std::filesystem::create_directories(disk() + "/beside");
    for (const char* name : {"/shop/a", "/shop/b", "/shop/deep/er/c", "/beside/d"}) {
      FillFile(disk() + name, 100);
    }
    AgentTest::SetUp();
  }
  void TearDown() override {
    agent_.reset();
    Unmount(disk());
  }
  std::string disk() const { return folder_.path() + "/disk"; }
  std::string shop() const { return disk() + "/shop"; }
  static bool HasHooks() {
    static const bool has = agent::FileHooks::Try().ok();
    return has;
  }
  static bool HasWrites() { return HasHooks() || agent::FileGate::TryPreContent().ok(); }

  v1::Fault Fault(const std::string& error, Nanoseconds delay = Nanoseconds(0),
                  std::vector<v1::FileOperation> operations = {}) const {
    v1::Fault fault;
    auto& file = *fault.mutable_file_fault();
    file.set_path(shop());
    file.set_error(error);
    if (delay > Nanoseconds(0)) *file.mutable_delay() = ToProto(delay);
    for (const auto operation : operations) file.add_operations(operation);
    return fault;
  }
  v1::InjectionUpdate EndProven(const std::string& id) {
    EXPECT_TRUE(controller_->End(id));
    const auto ended = Ended(id);
    EXPECT_TRUE(ended.end_proven()) << ended.error();
    return ended;
  }
  std::string ErrorOf(const std::string& id, const v1::Fault& fault) {
    EXPECT_TRUE(controller_->Apply(id, fault, seconds(10), seconds(30)));
    const auto failed = controller_->WaitForState(id, v1::INJECTION_STATE_FAILED);
    return failed ? failed->error() : "it did not fail";
  }
};

TEST_F(FileFaultTest, DelaysEachOpenBelowThePathAndNoOther) {
  const auto open_one = [&] { OpenError(shop() + "/a"); };
  EXPECT_LT(Quickest(open_one, milliseconds(20)), milliseconds(20)) << "none before";
  Begin("a", Fault("", milliseconds(40)), seconds(60));
  // What a busy machine does to one series of opens it hardly does to five.
  int opened = 0;
  Nanoseconds delayed = Nanoseconds::max(), undelayed = Nanoseconds::max();
  for (int tries = 0; tries < 5 && (delayed >= milliseconds(48) || undelayed >= milliseconds(5));
       ++tries) {
    std::vector<Nanoseconds> took, beside;
    for (int i = 0; i < 15; ++i) {
      took.push_back(TimeToOpen(shop() + (i % 2 == 0 ? "/a" : "/deep/er/c")));
      beside.push_back(TimeToOpen(disk() + "/beside/d"));
    }
    opened += 15;
    std::sort(took.begin(), took.end());
    std::sort(beside.begin(), beside.end());
    EXPECT_GE(took.front(), milliseconds(40));
    delayed = std::min(delayed, took[took.size() / 2]);
    undelayed = std::min(undelayed, beside[beside.size() / 2]);
  }
  EXPECT_LT(delayed, milliseconds(48));
  EXPECT_LT(undelayed, milliseconds(5));
  // One that waits does not let others wait for it.
  const auto open_many = [&] {
    std::vector<std::thread> threads;
    for (int i = 0; i < 20; ++i) threads.emplace_back([&] { OpenError(shop() + "/b"); });
    for (std::thread& thread : threads) thread.join();
    opened += 20;
  };
  EXPECT_LT(Quickest(open_many, milliseconds(250)), milliseconds(250))
      << "one after the other would take 800 ms";
  const auto ended = EndProven("a");
  EXPECT_TRUE(ended.has_first_impact_at());
  EXPECT_EQ(ended.counters().at("operations_matched"), opened);
  EXPECT_EQ(ended.counters().at("operations_delayed"), opened);
  EXPECT_EQ(ended.counters().at("operations_failed"), 0);
  EXPECT_LT(Quickest(open_one, milliseconds(20)), milliseconds(20)) << "none after";
}

TEST_F(FileFaultTest, OpensFailWithEperm) {
  Begin("a", Fault("EPERM"), seconds(60));
  EXPECT_EQ(OpenError(shop() + "/a"), EPERM);
  EXPECT_EQ(OpenError(shop() + "/deep/er/c"), EPERM);
  EXPECT_EQ(OpenError(disk() + "/beside/d"), 0);
  EXPECT_EQ(OpenError(shop()), 0) << "folders are no files";
  const auto ended = EndProven("a");
  EXPECT_EQ(ended.counters().at("operations_failed"), 2);
  EXPECT_TRUE(ended.has_first_impact_at());
  EXPECT_EQ(ended.impact_from_kernel(), HasHooks());
  EXPECT_EQ(OpenError(shop() + "/a"), 0);
}

TEST_F(FileFaultTest, TheAskedShareFails) {
  v1::Fault fault = Fault("EPERM");
  fault.mutable_file_fault()->set_percent(30);
  Begin("a", fault, seconds(60));
  int failed = 0;
  constexpr int kOpens = 1000;
  for (int i = 0; i < kOpens; ++i) failed += OpenError(shop() + "/a") == EPERM ? 1 : 0;
  EXPECT_NEAR(failed, 300, 71) << "4.9 standard deviations: a false alarm in a million";
  const auto ended = EndProven("a");
  EXPECT_EQ(ended.counters().at("operations_matched"), kOpens);
  EXPECT_EQ(ended.counters().at("operations_failed"), failed);
}

TEST_F(FileFaultTest, ReadsAndWritesFailWithErrorsOfDisks) {
  const auto both = {v1::FILE_OPERATION_READ, v1::FILE_OPERATION_WRITE};
  if (!HasWrites()) {
    EXPECT_NE(ErrorOf("a", Fault("EIO", Nanoseconds(0), both)).find("file_write"),
              std::string::npos);
    return;
  }
  Begin("r", Fault("EIO", Nanoseconds(0), {v1::FILE_OPERATION_READ}), seconds(60));
  int fd = open((shop() + "/a").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0) << "opens are not meant";
  char byte = 'x';
  EXPECT_EQ(pread(fd, &byte, 1, 0), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(pwrite(fd, &byte, 1, 0), 1) << "writes are not meant";
  EXPECT_EQ(EndProven("r").counters().at("operations_failed"), 1);
  EXPECT_EQ(pread(fd, &byte, 1, 0), 1);
  close(fd);

  Begin("w", Fault("ENOSPC", Nanoseconds(0), {v1::FILE_OPERATION_WRITE}), seconds(60));
  fd = open((shop() + "/a").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(pwrite(fd, &byte, 1, 0), -1);
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_EQ(pread(fd, &byte, 1, 0), 1) << "reads are not meant";
  EXPECT_EQ(EndProven("w").counters().at("operations_failed"), 1);
  EXPECT_EQ(pwrite(fd, &byte, 1, 0), 1);
  close(fd);
}

TEST_F(FileFaultTest, OpensFailWithErrorsOfDisksOnAnyFileSystem) {
  const std::string memory = folder_.path() + "/memory";
  MountTmpfs(memory, 1 << 20);
  FillFile(memory + "/f", 100);
  v1::Fault fault = Fault("EIO");
  fault.mutable_file_fault()->set_path(memory);
  if (HasWrites()) {
    Begin("a", fault, seconds(60));
    EXPECT_EQ(OpenError(memory + "/f"), EIO);
    EndProven("a");
    EXPECT_EQ(OpenError(memory + "/f"), 0);
  } else {
    EXPECT_NE(ErrorOf("a", fault).find("FAN_PRE_ACCESS"), std::string::npos);
  }
  Unmount(memory);
}

TEST_F(FileFaultTest, WritesTakeLonger) {
  if (!agent::FileGate::TryPreContent().ok()) {
    EXPECT_NE(ErrorOf("a", Fault("", milliseconds(30), {v1::FILE_OPERATION_WRITE})), "");
    return;
  }
  Begin("a", Fault("", milliseconds(30), {v1::FILE_OPERATION_WRITE}), seconds(60));
  const int fd = open((shop() + "/a").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  char byte = 'x';
  const SteadyTime start = Now();
  EXPECT_EQ(pwrite(fd, &byte, 1, 0), 1);
  EXPECT_GE(Now() - start, milliseconds(30));
  const auto read_one = [&] { EXPECT_EQ(pread(fd, &byte, 1, 0), 1); };
  EXPECT_LT(Quickest(read_one, milliseconds(20)), milliseconds(20));
  close(fd);
  EXPECT_EQ(EndProven("a").counters().at("operations_delayed"), 1);
}

TEST_F(FileFaultTest, AnErrorThatOnlyHooksCanGiveWorksOrSaysWhatIsMissing) {
  if (!HasHooks()) {
    const std::string error = ErrorOf("a", Fault("EMFILE"));
    EXPECT_NE(error.find("fanotify cannot answer EMFILE"), std::string::npos) << error;
    EXPECT_NE(error.find("lsm="), std::string::npos) << error;
    // Writes need pre-content events, which tmpfs has not, whatever the kernel.
    v1::Fault fault = Fault("ENOSPC", Nanoseconds(0), {v1::FILE_OPERATION_WRITE});
    fault.mutable_file_fault()->set_path(folder_.path() + "/memory");
    MountTmpfs(folder_.path() + "/memory", 1 << 20);
    const std::string on_tmpfs = ErrorOf("b", fault);
    EXPECT_NE(on_tmpfs.find(HasWrites() ? "pre-content events" : "file_write"), std::string::npos)
        << on_tmpfs;
    Unmount(folder_.path() + "/memory");
    return;
  }
  Begin("a", Fault("EMFILE"), seconds(60));
  EXPECT_EQ(OpenError(shop() + "/a"), EMFILE);
  EndProven("a");
}

TEST_F(FileFaultTest, OnlyChosenProcessesAndTheirDescendants) {
  const std::string log = folder_.path() + "/log";
  auto victim = Child::Start({"/bin/sh", "-c",
                              "while sleep 0.05; do if cat " + shop() +
                                  "/a >/dev/null 2>&1; then echo yes; else echo no; fi; done"},
                             log);
  ASSERT_TRUE(victim.ok()) << victim.status();
  ASSERT_TRUE(WaitFor([&] { return ReadFile(log).find("yes") != std::string::npos; }, seconds(15)));
  v1::Fault fault = Fault("EPERM");
  fault.mutable_file_fault()->mutable_processes()->set_pid(
      static_cast<std::uint32_t>((*victim)->pid()));
  Begin("a", fault, seconds(60));
  EXPECT_TRUE(WaitFor([&] { return ReadFile(log).find("no") != std::string::npos; }, seconds(15)))
      << "a descendant's open fails";
  EXPECT_EQ(OpenError(shop() + "/a"), 0) << "nobody else's does";
  EndProven("a");
  fault.mutable_file_fault()->mutable_processes()->set_pid(1u << 22);
  EXPECT_NE(ErrorOf("b", fault).find("no process"), std::string::npos);
}

TEST_F(FileFaultTest, AFileIsMeantByItsNameAndAFolderWithWhatComesLater) {
  v1::Fault fault = Fault("EPERM");
  fault.mutable_file_fault()->set_path(shop() + "/a");
  // A delay besides, so that the file is followed by name: hooks know a file by its inode.
  *fault.mutable_file_fault()->mutable_delay() = ToProto(milliseconds(1));
  Begin("file", fault, seconds(60));
  EXPECT_EQ(OpenError(shop() + "/b"), 0);
  ASSERT_EQ(rename((disk() + "/beside/d").c_str(), (shop() + "/a").c_str()), 0);
  EXPECT_EQ(OpenError(shop() + "/a"), EPERM);
  EndProven("file");
  Begin("folder", Fault("EPERM", milliseconds(1)), seconds(60));
  std::filesystem::create_directories(shop() + "/new/one");
  FillFile(shop() + "/new/one/e", 1);
  EXPECT_TRUE(WaitFor([&] { return OpenError(shop() + "/new/one/e") == EPERM; }, seconds(3)));
  std::filesystem::rename(shop() + "/deep", disk() + "/moved");
  EXPECT_TRUE(WaitFor([&] { return OpenError(disk() + "/moved/er/c") == 0; }, seconds(3)))
      << "it is below the path no more";
  EndProven("folder");
}

TEST_F(FileFaultTest, AKilledWorkerLetsEverybodyGoOnAtOnce) {
  constexpr Nanoseconds kAtOnce = milliseconds(100);
  Nanoseconds least = Nanoseconds::max();
  // What a busy machine adds once it hardly adds each time.
  for (int i = 0; i < 5 && least >= kAtOnce; ++i) {
    const std::string id = "a" + std::to_string(i);
    const auto workers = Begin(id, Fault("EPERM", seconds(8)), seconds(60));
    std::atomic<int> error{-1};
    SteadyTime back;
    std::thread waits([&] {
      error = OpenError(shop() + "/a");
      back = Now();
    });
    Pause(milliseconds(300));
    EXPECT_EQ(error, -1) << "it waits";
    const SteadyTime killed = Now();
    EXPECT_EQ(kill(workers.at(0), SIGKILL), 0);
    waits.join();
    least = std::min<Nanoseconds>(least, back - killed);
    EXPECT_EQ(error, 0) << "and is let through";
    const auto ended = Ended(id);
    EXPECT_EQ(ended.end_reason(), v1::END_REASON_WORKER_DIED);
    EXPECT_TRUE(ended.end_proven()) << ended.error();
  }
  EXPECT_LT(least, kAtOnce);
}

TEST_F(FileFaultTest, AStoppedWorkerHoldsNobodyLongerThanItsLeash) {
  auto workers = Begin("a", Fault("", milliseconds(1)), seconds(60));
  ASSERT_EQ(kill(workers.at(0), SIGSTOP), 0);
  EXPECT_LT(TimeToOpen(shop() + "/a"), milliseconds(3500)) << "the agent kills it";
  EXPECT_TRUE(Ended("a").end_proven());
  workers = Begin("b", Fault("", milliseconds(1)), seconds(60));
  ASSERT_EQ(kill(workers.at(0), SIGSTOP), 0);
  agent_->Signal(SIGSTOP);
  EXPECT_LT(TimeToOpen(shop() + "/a"), milliseconds(4500)) << "the kernel's leash kills it";
  agent_->Signal(SIGCONT);
  EXPECT_TRUE(Ended("b").end_proven());
}

TEST_F(FileFaultTest, EndsWithAKilledAgentAndNeverHindersTheAgentItself) {
  const std::string on_disk = shop() + "/agent-state";
  agent_.reset();
  auto agent = AgentProcess::Start(
      on_disk, {"--controller", controller_->address(), "--insecure", "--id", "host"});
  ASSERT_TRUE(agent.ok());
  agent_ = *std::move(agent);
  ASSERT_TRUE(controller_->WaitForHello(seconds(15), 2));
  Begin("a", Fault("EPERM"), seconds(60));
  EXPECT_EQ(OpenError(shop() + "/a"), EPERM);
  EXPECT_EQ(EndProven("a").error(), "") << "its journal is below the path, too";
  Begin("b", Fault("EPERM"), seconds(60));
  agent_->Signal(SIGKILL);
  EXPECT_TRUE(WaitFor([&] { return OpenError(shop() + "/a") == 0; }, seconds(4)));
  agent = AgentProcess::Start(
      on_disk, {"--controller", controller_->address(), "--insecure", "--id", "host"});
  ASSERT_TRUE(agent.ok());
  agent_ = *std::move(agent);
  ASSERT_TRUE(controller_->WaitForHello(seconds(15), 3));
  ASSERT_EQ(controller_->hellos().back().live_size(), 1);
  const v1::InjectionUpdate last = controller_->hellos().back().live(0);
  EXPECT_TRUE(last.end_proven()) << last.error();
}

TEST_F(FileFaultTest, WhatIsNeitherAFileNorAFolderIsNotEvenOpened) {
  v1::Fault fault = Fault("EPERM");
  const std::string fifo = shop() + "/fifo", device = shop() + "/device";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  std::filesystem::create_symlink("/dev/null", device);
  int which = 0;
  for (const std::string& path : {fifo, device}) {
    fault.mutable_file_fault()->set_path(path);
    const std::string error = ErrorOf("a" + std::to_string(which++), fault);
    EXPECT_NE(error.find("is neither a file nor a folder"), std::string::npos) << error;
  }
}

TEST_F(FileFaultTest, AFolderThatVanishesEndsIt) {
  Begin("a", Fault("", milliseconds(1)), seconds(60));
  std::filesystem::remove_all(shop());
  const auto ended = Ended("a");
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_HOST_CHANGED);
  EXPECT_TRUE(ended.end_proven());
  EXPECT_NE(ErrorOf("b", Fault("EPERM")).find(shop()), std::string::npos);
}

}  // namespace
}  // namespace firedrill::test
