// SPDX-License-Identifier: Apache-2.0
// The program `firedrill` itself, on a terminal of its own, in a pipe, and while its controller
// goes away and comes back.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/lib/process.h"
#include "tests/unit/cli_fake_controller.h"

namespace firedrill {
namespace {

using std::chrono::seconds;
using test::FakeController;
using test::MakeMark;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Program() {
  const char* build = std::getenv("FIREDRILL_BUILD_DIR");
  return std::string(build == nullptr ? "." : build) + "/controller/cli/firedrill";
}

// One `firedrill`, on a terminal or with its output in a pipe. Killed with the object.
class Process {
 public:
  Process(const std::vector<std::string>& argv, bool terminal) {
    std::vector<std::string> words = {Program()};
    words.insert(words.end(), argv.begin(), argv.end());
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    int ends[2] = {-1, -1};
    if (terminal) {
      winsize size{};
      size.ws_col = 100;
      size.ws_row = 30;
      pid_ = forkpty(&fd_, nullptr, nullptr, &size);
    } else {
      if (pipe(ends) != 0) return;
      pid_ = fork();
      fd_ = ends[0];
    }
    if (pid_ == 0) {
      if (!terminal) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        const int null = open("/dev/null", O_RDONLY);
        dup2(null, STDIN_FILENO);
      }
      setenv("TERM", "xterm", 1);
      setenv("TZ", "UTC", 1);
      setenv("FIREDRILL_CONFIG", "/dev/null", 1);
      unsetenv("NO_COLOR");
      execv(pointers[0], pointers.data());
      _exit(127);
    }
    if (!terminal) close(ends[1]);
  }

  ~Process() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    if (fd_ >= 0) close(fd_);
  }

