// SPDX-License-Identifier: Apache-2.0
#include "agent/host/agent_clock.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <string>

namespace firedrill::agent {
namespace {

constexpr int kLooks = 20;  // the least disturbed one counts

Nanoseconds Read(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return std::chrono::seconds(now.tv_sec) + Nanoseconds(now.tv_nsec);
}

}  // namespace

Nanoseconds SinceBoot() { return Read(CLOCK_BOOTTIME); }

WallSinceBoot ReadWallSinceBoot() {
  WallSinceBoot best{Nanoseconds(0), Nanoseconds::max()};
  for (int i = 0; i < kLooks; ++i) {
    const Nanoseconds before = SinceBoot();
    const Nanoseconds wall = Read(CLOCK_REALTIME);
    const Nanoseconds half = (SinceBoot() - before) / 2;
    if (half < best.uncertainty) best = {wall - before - half, half + Nanoseconds(1)};
  }
  return best;
}

std::unique_ptr<AgentClock> AgentClock::Open(const std::string& state, const std::string& boot_id) {
  const std::string path = state + "/clock";
  std::ifstream file(path);
  std::string known_boot;
  std::int64_t begun = 0;
  if (file >> known_boot >> begun && known_boot == boot_id && !boot_id.empty()) {
    return std::unique_ptr<AgentClock>(new AgentClock(Nanoseconds(begun)));
  }
  begun = ReadWallSinceBoot().distance.count();
  const std::string fresh = fmt::format("{}.{}", path, getpid());
  std::ofstream(fresh) << boot_id << ' ' << begun << '\n';
  if (std::rename(fresh.c_str(), path.c_str()) != 0) std::remove(fresh.c_str());
  return std::unique_ptr<AgentClock>(new AgentClock(Nanoseconds(begun)));
}

SystemTime AgentClock::System() const { return SystemTime(SinceBoot() + begun_); }

}  // namespace firedrill::agent
