// SPDX-License-Identifier: Apache-2.0
// The agent as a program: its line to controllers, how it stops, how it starts again.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "proto/support/time.h"
#include "proto/support/version.h"
#include "tests/host/agent_fixture.h"
#include "tests/host/lib/stalls.h"

namespace firedrill::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class AgentProcessTest : public AgentTest {};

TEST_F(AgentProcessTest, SaysWhoItIs) {
  StartAgent({"--label", "role=web", "--environment", "staging", "--max-live-faults", "5"});
  const v1::Hello hello = controller_->hellos().back();
  EXPECT_EQ(hello.agent_id(), "host");
  EXPECT_EQ(hello.labels().at("role"), "web");
  EXPECT_EQ(hello.environment(), "staging");
  EXPECT_EQ(hello.live_fault_cap(), 5u);
  EXPECT_EQ(hello.version().major(), OwnProtocolVersion().major());
  EXPECT_EQ(hello.software_version(), SoftwareVersion());
  EXPECT_FALSE(hello.boot_id().empty());
  EXPECT_FALSE(hello.kernel_release().empty());
  EXPECT_FALSE(hello.instance().empty());
  EXPECT_NE(hello.instance(), controller_->hellos().front().instance());
  bool cpu = false;
  for (const auto& ability : hello.abilities())
    cpu |= ability.name() == "cpu" && ability.available();
  EXPECT_TRUE(cpu);
  for (const auto& ability : hello.abilities()) {
    EXPECT_FALSE(ability.reason().empty()) << ability.name();
  }
}

TEST_F(AgentProcessTest, MeasuresTheControllersClock) {
  FakeController::Options options;
  options.clock_ahead = seconds(42);
  auto other = FakeController::Start(options);
  ASSERT_TRUE(other.ok());
  StartAgent({"--controller", (*other)->address()});
  controller_.reset();  // the first is gone: the second is tried
  ASSERT_TRUE((*other)->WaitForHello(seconds(15))) << agent_->Log();
  ASSERT_TRUE(WaitFor(
      [&] {
        const auto beat = (*other)->last_heartbeat();
        return beat && beat->clock_known();
      },
      seconds(10)));
  const v1::Heartbeat beat = *(*other)->last_heartbeat();
  const Nanoseconds error = FromProto(beat.clock_offset()) - seconds(42);
  EXPECT_LE(std::chrono::abs(error), FromProto(beat.clock_uncertainty()) + milliseconds(1));
}

TEST_F(AgentProcessTest, SigtermEndsEverythingVerifiedBeforeExit) {
  Begin("a", Cpu(20), seconds(60));
  const auto workers = Begin("b", Cpu(20), seconds(60));
  ASSERT_EQ(workers.size(), 2u);
  agent_->Signal(SIGTERM);
  for (const char* id : {"a", "b"}) {
    const auto ended = Ended(id, seconds(8));
    EXPECT_EQ(ended.end_reason(), v1::END_REASON_AGENT_STOPPING);
    EXPECT_TRUE(ended.end_proven());
  }
  EXPECT_TRUE(WaitFor([&] { return !agent_->Running(); }, seconds(8)));
  for (const pid_t worker : workers) EXPECT_FALSE(Alive(worker));
  EXPECT_TRUE(controller_->last_heartbeat()->draining());
  EXPECT_TRUE(std::filesystem::is_empty(state() + "/journal"));
}

TEST_F(AgentProcessTest, ASecondSignalDoesNotWaitForAWorkerThatHangs) {
  const StallWatch watch;
  const auto workers = Begin("a", Cpu(20), seconds(60));
  ASSERT_EQ(kill(workers.at(0), SIGSTOP), 0);
  agent_->Signal(SIGTERM);
  // Not before it has taken the first: two that wait are one.
  ASSERT_TRUE(WaitFor(
      [&] {
        const auto beat = controller_->last_heartbeat();
        return beat && beat->draining();
      },
      seconds(5)))
      << agent_->Log();
  const SteadyTime start = Clock::Real().Steady();
  agent_->Signal(SIGTERM);
  EXPECT_TRUE(WaitFor([&] { return !agent_->Running(); }, seconds(8)));
  const SteadyTime gone = Clock::Real().Steady();
  EXPECT_LT(gone - start - watch.Between(start, gone), milliseconds(1500))
      << "it waited for the host's lease\n"
      << agent_->Log();
  EXPECT_FALSE(Alive(workers.at(0)));
  EXPECT_TRUE(Ended("a").end_proven());
}