  // Reads until `text` was seen in all that came; false after ten seconds or at the end.
  bool WaitFor(const std::string& text) {
    const auto until = std::chrono::steady_clock::now() + seconds(10);
    while (output_.find(text, mark_) == std::string::npos) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          until - std::chrono::steady_clock::now());
      if (left.count() <= 0 || !Read(static_cast<int>(left.count()))) return false;
    }
    return true;
  }

  // What comes from now on is looked at alone.
  void Forget() { mark_ = output_.size(); }

  // Reads to the end and reaps; the exit code, or 1000 and the signal.
  int Wait() {
    const auto until = std::chrono::steady_clock::now() + seconds(10);
    while (std::chrono::steady_clock::now() < until && !over_) Read(1000);
    int status = 0;
    for (; std::chrono::steady_clock::now() < until + seconds(5);) {
      if (waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return -1;
  }

  void Type(const std::string& keys) const {
    ASSERT_EQ(write(fd_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  void Resize(unsigned short columns) const {
    winsize size{};
    size.ws_col = columns;
    size.ws_row = 30;
    ioctl(fd_, TIOCSWINSZ, &size);
  }
  pid_t pid() const { return pid_; }
  const std::string& output() const { return output_; }

 private:
  bool Read(int milliseconds) {
    pollfd ready{fd_, POLLIN, 0};
    if (poll(&ready, 1, milliseconds) != 1) return false;
    char buffer[4096];
    const ssize_t size = read(fd_, buffer, sizeof(buffer));
    over_ = size <= 0;
    if (over_) return false;
    output_.append(buffer, static_cast<std::size_t>(size));
    return true;
  }

  pid_t pid_ = -1;
  int fd_ = -1;
  std::string output_;
  std::size_t mark_ = 0;
  bool over_ = false;  // nothing more will come
};

constexpr const char* kInterrupt = "\x03";  // what Ctrl-C sends

class CliProcessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_.Write("cache-loss.yaml",
                  "name: cache-loss\nhypothesis: It holds.\nenvironment: staging\n"
                  "targets: {cache: {labels: {role: cache}}}\n"
                  "steady_state: [{name: success ratio, query: up, expect: '>= 0.99'}]\n"
                  "method:\n  - {name: lose, target: cache, duration: 1m, fault: "
                  "{packet_loss: {percent: 33}}}\n");
    Serve(test::FreePort());
  }

  std::string File() const { return folder_.path() + "/cache-loss.yaml"; }

  void Serve(int port, std::map<std::string, v1::Run> runs = {}) {
    fake_ = std::make_unique<FakeController>(port, FakeController::Insecure(), std::move(runs));
    fake_->on_start = [](v1::Run& run) { Begin(run); };
  }

  // A run in which a fault lives and an indicator has sunk.
  static void Begin(v1::Run& run) {
    run.set_state(v1::RUN_STATE_INJECTING);
    *run.add_marks() = MakeMark(v1::MARK_KIND_APPLIED, 1, v1::MARK_SOURCE_AGENT, "injection1");
    v1::Injection& injection = *run.add_injections();
    injection.set_id("injection1");
    injection.set_step("lose");
    injection.set_host("cache1");
    injection.mutable_fault()->mutable_packet_loss()->set_percent(33);
    injection.set_state(v1::INJECTION_STATE_ACTIVE);
    v1::Series& series = *run.add_series();
    series.set_name("success ratio");
    for (const double value : {1.0, 0.97}) series.add_samples()->set_value(value);
  }

  void Finish(v1::Verdict verdict) {
    fake_->Update(fake_->WaitForRun(), [verdict](v1::Run& run) {
      *run.add_marks() =
          MakeMark(v1::MARK_KIND_ALERT_FIRING, 9, v1::MARK_SOURCE_PROMETHEUS_SAMPLE, "ShopSlow");
      run.set_state(v1::RUN_STATE_FINISHED);
      run.mutable_verdict()->set_verdict(verdict);
    });
  }

  std::vector<std::string> Command(std::vector<std::string> words) const {
    for (const std::string& word :
         {std::string("--insecure"), std::string("--controller"), fake_->address()}) {
      words.push_back(word);
    }
    return words;
  }

  test::TemporaryFolder folder_;
  std::unique_ptr<FakeController> fake_;
};

TEST_F(CliProcessTest, DrawsARunLiveAndLeavesItsTimeline) {
  Process process(Command({"run", File()}), true);
  ASSERT_TRUE(process.WaitFor("lose (packet_loss percent=33)")) << process.output();
  ASSERT_TRUE(process.WaitFor("success ratio  \x1b[33m0.97\x1b[0m  █▁")) << process.output();
  // A narrower terminal: no line of the block is longer than it.
  process.Forget();
  process.Resize(30);
  ASSERT_TRUE(process.WaitFor("█▁\r")) << process.output();  // without its limit
  Finish(v1::VERDICT_PASSED);
  EXPECT_EQ(process.Wait(), 0) << process.output();
  EXPECT_THAT(process.output(), HasSubstr("alert firing  \x1b[0m  ShopSlow"));
  EXPECT_THAT(process.output(), HasSubstr("\x1b[32mpassed\x1b[0m"));
  EXPECT_THAT(process.output(), HasSubstr("\x1b[?25h"));  // the cursor is shown again
}

TEST_F(CliProcessTest, CtrlCAsksAndAAborts) {
  Process process(Command({"run", File()}), true);
  ASSERT_TRUE(process.WaitFor("injecting")) << process.output();
  process.Type(kInterrupt);
  ASSERT_TRUE(process.WaitFor("a: abort the run")) << process.output();
  EXPECT_EQ(fake_->abort_reason(), "");
  process.Type("a");
  EXPECT_EQ(process.Wait(), 3) << process.output();
  EXPECT_EQ(fake_->abort_reason(), "firedrill run was interrupted");
}

// The marks of people come from the keyboard too: a and Enter, m and what was done.
TEST_F(CliProcessTest, KeysTellTheControllerWhatTheTeamDoes) {
  Process process(Command({"run", File()}), true);
  ASSERT_TRUE(process.WaitFor("injecting")) << process.output();
  EXPECT_THAT(process.output(), Not(HasSubstr("a: acknowledged")));
  process.Type("a");  // there is nothing to acknowledge yet: no key
  process.Type(kInterrupt);
  ASSERT_TRUE(process.WaitFor("a: abort the run")) << process.output();
  process.Type("x");  // back; what was typed before has been read
  fake_->Update(fake_->WaitForRun(), [](v1::Run& run) {
    *run.add_marks() =
        MakeMark(v1::MARK_KIND_FIRST_IMPACT, 2, v1::MARK_SOURCE_KERNEL, "injection1");
  });
  ASSERT_TRUE(process.WaitFor("a: acknowledged   m: mitigated")) << process.output();
  process.Type("\x1b[a");  // some terminals' Shift-Up, which is no letter
  process.Type("a");
  ASSERT_TRUE(process.WaitFor("acknowledged; Enter says so, Esc goes back")) << process.output();
  process.Type("lookingg\x7f\r");
  ASSERT_TRUE(process.WaitFor("alice: looking")) << process.output();
  process.Type("m");
  ASSERT_TRUE(process.WaitFor("mitigated; Enter says so")) << process.output();
  process.Type("\r");  // not without a note
  process.Type(
      "m\xc3\xa9\x7f"
      "oved it all");
  ASSERT_TRUE(process.WaitFor("What was done: moved it all_")) << process.output();
  process.Type("\r");
  ASSERT_TRUE(process.WaitFor("alice: moved it all")) << process.output();
  process.Type("m");
  process.Type("never mind");
  ASSERT_TRUE(process.WaitFor("What was done: never mind_")) << process.output();
  process.Type("\x1b");
  process.Forget();
  ASSERT_TRUE(process.WaitFor("a: acknowledged   m: mitigated")) << process.output();
  Finish(v1::VERDICT_PASSED);
  EXPECT_EQ(process.Wait(), 0) << process.output();
  const std::vector<FakeController::Word> words = fake_->words();
  ASSERT_EQ(words.size(), 2U);
  EXPECT_EQ(words[0].kind, v1::MARK_KIND_ACKNOWLEDGED);
  EXPECT_EQ(words[0].note, "looking");
  EXPECT_EQ(words[1].kind, v1::MARK_KIND_MITIGATED);
  EXPECT_EQ(words[1].note, "moved it all");
  EXPECT_EQ(words[1].run_id, fake_->WaitForRun());
}

TEST_F(CliProcessTest, WhileANoteIsTypedCtrlCStillAsks) {
  Process process(Command({"run", File()}), true);
  ASSERT_TRUE(process.WaitFor("injecting")) << process.output();
  fake_->Update(fake_->WaitForRun(), [](v1::Run& run) {
    *run.add_marks() =
        MakeMark(v1::MARK_KIND_FIRST_IMPACT, 2, v1::MARK_SOURCE_KERNEL, "injection1");
  });
  ASSERT_TRUE(process.WaitFor("m: mitigated")) << process.output();
  process.Type("m");
  ASSERT_TRUE(process.WaitFor("What was done")) << process.output();
  process.Type(kInterrupt);
  ASSERT_TRUE(process.WaitFor("a: abort the run")) << process.output();
  process.Type("a");
  EXPECT_EQ(process.Wait(), 3) << process.output();
  EXPECT_TRUE(fake_->words().empty());
}

TEST_F(CliProcessTest, ASecondCtrlCAborts) {
  Process process(Command({"run", File()}), true);
  ASSERT_TRUE(process.WaitFor("injecting")) << process.output();
  process.Type(kInterrupt);
  ASSERT_TRUE(process.WaitFor("a: abort the run")) << process.output();
  process.Type(kInterrupt);
  EXPECT_EQ(process.Wait(), 3) << process.output();
  EXPECT_NE(fake_->abort_reason(), "");
}

TEST_F(CliProcessTest, CtrlCAndDDetachesAndTheRunGoesOn) {
  Process process(Command({"run", File()}), true);
  ASSERT_TRUE(process.WaitFor("injecting")) << process.output();
  process.Type(kInterrupt);
  ASSERT_TRUE(process.WaitFor("d: detach")) << process.output();
  process.Type("d");
  EXPECT_EQ(process.Wait(), 0) << process.output();
  EXPECT_THAT(process.output(), HasSubstr("firedrill abort " + fake_->WaitForRun()));
  EXPECT_EQ(fake_->abort_reason(), "");
}

TEST_F(CliProcessTest, CtrlCAndAnotherKeyGoesOn) {
  Process process(Command({"run", File()}), true);
  ASSERT_TRUE(process.WaitFor("injecting")) << process.output();
  process.Type(kInterrupt);
  ASSERT_TRUE(process.WaitFor("a: abort the run")) << process.output();
  process.Type("x");
  Finish(v1::VERDICT_FAILED);
  EXPECT_EQ(process.Wait(), 1) << process.output();
  EXPECT_EQ(fake_->abort_reason(), "");
}

TEST_F(CliProcessTest, InAPipeLinesArePlainAndSigintAborts) {
  Process process(Command({"run", File()}), false);
  ASSERT_TRUE(process.WaitFor("applied")) << process.output();
  kill(process.pid(), SIGINT);
  EXPECT_EQ(process.Wait(), 3) << process.output();
  EXPECT_THAT(process.output(), HasSubstr("Aborting: every fault of the run is being ended."));
  EXPECT_THAT(process.output(), Not(HasSubstr("\x1b")));
  EXPECT_NE(fake_->abort_reason(), "");
}

TEST_F(CliProcessTest, WithoutItsTerminalTheRunGoesOn) {
  Process process(Command({"run", File()}), false);
  ASSERT_TRUE(process.WaitFor("applied")) << process.output();
  kill(process.pid(), SIGHUP);
  EXPECT_EQ(process.Wait(), 0) << process.output();
  EXPECT_EQ(fake_->abort_reason(), "");
}

TEST_F(CliProcessTest, FollowsOverARestartOfTheController) {
  Process process(Command({"run", File()}), false);
  ASSERT_TRUE(process.WaitFor("applied")) << process.output();
  const v1::Run run = fake_->Get(fake_->WaitForRun());
  const int port = fake_->port();
  fake_.reset();
  ASSERT_TRUE(process.WaitFor("The controller went away; asking again")) << process.output();
  Serve(port, {{run.id(), run}});
  ASSERT_TRUE(process.WaitFor("The controller is back; the run goes on.")) << process.output();
  Finish(v1::VERDICT_PASSED);
  EXPECT_EQ(process.Wait(), 0) << process.output();
  // What was shown before is not shown again.
  EXPECT_EQ(process.output().find("applied"), process.output().rfind("applied"));
}

TEST_F(CliProcessTest, SaysThatARunIsUnknownAfterARestart) {
  Process process(Command({"run", File()}), false);
  ASSERT_TRUE(process.WaitFor("applied")) << process.output();
  const int port = fake_->port();
  fake_.reset();
  Serve(port);
  EXPECT_EQ(process.Wait(), 4) << process.output();
  EXPECT_THAT(process.output(), HasSubstr("The run was lost sight of: no such run"));
}

TEST_F(CliProcessTest, ExitCodesReachTheShell) {
  EXPECT_EQ(Process({"version"}, false).Wait(), 0);
  EXPECT_EQ(Process({"validate", folder_.path() + "/none"}, false).Wait(), 2);
  EXPECT_EQ(Process({"get", "runs", "--insecure", "--controller", "127.0.0.1:1"}, false).Wait(), 4);
}

// Certificates as `firedrill ca` makes them, through gRPC on both sides.
TEST_F(CliProcessTest, SpeaksMutualTlsAndHelpsWhereItFails) {
  const std::string ca = folder_.path() + "/ca", other = folder_.path() + "/other";
  for (const std::vector<std::string>& make : std::vector<std::vector<std::string>>{
           {"ca", "init", "--out", ca},
           {"ca", "issue", "controller", "main", "--ca-dir", ca},
           {"ca", "issue", "controller", "elsewhere", "--ca-dir", ca, "--dns", "example.org"},
           {"ca", "issue", "operator", "alice", "--ca-dir", ca},
           {"ca", "init", "--out", other},
           {"ca", "issue", "operator", "mallory", "--ca-dir", other}}) {
    ASSERT_EQ(Process(make, false).Wait(), 0);
  }
  const auto ask = [&](const std::string& address, const std::string& ca_file,
                       const std::string& name) {
    return std::vector<std::string>{"get",   "agents", "--controller", address, "--ca",
                                    ca_file, "--cert", name + ".crt",  "--key", name + ".key"};
  };
  CredentialOptions server{ca + "/ca.crt", ca + "/main.crt", ca + "/main.key"};
  const FakeController controller(0, server);
  Process good(ask(controller.address(), ca + "/ca.crt", ca + "/alice"), false);
  EXPECT_EQ(good.Wait(), 0) << good.output();

  Process stranger(ask(controller.address(), ca + "/ca.crt", other + "/mallory"), false);
  EXPECT_EQ(stranger.Wait(), 4);
  EXPECT_THAT(stranger.output(), HasSubstr("hint: ")) << stranger.output();
  Process distrustful(ask(controller.address(), other + "/ca.crt", other + "/mallory"), false);
  EXPECT_EQ(distrustful.Wait(), 4);
  EXPECT_THAT(distrustful.output(), HasSubstr("hint: ")) << distrustful.output();
  Process naked({"get", "agents", "--insecure", "--controller", controller.address()}, false);
  EXPECT_EQ(naked.Wait(), 4);
  EXPECT_THAT(naked.output(), HasSubstr("hint: ")) << naked.output();

  server.cert = ca + "/elsewhere.crt";
  server.key = ca + "/elsewhere.key";
  const FakeController misnamed(0, server);
  Process wary(ask(misnamed.address(), ca + "/ca.crt", ca + "/alice"), false);
  EXPECT_EQ(wary.Wait(), 4);
  EXPECT_THAT(wary.output(), HasSubstr("hint: ")) << wary.output();
}

}  // namespace
}  // namespace firedrill
