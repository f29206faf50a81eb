// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/pid_holder.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/time/time.h"
#include "agent/faults/marks.h"
#include "agent/host/host.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;

constexpr Nanoseconds kLookEvery = milliseconds(100);
constexpr Nanoseconds kNap = milliseconds(10);
// Between two looks at what is free, so that what others take meanwhile is seen.
constexpr std::uint64_t kAtOnce = 256;
constexpr int kMostRefusals = 5;

}  // namespace

PidHolder::PidHolder(const Host& host, PidOptions options)
    : host_(host), options_(std::move(options)), thread_([this] { Run(); }) {}

PidHolder::~PidHolder() { Stop(); }

void PidHolder::Rest(Nanoseconds duration) {
  rest_until_ns_ = (host_.clock().Steady() + duration).time_since_epoch().count();
}

void PidHolder::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

PidHolder::Figures PidHolder::figures() const {
  absl::MutexLock lock(&mutex_);
  return figures_;
}

absl::Status PidHolder::AwaitHeld(Nanoseconds within) {
  absl::MutexLock lock(&mutex_);
  const auto settled = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return settled_; };
  mutex_.AwaitWithTimeout(absl::Condition(&settled), absl::FromChrono(within));
  return figures_.broken;
}

void PidHolder::Run() {
  MarkThread(options_.thread_name);
  // The agent raises itself so as to outlive the load; the load itself is as any other program.
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), 0);
  SteadyTime last_look = host_.clock().Steady();
  absl::Status broken = absl::OkStatus();
  bool settled = false;
  int refusals = 0;  // in a row
  std::uint64_t surplus_before = 0;
  while (!stop_) {
    const auto free = options_.free();
    if (!free.ok()) {
      broken = free.status();
      break;
    }
    const std::uint64_t surplus = *free - std::min(*free, options_.leave);
    const bool resting = host_.clock().Steady().time_since_epoch().count() < rest_until_ns_;
    // Once all was held, only what nobody has wanted from one look to the next.
    const std::uint64_t wanted =
        resting ? 0 : std::min(settled ? std::min(surplus, surplus_before) : surplus, kAtOnce);
    const bool granted = sleepers_.Add(wanted);
    // Others may have been faster, which the next look shows.
    refusals = granted ? 0 : refusals + 1;
    if (refusals == kMostRefusals) {
      broken = absl::ResourceExhaustedError(fmt::format(
          "the kernel starts no further thread, though {} more should be possible", surplus));
      break;
    }
    settled |= surplus <= kAtOnce && granted;
    surplus_before = surplus - wanted;
    const SteadyTime now = host_.clock().Steady();
    {
      absl::MutexLock lock(&mutex_);
      figures_.held = sleepers_.size();
      figures_.free = *free - wanted;
      settled_ = settled;
      if (settled && !figures_.first) {
        figures_.first_within = (now - last_look) / 2;
        figures_.first = host_.clock().System() - figures_.first_within;
      }
    }
    last_look = now;
    if (!settled) continue;
    for (Nanoseconds slept{0}; slept < kLookEvery && !stop_; slept += kNap) {
      std::this_thread::sleep_for(kNap);
    }
  }
  sleepers_.End();
  absl::MutexLock lock(&mutex_);
  figures_.held = 0;
  figures_.broken = broken;
  settled_ = true;
}

}  // namespace firedrill::agent
