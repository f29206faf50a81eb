// SPDX-License-Identifier: Apache-2.0
#include "tests/host/lib/stalls.h"

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>

namespace firedrill::test {
namespace {

constexpr Nanoseconds kEvery = std::chrono::milliseconds(1);

SteadyTime Now() { return Clock::Real().Steady(); }

}  // namespace

StallWatch::StallWatch() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  sched_getaffinity(0, sizeof allowed, &allowed);
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &allowed)) continue;
    cores_.push_back(std::make_unique<Core>());
    cores_.back()->number = core;
  }
  for (const auto& core : cores_) threads_.emplace_back([this, &core] { Watch(*core); });
  while (ready_ < static_cast<int>(threads_.size())) std::this_thread::sleep_for(kEvery);
  if (!failed_) return;
  for (std::thread& thread : threads_) thread.join();
  throw std::runtime_error("this process may not have realtime priority");
}

StallWatch::~StallWatch() {
  stop_ = true;
  for (std::thread& thread : threads_) thread.join();
}

void StallWatch::Watch(Core& core) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(core.number, &one);
  sched_param foremost{};
  foremost.sched_priority = sched_get_priority_max(SCHED_FIFO);
  if (sched_setaffinity(0, sizeof one, &one) != 0 ||
      sched_setscheduler(0, SCHED_FIFO, &foremost) != 0) {
    failed_ = true;
  }
  SteadyTime last = Now();
  core.seen_ns = last.time_since_epoch().count();
  ++ready_;
  while (!stop_ && !failed_) {
    const timespec nap{0, kEvery.count()};
    nanosleep(&nap, nullptr);
    const SteadyTime now = Now();
    if (now - last > 2 * kEvery) {
      absl::MutexLock lock(&mutex_);
      stalls_.push_back({last + kEvery, now});
      core.seen_ns = now.time_since_epoch().count();  // not counted again as one that goes on
    } else {
      core.seen_ns = now.time_since_epoch().count();
    }
    last = now;
  }
}

Nanoseconds StallWatch::Between(SteadyTime from, SteadyTime to) const {
  const auto within = [&](const Stall& stall) {
    return std::max<Nanoseconds>(std::min(stall.to, to) - std::max(stall.from, from),
                                 Nanoseconds(0));
  };
  std::this_thread::sleep_for(2 * kEvery);
  absl::MutexLock lock(&mutex_);
  Nanoseconds sum{0};
  for (const Stall& stall : stalls_) sum += within(stall);
  for (const auto& core : cores_) {  // that goes on
    const SteadyTime seen{Nanoseconds(core->seen_ns)}, now = Now();
    if (now - seen > 2 * kEvery) sum += within({seen + kEvery, now});
  }
  return sum;
}

}  // namespace firedrill::test
