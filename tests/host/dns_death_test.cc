// SPDX-License-Identifier: Apache-2.0
// Nothing is left of a DNS fault whose worker is killed or stopped.
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <thread>

#include "tests/host/lib/dns_fixture.h"

namespace firedrill::testing {
namespace {

using agent::InjectionRequest;
using std::chrono::milliseconds;
using std::chrono::seconds;

class DnsDeathTest : public DnsFaultTest {};

// Another process that holds the fault, to be killed and stopped.
constexpr char kHoldFlag[] = "--hold-dns";

int Hold(const std::string& journal_folder) {
  agent::Host host;
  auto journal = agent::Journal::Open(journal_folder, "boot");
  std::shared_ptr<agent::TrafficEngine> traffic;
  agent::WorkerContext context{host, **journal, traffic};
  const InjectionRequest request = Request(v1::DNS_ANSWER_NXDOMAIN);
  auto fault = KindOf(request).apply(request, context);
  if (!fault.ok()) return 1;
  const auto renew = [&] { traffic->Renew(Clock::Real().Steady() + seconds(1)); };
  renew();
  std::printf("in force\n");
  std::fflush(stdout);
  for (;; renew()) std::this_thread::sleep_for(milliseconds(200));
}

class Holder {
 public:
  explicit Holder(const std::string& journal_folder) {
    int output[2];
    if (pipe(output) != 0) return;
    pid_ = fork();
    if (pid_ == 0) {
      dup2(output[1], STDOUT_FILENO);
      execl("/proc/self/exe", "holder", kHoldFlag, journal_folder.c_str(), nullptr);
      _exit(1);
    }
    close(output[1]);
    const agent::Descriptor read_end(output[0]);
    char byte;
    in_force_ = read(read_end.get(), &byte, 1) == 1;
  }
  ~Holder() { Kill(); }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  void Stop() const { kill(pid_, SIGSTOP); }
  bool in_force() const { return in_force_; }

 private:
  pid_t pid_ = -1;
  bool in_force_ = false;
};

// Asks until the answer is a good one.
bool GoodAgain(int within_ms) {
  DnsClient client(TwoHosts::kFar4);
  const SteadyTime end = Clock::Real().Steady() + milliseconds(within_ms);
  for (bool over = false; !over;) {
    over = Clock::Real().Steady() >= end;  // asked once more then, however late it is
    const auto reply = client.Ask("example.org", Patience());
    if (reply && reply->code == 0) return true;
  }
  return false;
}

TEST_F(DnsDeathTest, NothingIsLeftOfAKilledWorker) {
  const InjectionRequest request = Request(v1::DNS_ANSWER_NXDOMAIN);
  Holder holder(journal_.folder());
  ASSERT_TRUE(holder.in_force());
  const auto reply = DnsClient(TwoHosts::kFar4).Ask("example.org", Patience());
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->code, kNxdomain);
  EXPECT_FALSE(KindOf(request).verify_gone(request, host_).ok());
  holder.Kill();
  EXPECT_TRUE(GoodAgain(1500));
  EXPECT_OK(journal_.Replay());
  EXPECT_OK(KindOf(request).verify_gone(request, host_));
}

TEST_F(DnsDeathTest, AStoppedWorkersFaultEndsWithItsLease) {
  Holder holder(journal_.folder());
  ASSERT_TRUE(holder.in_force());
  holder.Stop();
  EXPECT_TRUE(GoodAgain(2000));
}

}  // namespace

bool IsDnsHolder(int argc, char** argv) { return argc == 3 && std::string(argv[1]) == kHoldFlag; }
int RunDnsHolder(char** argv) { return Hold(argv[2]); }

}  // namespace firedrill::testing

// The program starts itself again to have a fault in a process that can be killed.
int main(int argc, char** argv) {
  if (firedrill::testing::IsDnsHolder(argc, argv)) return firedrill::testing::RunDnsHolder(argv);
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
