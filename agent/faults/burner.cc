// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/burner.h"

#include <fmt/format.h>
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
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/faults/core_load.h"
#include "agent/faults/marks.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"

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

// How long the thread was ready to run and did not, as the kernel's scheduler counts; 0 from a
// kernel that does not.
Nanoseconds Waited(const Host& host, pid_t thread) {
  const auto text = Host::Read(fmt::format("{}/self/task/{}/schedstat", host.proc(), thread), 128);
  if (!text.ok()) return Nanoseconds(0);
  // Nanoseconds on a processor, nanoseconds waiting for one, slices.
  const std::vector<absl::string_view> fields = absl::StrSplit(*text, ' ');
  std::int64_t waited = 0;
  if (fields.size() < 2 || !absl::SimpleAtoi(fields[1], &waited)) return Nanoseconds(0);
  return Nanoseconds(waited);
}

pid_t OwnThread() { return static_cast<pid_t>(syscall(SYS_gettid)); }

double InSeconds(Nanoseconds time) { return static_cast<double>(time.count()) / 1e9; }

Nanoseconds ShareOf(double share, Nanoseconds time) {
  return Nanoseconds(std::llround(share * static_cast<double>(time.count())));
}

using CpuSet = std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)>;
CpuSet MakeSet(int cores) {
  return CpuSet(CPU_ALLOC(static_cast<std::size_t>(cores)), [](cpu_set_t* s) { CPU_FREE(s); });
}

}  // namespace

absl::Status EnterClass(BurnerClass scheduling) {
  const bool realtime = scheduling == BurnerClass::kRealtime;
  const int policy = realtime ? SCHED_RR : SCHED_OTHER;
  sched_param parameters{};
  parameters.sched_priority = realtime ? sched_get_priority_min(SCHED_RR) : 0;
  if (sched_setscheduler(0, policy, &parameters) != 0) {
    return absl::ErrnoToStatus(errno, "raise the priority of a burner to SCHED_RR");
  }
  // The agent raises itself so as to outlive the load; the load itself is as any other program.
  const int nice = scheduling == BurnerClass::kNice ? -20 : 0;
  const auto thread = static_cast<id_t>(OwnThread());
  if (setpriority(PRIO_PROCESS, thread, nice) != 0) {
    return absl::ErrnoToStatus(
        errno, fmt::format("set the priority of a burner to nice {} (needs CAP_SYS_NICE)", nice));
  }
  errno = 0;
  if (sched_getscheduler(0) == policy && getpriority(PRIO_PROCESS, thread) == nice && errno == 0) {
    return absl::OkStatus();
  }
  return absl::InternalError("the kernel does not show the priority that a burner was given");
}

Burner::Burner(const Host& host, BurnerOptions options)
    : host_(host), options_(std::move(options)), thread_([this] { Run(); }) {}

Burner::~Burner() { Stop(); }

void Burner::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

absl::Status Burner::Confirm(Nanoseconds within) {
  absl::MutexLock lock(&mutex_);
  const auto known = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return ready_.has_value(); };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&known), absl::FromChrono(within))) {
    return absl::DeadlineExceededError(
        fmt::format("the burner of core {} was not scheduled", options_.core));
  }
  return *ready_;
}

Burner::Figures Burner::figures() const {
  absl::MutexLock lock(&mutex_);
  return figures_;
}

absl::Status Burner::SetUp() const {
  MarkThread(options_.thread_name);
  if (options_.cgroup) RETURN_IF_ERROR(JoinCgroup(host_, *options_.cgroup, Joining::kThread));
  RETURN_IF_ERROR(EnterClass(options_.scheduling));
  return Pin();
}

absl::Status Burner::Pin() const {
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
  return std::clamp(level - others - options_.above, 0.0, options_.most);
}

void Burner::Run() {
  {
    const absl::Status ready = SetUp();
    absl::MutexLock lock(&mutex_);
    ready_ = ready;
    if (!ready.ok()) return;
  }
  std::minstd_rand random(static_cast<unsigned>(options_.core) + 1);
  std::uniform_real_distribution<double> dither(1 - kDither, 1 + kDither);
  CoreLoad load(host_, options_.core);
  const pid_t thread = OwnThread();
  const Nanoseconds start = Now(CLOCK_MONOTONIC), own_before = OwnCpuTime();
  Nanoseconds period_start = start, window_start = start;
  Nanoseconds own = own_before, window_own = own;
  Nanoseconds debt{0}, starved{0};
  Nanoseconds asked{0}, periods{0};  // in this window
  bool first = true;
  while (!stop_) {
    const Nanoseconds length = ShareOf(dither(random), kPeriod);
    const double others =
        options_.fill ? load.Others(period_start, Nanoseconds(options_.core_burnt->load())) : 0;
    const double goal = Goal(period_start - start, others);
    asked += ShareOf(goal, length);
    periods += length;
    debt += ShareOf(goal, length);
    if (debt > kMostDebt + length) {
      starved += debt - (kMostDebt + length);
      debt = kMostDebt + length;
    }
    const Nanoseconds before = own, period_end = period_start + length;
    Nanoseconds now = Now(CLOCK_MONOTONIC);
    while (!stop_ && now < period_end && own - before < debt) {
      const Nanoseconds slice_start = now;
      BurnALittle();
      own = OwnCpuTime();
      now = Now(CLOCK_MONOTONIC);
      if (!first) continue;
      // The kernel has counted time between these two looks at the clock.
      first = false;
      const SystemTime at = host_.clock().System();
      absl::MutexLock lock(&mutex_);
      figures_.first_slice = at - (now - slice_start) / 2;
      figures_.first_slice_length = (now - slice_start) / 2;
    }
    debt -= own - before;
    options_.core_burnt->fetch_add((own - before).count());
    const bool window_over = now - window_start >= kAchievedOver;
    const Nanoseconds waited = window_over ? Waited(host_, thread) : Nanoseconds(0);
    {
      absl::MutexLock lock(&mutex_);
      figures_.cpu_seconds = InSeconds(own - own_before);
      figures_.starved_seconds = InSeconds(starved);
      if (window_over) {
        figures_.asked_share = InSeconds(asked) / InSeconds(periods);
        figures_.achieved_share =
            InSeconds(own - window_own) / InSeconds(std::max(period_end, now) - window_start);
        figures_.waited_seconds = InSeconds(waited);
      } else if (window_start == start) {
        figures_.asked_share = goal;
      }
    }
    if (window_over) {
      window_start = std::max(period_end, now);
      window_own = own;
      asked = periods = Nanoseconds(0);
    }
    if (now < period_end && !stop_) SleepUntil(period_end);
    // After a pause (a stop, a throttled cgroup) time begins anew instead of being caught up with.
    now = Now(CLOCK_MONOTONIC);
    if (now - period_end > kMostDebt) {
      starved += ShareOf(goal, now - period_end);
      asked += ShareOf(goal, now - period_end);
      periods += now - period_end;
      period_start = now;
    } else {
      period_start = period_end;
    }
  }
}

}  // namespace firedrill::agent
