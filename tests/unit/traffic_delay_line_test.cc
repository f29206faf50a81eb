// SPDX-License-Identifier: Apache-2.0
// The delay line with a socket in the place of its device.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>
#include <ctime>

#include "agent/traffic/delay_line.h"
#include "bpf/traffic.h"

namespace firedrill::agent {
namespace {

constexpr std::size_t kVirtioHeader = 12;

class DelayLineTest : public testing::Test {
 protected:
  DelayLineTest() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    device_ = Descriptor(ends[0]);
    kernel_ = Descriptor(ends[1]);
  }
  static std::int64_t NowNs() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000 + now.tv_nsec;
  }
  // A frame that `rules` hold for a minute.
  bool Arrive(std::uint64_t rules) const {
    fd_held held{};
    held.deliver_at_ns = static_cast<__u64>(NowNs() + 60'000'000'000);
    held.rules = rules;
    char frame[kVirtioHeader + sizeof(held)] = {};
    std::memcpy(frame + kVirtioHeader, &held, sizeof(held));
    return send(kernel_.get(), frame, sizeof(frame), 0) == sizeof(frame);
  }
  // Frames given back until none comes for so long.
  int GivenBack(int quiet_ms) const {
    int count = 0;
    char frame[256];
    pollfd polled{kernel_.get(), POLLIN, 0};
    while (poll(&polled, 1, quiet_ms) == 1 && recv(kernel_.get(), frame, sizeof(frame), 0) > 0)
      ++count;
    return count;
  }
  Descriptor device_, kernel_;
};

TEST_F(DelayLineTest, ReleasesAlsoWhatStillStandsInTheDevicesQueue) {
  constexpr int kQueued = 200;
  for (int i = 0; i < kQueued; ++i) ASSERT_TRUE(Arrive(1));
  auto line = DelayLine::Start(device_.get(), LineKind::kDelay, {});
  ASSERT_TRUE(line.ok());
  (*line)->Release(1, false);
  EXPECT_EQ(GivenBack(500), kQueued);
  EXPECT_EQ((*line)->Stats().held, 0u);
  ASSERT_TRUE(Arrive(2));
  EXPECT_EQ(GivenBack(200), 0) << "another rule's is held";
}

TEST_F(DelayLineTest, TakesNoFramesOfOthers) {
  auto line = DelayLine::Start(device_.get(), LineKind::kDelay, {});
  ASSERT_TRUE(line.ok());
  char frame[kVirtioHeader + 60] = {};
  std::memset(frame + kVirtioHeader, 0x33, 12);  // addresses where loopback frames say their time
  ASSERT_EQ(send(kernel_.get(), frame, sizeof(frame), 0), static_cast<ssize_t>(sizeof(frame)));
  EXPECT_EQ(GivenBack(200), 0);
  EXPECT_EQ((*line)->Stats().held, 0u);
}

TEST_F(DelayLineTest, RestsWhenItsDeviceIsGone) {
  auto line = DelayLine::Start(device_.get(), LineKind::kDelay, {});
  ASSERT_TRUE(line.ok());
  kernel_ = Descriptor();
  const std::clock_t before = std::clock();
  poll(nullptr, 0, 400);
  EXPECT_LT(std::clock() - before, CLOCKS_PER_SEC / 10);
}

}  // namespace
}  // namespace firedrill::agent