TEST_F(AgentProcessTest, FaultsOutliveALostLineUntilTheirLeaseAndTheNextHelloTellsTheirEnd) {
  const auto workers = Begin("a", Cpu(20), seconds(60), seconds(6));
  controller_->Hang();
  ASSERT_TRUE(controller_->WaitForHello(seconds(10), 2)) << "it dials again";
  ASSERT_EQ(controller_->hellos().back().live_size(), 1);
  EXPECT_EQ(controller_->hellos().back().live(0).state(), v1::INJECTION_STATE_ACTIVE);
  EXPECT_TRUE(Alive(workers.at(0)));
  EXPECT_EQ(Ended("a", seconds(10)).end_reason(), v1::END_REASON_LEASE);
  controller_->Hang();
  ASSERT_TRUE(controller_->WaitForHello(seconds(10), 3));
  ASSERT_EQ(controller_->hellos().back().live_size(), 1) << "what ended is told again";
  EXPECT_TRUE(controller_->hellos().back().live(0).end_proven());
}

TEST_F(AgentProcessTest, RenewalsKeepAFaultAlive) {
  Begin("a", Cpu(20), seconds(60), seconds(2));
  const SteadyTime until = Clock::Real().Steady() + seconds(4);
  while (Clock::Real().Steady() < until) {
    ASSERT_TRUE(controller_->Renew("a", seconds(2)));
    Pause(milliseconds(500));
  }
  EXPECT_EQ(controller_->updates("a").back().state(), v1::INJECTION_STATE_ACTIVE);
  EXPECT_EQ(Ended("a", seconds(6)).end_reason(), v1::END_REASON_LEASE);
}

TEST_F(AgentProcessTest, LeavesAControllerThatFallsSilent) {
  controller_->FallSilent();
  EXPECT_TRUE(controller_->WaitForHello(seconds(15), 2))
      << "three heartbeats without an answer and it dials again\n"
      << agent_->Log();
}

TEST_F(AgentProcessTest, RefusesAControllerOfAnotherMajorVersion) {
  FakeController::Options options;
  options.version = OwnProtocolVersion();
  options.version.set_major(9);
  controller_ = *FakeController::Start(options);
  StartAgent();
  EXPECT_TRUE(WaitFor(
      [&] { return agent_->Log().find("the controller speaks protocol 9.") != std::string::npos; },
      seconds(10)))
      << agent_->Log();
}

TEST_F(AgentProcessTest, WorksWithAControllerOneMinorVersionNewer) {
  FakeController::Options options;
  options.version = OwnProtocolVersion();
  options.version.set_minor(options.version.minor() + 1);
  controller_ = *FakeController::Start(options);
  StartAgent();
  Begin("a", Cpu(20), seconds(60));
}

TEST_F(AgentProcessTest, AWorkerRevertsThoughNobodyReadsItsLogAnyMore) {
  int log[2], channel[2];
  ASSERT_EQ(pipe2(log, O_CLOEXEC), 0);
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel), 0);
  const std::string state = folder_.path() + "/worker", binary = AgentBinary();
  const pid_t worker = fork();
  if (worker == 0) {
    dup2(log[1], STDERR_FILENO);
    dup2(channel[1], 3);
    execl(binary.c_str(), "firedrill-agent", "worker", "--socket", "3", "--state", state.c_str(),
          nullptr);
    _exit(99);
  }
  for (const int fd : {log[0], log[1], channel[0], channel[1]}) close(fd);
  int status = 0;
  ASSERT_EQ(waitpid(worker, &status, 0), worker);
  EXPECT_FALSE(WIFSIGNALED(status)) << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(AgentProcessTest, TwoAgentsDoNotShareAFolder) {
  const auto second = RunToEnd(
      {AgentBinary(), "--state", state(), "--controller", controller_->address(), "--insecure"});
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->exit_status, 1);
  EXPECT_NE(second->output.find("another agent uses"), std::string::npos) << second->output;
}

TEST_F(AgentProcessTest, ADamagedJournalDoesNotKeepItFromStarting) {
  agent_->Signal(SIGTERM);
  ASSERT_TRUE(WaitFor([&] { return !agent_->Running(); }, seconds(8)));
  std::ofstream(state() + "/journal/1-2-3.undo") << "{\"format\": 1, \"kin";
  StartAgent();
  EXPECT_NE(agent_->Log().find("set aside"), std::string::npos) << agent_->Log();
  Begin("a", Cpu(20), seconds(60));
}

