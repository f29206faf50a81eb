// SPDX-License-Identifier: Apache-2.0
// The agent's link and supervisor inside the test, against a controller on loopback; workers are
// not processes.
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <mutex>

#include "absl/synchronization/notification.h"
#include "agent/host/host.h"
#include "agent/journal/journal.h"
#include "agent/link/link.h"
#include "agent/link/stream.h"
#include "agent/supervisor/supervisor_loop.h"
#include "agent/worker/worker.pb.h"
#include "proto/support/credentials.h"
#include "proto/support/version.h"
#include "tests/host/agent_fixture.h"
#include "tests/lib/fake_controller.h"
#include "tests/lib/process.h"

namespace firedrill::agent {
namespace {

using std::chrono::seconds;

// What workers were told to begin.
struct Begun {
  std::mutex mutex;
  std::vector<wire::Begin> all;
};

class DeafWorker : public WorkerProcess {
 public:
  explicit DeafWorker(Begun& begun) : begun_(begun) {}
  int pid() const override { return 1'000'000'000; }  // beyond any real pid
  int fd() const override { return -1; }
  absl::Status Send(const wire::ToWorker& message) override {
    const std::lock_guard lock(begun_.mutex);
    if (message.has_begin()) begun_.all.push_back(message.begin());
    return absl::OkStatus();
  }
  absl::StatusOr<bool> Receive(wire::FromWorker&) override { return false; }
  void Kill() override { gone_ = true; }
  bool Gone() override { return gone_; }

 private:
  Begun& begun_;
  bool gone_ = false;
};

class DeafSpawner : public Spawner {
 public:
  absl::StatusOr<std::unique_ptr<WorkerProcess>> Spawn() override {
    return std::make_unique<DeafWorker>(begun);
  }
  Begun begun;
};

constexpr FaultKind kKinds[] = {
    {v1::Fault::kCpu, false, [](const Host&) { return absl::OkStatus(); }, nullptr,
     [](const InjectionRequest&, const Host&) { return absl::OkStatus(); }}};

TEST(LinkTest, ProtectsTheEndThatItsStreamHasAlsoIfTheNameSaysNothingOfIt) {
  auto controller = test::FakeController::Start();
  ASSERT_TRUE(controller.ok());
  test::TemporaryFolder folder;
  const Host host;
  auto journal = Journal::Open(folder.path() + "/journal", host.BootId());
  ASSERT_TRUE(journal.ok());
  DeafSpawner spawner;
  absl::Status recovered;
  auto loop = SupervisorLoop::Start(
      [&] {
        return std::make_unique<Supervisor>(host, **journal, kKinds, std::span<const UndoKind>(),
                                            spawner, SupervisorOptions(),
                                            [](const v1::InjectionUpdate&) {});
      },
      Clock::Real(), &recovered);
  ASSERT_TRUE(loop.ok());
  LinkOptions options;
  // gRPC's own words: getaddrinfo makes nothing of them, as of a name that has moved meanwhile.
  options.controllers = {"ipv4:" + (*controller)->address()};
  options.credentials = [] {
    return MakeChannelCredentials({.ca = "", .cert = "", .key = "", .insecure = true});
  };
  *options.hello.mutable_version() = OwnProtocolVersion();
  options.hello.set_agent_id("host");
  Link link(std::move(options), Clock::Real());
  link.Start(**loop);
  ASSERT_TRUE((*controller)->WaitForHello());
  v1::Fault fault;
  fault.mutable_cpu()->set_percent(10);
  ASSERT_TRUE(test::WaitFor(
      [&] { return (*controller)->Apply("a", fault, seconds(30), seconds(15)); }, seconds(5)));
  const auto begun = [&] {
    const std::lock_guard lock(spawner.begun.mutex);
    return spawner.begun.all;
  };
  ASSERT_TRUE(test::WaitFor([&] { return !begun().empty(); }, seconds(10)));
  link.Stop();
  ASSERT_EQ(begun()[0].protect().endpoints_size(), 1);
  EXPECT_EQ(begun()[0].protect().endpoints(0).address(), "127.0.0.1");
  EXPECT_EQ(begun()[0].protect().endpoints(0).port(), (*controller)->port());
}

std::shared_ptr<Stream> Dial(const test::FakeController& controller,
                             std::function<void(const absl::Status&)> on_end) {
  auto credentials = MakeChannelCredentials({.ca = "", .cert = "", .key = "", .insecure = true});
  return Stream::Open(controller.address(), *credentials,
                      {.on_message = [](const v1::ConnectResponse&) {}, .on_end = on_end});
}

// Here the stream's holder is faster than gRPC's thread, which a loaded or stopped host makes of
// it.
TEST(StreamTest, IsTakenDownByItsHolderAlsoIfThatIsFasterThanItsEnd) {
  auto controller = test::FakeController::Start();
  ASSERT_TRUE(controller.ok());
  std::weak_ptr<Stream> watched;
  absl::Notification ending, told;
  bool dropped = false;
  auto stream = Dial(**controller, [&](const absl::Status&) {
    ending.Notify();
    dropped = test::WaitFor([&] { return watched.expired(); }, seconds(2));
    told.Notify();
  });
  watched = stream;
  ASSERT_TRUE(test::WaitFor([&] { return (*controller)->streams() == 1; }, seconds(10)));
  // It is the last channel of a process whose end joins gRPC's threads: a server counts as one.
  controller->reset();
  ending.WaitForNotification();
  stream.reset();
  told.WaitForNotification();
  EXPECT_TRUE(dropped) << "something else still holds the stream when its end is told";
}

TEST(StreamTest, IsTakenDownInGoodOrderWithoutHavingEnded) {
  auto controller = test::FakeController::Start();
  ASSERT_TRUE(controller.ok());
  absl::Status end;
  auto stream = Dial(**controller, [&](const absl::Status& status) { end = status; });
  ASSERT_TRUE(test::WaitFor([&] { return (*controller)->streams() == 1; }, seconds(10)));
  stream.reset();
  EXPECT_TRUE(absl::IsCancelled(end)) << end;
  EXPECT_TRUE(test::WaitFor([&] { return (*controller)->streams() == 0; }, seconds(10)));
}

using StoppedAgentTest = test::AgentTest;

// Streams end while the agent stands still, and in the midst of what it does when it goes on.
TEST_F(StoppedAgentTest, SurvivesTheEndOfItsStreamsHoweverOftenItIsStopped) {
  const SteadyTime end = Clock::Real().Steady() + seconds(4);
  int streams = 0;
  for (int i = 0; Clock::Real().Steady() < end || streams < 3; ++i) {
    const std::size_t hellos = controller_->hellos().size();
    // Before the stream's end is there, with it, or after it: a little later each time.
    agent_->Signal(SIGSTOP);
    controller_->Hang();
    for (int stops = 0; stops < 20; ++stops) {
      agent_->Signal(SIGCONT);
      test::Pause(std::chrono::microseconds(200 * (i % 8)));
      agent_->Signal(SIGSTOP);
    }
    agent_->Signal(SIGCONT);
    ASSERT_TRUE(controller_->WaitForHello(seconds(10), hellos + 1)) << agent_->Log();
    ++streams;
  }
  EXPECT_TRUE(agent_->Running()) << agent_->Log();
}

}  // namespace
}  // namespace firedrill::agent
