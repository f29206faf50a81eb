// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/burner.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <ctime>
#include <memory>
#include <random>
#include <utility>

#include "absl/time/time.h"
#include "agent/faults/core_load.h"
#include "agent/host/host.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Nanoseconds kPeriod = milliseconds(10);
constexpr double kDither = 0.1;  // so that burners and others' timers do not march in step
// What could not be burnt is made up for, but only so much: a hog's end brings no burst.
constexpr Nanoseconds kMostDebt = 2 * kPeriod;
constexpr Nanoseconds kAchievedOver = seconds(1);

Nanoseconds Now(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return Nanoseconds(now.tv_sec * 1'000'000'000 + now.tv_nsec);
}

Nanoseconds OwnCpuTime() { return Now(CLOCK_THREAD_CPUTIME_ID); }

void SleepUntil(Nanoseconds when) {
  const timespec until{when.count() / 1'000'000'000, when.count() % 1'000'000'000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

// Some tens of microseconds of work between looks at the clock.
void BurnALittle() {
  volatile std::uint64_t x = 88172645463325252ULL;
  for (int i = 0; i < 4000; ++i) {
    std::uint64_t y = x;
    y ^= y << 13;
    y ^= y >> 7;
    y ^= y << 17;
    x = y;
  }
}

using CpuSet = std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)>;
CpuSet MakeSet(int cores) {
  return CpuSet(CPU_ALLOC(static_cast<std::size_t>(cores)), [](cpu_set_t* s) { CPU_FREE(s); });
}

}  // namespace

Burner::Burner(const Host& host, BurnerOptions options)
    : host_(host), options_(std::move(options)), thread_([this] { Run(); }) {}

Burner::~Burner() { Stop(); }

void Burner::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

absl::Status Burner::Confirm(Nanoseconds within) {
  absl::MutexLock lock(&mutex_);
  const auto known = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return pinned_.has_value(); };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&known), absl::FromChrono(within))) {
    return absl::DeadlineExceededError(
        fmt::format("the burner of core {} was not scheduled", options_.core));
  }
  return *pinned_;
}

Burner::Figures Burner::figures() const {
  absl::MutexLock lock(&mutex_);
  return figures_;
}

absl::Status Burner::Pin() const {
  pthread_setname_np(pthread_self(), options_.thread_name.c_str());
  // The agent raises itself so as to outlive the load; the load itself is as any other program.
  const auto tid = static_cast<id_t>(syscall(SYS_gettid));
  if (setpriority(PRIO_PROCESS, tid, 0) != 0) {
    return absl::ErrnoToStatus(errno, "set the priority of a burner");
  }
  const int cores = std::max(options_.core + 1, CPU_SETSIZE);
  const std::size_t size = CPU_ALLOC_SIZE(static_cast<std::size_t>(cores));
  const CpuSet wanted = MakeSet(cores), found = MakeSet(cores);
  CPU_ZERO_S(size, wanted.get());
  CPU_SET_S(static_cast<std::size_t>(options_.core), size, wanted.get());
  if (sched_setaffinity(0, size, wanted.get()) != 0) {
    return absl::ErrnoToStatus(errno, fmt::format("bind a burner to core {}", options_.core));
  }
  CPU_ZERO_S(size, found.get());
  if (sched_getaffinity(0, size, found.get()) != 0 ||
      !CPU_EQUAL_S(size, wanted.get(), found.get()) || sched_getcpu() != options_.core) {
    return absl::InternalError(
        fmt::format("the kernel does not show the burner on core {}", options_.core));
  }
  return absl::OkStatus();
}

double Burner::Goal(Nanoseconds elapsed, double others) const {
  double level = options_.share;
  if (elapsed < options_.ramp) {
    level *= static_cast<double>(elapsed.count()) / static_cast<double>(options_.ramp.count());
  }
  return options_.fill ? std::max(0.0, level - others) : level;
}

void Burner::Run() {
  {
    const absl::Status pinned = Pin();
    absl::MutexLock lock(&mutex_);
    pinned_ = pinned;
    if (!pinned.ok()) return;
  }
  std::minstd_rand random(static_cast<unsigned>(options_.core) + 1);
  std::uniform_real_distribution<double> dither(1 - kDither, 1 + kDither);
  CoreLoad load(host_, options_.core);
  const Nanoseconds start = Now(CLOCK_MONOTONIC);
  Nanoseconds period_start = start, window_start = start;
  Nanoseconds own = OwnCpuTime(), window_own = own;
  const Nanoseconds own_before = own;
  Nanoseconds debt{0};
  while (!stop_) {
    const Nanoseconds length(std::llround(static_cast<double>(kPeriod.count()) * dither(random)));
    const double goal =
        Goal(period_start - start, options_.fill ? load.Others(period_start, own) : 0);
    debt = std::min(debt + Nanoseconds(std::llround(static_cast<double>(length.count()) * goal)),
                    kMostDebt + length);
    const Nanoseconds before = own, period_end = period_start + length;
    Nanoseconds now = Now(CLOCK_MONOTONIC);
    while (!stop_ && now < period_end && own - before < debt) {
      BurnALittle();
      own = OwnCpuTime();
      now = Now(CLOCK_MONOTONIC);
    }
    debt -= own - before;
    {
      absl::MutexLock lock(&mutex_);
      figures_.cpu_seconds = static_cast<double>((own - own_before).count()) / 1e9;
      figures_.asked_share = goal;
      if (!figures_.first_slice && own > before) {
        figures_.first_slice = host_.clock().System();
        figures_.first_slice_length = now - std::max(period_start, start);
      }
      if (now - window_start >= kAchievedOver) {
        figures_.achieved_share = static_cast<double>((own - window_own).count()) /
                                  static_cast<double>((now - window_start).count());
        window_start = now;
        window_own = own;
      }
    }
    if (now < period_end && !stop_) SleepUntil(period_end);
    // After a pause (a stop, a throttled cgroup) time begins anew instead of being caught up with.
    now = Now(CLOCK_MONOTONIC);
    period_start = now - period_end > kMostDebt ? now : period_end;
    own = OwnCpuTime();
  }
}

}  // namespace firedrill::agent