TEST_F(AgentProcessTest, RevertCleansUpAfterACrash) {
  const auto workers = Begin("a", Cpu(20), seconds(60));
  agent_->Signal(SIGKILL);
  ASSERT_TRUE(WaitFor([&] { return !agent_->Running(); }, seconds(8)));
  EXPECT_FALSE(std::filesystem::is_empty(state() + "/journal"));
  const auto revert = RunToEnd({AgentBinary(), "revert", "--all", "--state", state()});
  ASSERT_TRUE(revert.ok());
  EXPECT_EQ(revert->exit_status, 0) << revert->output;
  EXPECT_TRUE(std::filesystem::is_empty(state() + "/journal"));
  EXPECT_FALSE(Alive(workers.at(0)));
}

TEST_F(AgentProcessTest, DoctorSaysWhatTheHostCanDo) {
  const auto json = RunToEnd({AgentBinary(), "doctor", "-o", "json"});
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json->exit_status, 0);
  EXPECT_NE(json->output.find("\"abilities\""), std::string::npos);
  const auto table = RunToEnd({AgentBinary(), "doctor"});
  ASSERT_TRUE(table.ok());
  EXPECT_NE(table->output.find("--allow process_kill"), std::string::npos) << table->output;
}

// A CPU cgroup of the test's own, with a fifth of one processor for all in it.
class QuotaTest : public AgentTest {
 protected:
  void SetUp() override {
    const std::string name = "/fdtest-" + std::to_string(getpid());
    v1_ = std::filesystem::exists("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    cgroup_ = (v1_ ? "/sys/fs/cgroup/cpu" : "/sys/fs/cgroup") + name;
    if (!v1_) std::ofstream("/sys/fs/cgroup/cgroup.subtree_control") << "+cpu";
    ASSERT_EQ(mkdir(cgroup_.c_str(), 0755), 0) << cgroup_;
    if (v1_) {
      std::ofstream(cgroup_ + "/cpu.cfs_period_us") << 100000;
      std::ofstream(cgroup_ + "/cpu.cfs_quota_us") << 20000;
    } else {
      std::ofstream(cgroup_ + "/cpu.max") << "20000 100000";
    }
    AgentTest::SetUp();
  }
  void TearDown() override {
    agent_.reset();
    EXPECT_TRUE(WaitFor([&] { return rmdir(cgroup_.c_str()) == 0; }, seconds(10))) << cgroup_;
  }
  FakeController::Options ControllerOptions() const override {
    FakeController::Options options;
    options.heartbeat_interval = seconds(1);  // it leaves after three without an answer
    return options;
  }
  bool v1_ = false;
  std::string cgroup_;
};

TEST_F(QuotaTest, HeartbeatsAndEndsSurviveACpuFaultUnderTheAgentsOwnQuota) {
  std::ofstream(cgroup_ + "/cgroup.procs") << agent_->pid();
  const auto workers = Begin("a", Cpu(100, {}), seconds(60));
  const auto first = controller_->last_heartbeat();
  Pause(seconds(10));
  EXPECT_TRUE(Alive(workers.at(0))) << agent_->Log();
  EXPECT_EQ(controller_->hellos().size(), 1u) << "the line broke\n" << agent_->Log();
  const auto last = controller_->last_heartbeat();
  ASSERT_TRUE(last);
  EXPECT_GE(last->sequence(), (first ? first->sequence() : 0) + 4) << "of 10 in 10 s";
  const auto seen = controller_->WaitForUpdate("a", [](const v1::InjectionUpdate& update) {
    const auto found = update.counters().find("achieved_percent");
    return found != update.counters().end() && found->second > 1;
  });
  ASSERT_TRUE(seen);
  EXPECT_LT(seen->counters().at("achieved_percent"), 40) << "asked 100 %, throttled to a fifth";
  ASSERT_TRUE(controller_->End("a"));
  EXPECT_TRUE(Ended("a", seconds(10)).end_proven());
}

// Certificates by openssl for one CA, a controller and an agent.
class MutualTlsTest : public testing::Test {
 protected:
  void SetUp() override {
    MakeCa("ca");
    Issue("ca", "controller", "subjectAltName=IP:127.0.0.1");
    Issue("ca", "agent", "subjectAltName=URI:spiffe://firedrill/agent/host");
  }
  std::string Path(const std::string& name) const { return folder_.path() + "/" + name; }
  void Openssl(std::vector<std::string> words) {
    words.insert(words.begin(), "/usr/bin/openssl");
    const auto done = RunToEnd(words);
    ASSERT_TRUE(done.ok() && done->exit_status == 0) << (done.ok() ? done->output : "");
  }
  void MakeCa(const std::string& name) {
    Openssl({"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-subj", "/CN=" + name, "-days", "1", "-keyout", Path(name + ".key"), "-out",
             Path(name + ".pem")});
  }
  void Issue(const std::string& ca, const std::string& name, const std::string& extension) {
    folder_.Write(name + ".ext", extension + "\n");
    Openssl({"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
             "/CN=" + name, "-keyout", Path(name + ".key"), "-out", Path(name + ".csr")});
    Openssl({"x509", "-req", "-in", Path(name + ".csr"), "-CA", Path(ca + ".pem"), "-CAkey",
             Path(ca + ".key"), "-CAcreateserial", "-days", "1", "-extfile", Path(name + ".ext"),
             "-out", Path(name + ".pem")});
  }
  CredentialOptions Files(const std::string& name, const std::string& ca = "ca") const {
    return {.ca = Path(ca + ".pem"), .cert = Path(name + ".pem"), .key = Path(name + ".key")};
  }
  std::unique_ptr<FakeController> Serve(const std::string& name) {
    FakeController::Options options;
    options.credentials = Files(name);
    auto controller = FakeController::Start(options);
    EXPECT_TRUE(controller.ok()) << controller.status();
    return *std::move(controller);
  }
  std::unique_ptr<AgentProcess> Agent(const FakeController& controller, const std::string& name,
                                      const std::string& ca = "ca") {
    auto agent = AgentProcess::Start(
        Path("state"), {"--controller", controller.address(), "--ca", Path(ca + ".pem"), "--cert",
                        Path(name + ".pem"), "--key", Path(name + ".key")});
    EXPECT_TRUE(agent.ok());
    return *std::move(agent);
  }
  TemporaryFolder folder_;
};

TEST_F(MutualTlsTest, BothEndsShowCertificatesOfOneCa) {
  const auto controller = Serve("controller");
  const auto agent = Agent(*controller, "agent");
  EXPECT_TRUE(controller->WaitForHello(seconds(15))) << agent->Log();
}

TEST_F(MutualTlsTest, AnAgentOfAnotherCaIsRefusedAndToldWhatToLookAt) {
  MakeCa("other");
  Issue("other", "stranger", "subjectAltName=DNS:stranger");
  const auto controller = Serve("controller");
  const auto agent = Agent(*controller, "stranger");
  EXPECT_TRUE(
      WaitFor([&] { return agent->Log().find("--cert") != std::string::npos; }, seconds(10)))
      << agent->Log();
  EXPECT_FALSE(controller->WaitForHello(milliseconds(10)));
}

TEST_F(MutualTlsTest, AControllerOfAnotherNameIsNotTrusted) {
  Issue("ca", "elsewhere", "subjectAltName=DNS:elsewhere.example.org");
  const auto controller = Serve("elsewhere");
  const auto agent = Agent(*controller, "agent");
  EXPECT_TRUE(WaitFor([&] { return agent->Log().find("the stream is over") != std::string::npos; },
                      seconds(10)))
      << agent->Log();
  EXPECT_FALSE(controller->WaitForHello(seconds(1)));
}

TEST_F(MutualTlsTest, CertificatesRotateWithoutARestart) {
  const auto controller = Serve("controller");
  const auto agent = Agent(*controller, "agent");
  ASSERT_TRUE(controller->WaitForHello(seconds(15))) << agent->Log();
  // A new CA for both ends, moved over the old files; the files are looked at every ten seconds.
  MakeCa("new");
  Issue("new", "controller2", "subjectAltName=IP:127.0.0.1");
  Issue("new", "agent2", "subjectAltName=URI:spiffe://firedrill/agent/host");
  for (const auto& [from, to] :
       std::vector<std::pair<std::string, std::string>>{{"new.pem", "ca.pem"},
                                                        {"controller2.key", "controller.key"},
                                                        {"controller2.pem", "controller.pem"},
                                                        {"agent2.key", "agent.key"},
                                                        {"agent2.pem", "agent.pem"}}) {
    std::filesystem::rename(Path(from), Path(to));
  }
  Pause(seconds(11));
  controller->Hang();
  EXPECT_TRUE(controller->WaitForHello(seconds(25), 2)) << agent->Log();
  EXPECT_TRUE(CheckCredentials(Files("agent")).ok());
}

TEST_F(MutualTlsTest, AKeyOfAnotherCertificateIsAClearError) {
  CredentialOptions mixed = Files("agent");
  mixed.key = Path("controller.key");
  const auto status = CheckCredentials(mixed);
  EXPECT_NE(std::string(status.message()).find("does not belong"), std::string::npos) << status;
}

}  // namespace
}  // namespace firedrill::test
