// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/delay_line.h"

#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "bpf/traffic.h"

namespace firedrill::agent {
namespace {

constexpr std::size_t kVirtioHeader = 12;
constexpr int kFramesAtOnce = 64;     // Read between two looks at what is due.
constexpr int kFramesQueued = 65536;  // More than the device's queue has.
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr timespec kIdle{.tv_sec = 1, .tv_nsec = 0};  // After it, unused memory is given back.

std::int64_t Now(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

// What a loopback frame of ours can say of its time; a foreign frame's addresses say another.
constexpr std::int64_t kOldest = 600 * kSecond;
constexpr std::int64_t kMostAhead = std::int64_t{FD_MAX_RULES} * FD_MOST_DELAY_NS;

// The clock that the BPF program stamps with (bpf_ktime_get_ns).
std::int64_t MonotonicNs() { return Now(CLOCK_MONOTONIC); }

// None for a loopback frame, which has no room for one.
std::optional<fd_held> Stamp(const char* frame, std::size_t size) {
  static constexpr char kZero[12] = {};
  const char* stamp = frame + kVirtioHeader;
  fd_held held{};
  if (size < kVirtioHeader + sizeof(held) || std::memcmp(stamp, kZero, sizeof(kZero)) != 0)
    return std::nullopt;
  std::memcpy(&held, stamp, sizeof(held));
  return held;
}

}  // namespace

// Waking late is an error in every packet's delay. Each is a luxury: without it it works too.
DelayLine::Punctuality::Punctuality() {
  prctl(PR_SET_TIMERSLACK, 1);
  cpu_set_t processors;
  if (sched_getaffinity(0, sizeof(processors), &processors) == 0 && CPU_COUNT(&processors) == 1) {
    too_busy_ = 0.4;  // The other line's thread shares it.
    calm_ = 0.25;
  }
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), -20);
  BecomeRealTime(true);
}

void DelayLine::Punctuality::BecomeRealTime(bool real_time) {
  const sched_param priority{.sched_priority = real_time ? 1 : 0};
  sched_setscheduler(0, (real_time ? SCHED_FIFO : SCHED_OTHER) | SCHED_RESET_ON_FORK, &priority);
  real_time_ = real_time;
}

void DelayLine::Punctuality::Look(std::int64_t now) {
  if (now - looked_ns_ < kEvery) return;
  const std::int64_t used = Now(CLOCK_THREAD_CPUTIME_ID);
  const double busy = static_cast<double>(used - used_ns_) / static_cast<double>(now - looked_ns_);
  if (looked_ns_ != 0 && busy > too_busy_ && real_time_) BecomeRealTime(false);
  if (looked_ns_ != 0 && busy < calm_ && !real_time_) BecomeRealTime(true);
  looked_ns_ = now;
  used_ns_ = used;
}

absl::StatusOr<std::unique_ptr<DelayLine>> DelayLine::Start(int tap, LineKind kind,
                                                            const DelayLineLimits& limits) {
  Descriptor wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return absl::ErrnoToStatus(errno, "make an eventfd for the delay line");
  std::unique_ptr<DelayLine> line(new DelayLine(tap, kind, limits, std::move(wake)));
  line->thread_ = std::thread([raw = line.get()] { raw->Run(); });
  return line;
}

DelayLine::DelayLine(int tap, LineKind kind, const DelayLineLimits& limits, Descriptor wake)
    : tap_(tap), kind_(kind), limits_(limits), wake_(std::move(wake)) {}

DelayLine::~DelayLine() {
  stop_ = true;
  eventfd_write(wake_.get(), 1);
  if (thread_.joinable()) thread_.join();
}

void DelayLine::Release(std::uint64_t rules, bool loopback) {
  release_rules_ |= rules;
  if (loopback) release_loopback_ = true;
  eventfd_write(wake_.get(), 1);
}

DelayLineStats DelayLine::Stats() const {
  return {.delivered = delivered_,
          .overflowed = overflowed_,
          .stale = stale_,
          .refused = refused_,
          .held = held_,
          .worst_lateness = Nanoseconds(worst_lateness_ns_.load())};
}

DelayLineStats& DelayLineStats::operator+=(const DelayLineStats& other) {
  delivered += other.delivered;
  overflowed += other.overflowed;
  stale += other.stale;
  refused += other.refused;
  held += other.held;
  worst_lateness = std::max(worst_lateness, other.worst_lateness);
  return *this;
}

bool DelayLine::Later(const Frame& left, const Frame& right) {
  if (left.deliver_at_ns != right.deliver_at_ns) return left.deliver_at_ns > right.deliver_at_ns;
  return left.sequence > right.sequence;
}

void DelayLine::Run() {
  Punctuality punctuality;
  while (!stop_) {
    Wait();
    Deliver(false);
    punctuality.Look(MonotonicNs());
    const std::uint64_t rules = release_rules_.exchange(0);
    const bool loopback = release_loopback_.exchange(false);
    const bool asked = rules != 0 || loopback;
    // What is to be released may still stand in the device's queue.
    ReadFrames(asked ? kFramesQueued : kFramesAtOnce);
    if (asked) GiveBack(rules, loopback);
    Deliver(false);
  }
  ReadFrames(kFramesQueued);
  Deliver(true);
}

void DelayLine::Wait() {
  timespec timeout = kIdle;
  if (!heap_.empty()) {
    const std::int64_t wait =
        std::max<std::int64_t>(0, heap_.front().deliver_at_ns - MonotonicNs());
    timeout = {.tv_sec = wait / kSecond, .tv_nsec = wait % kSecond};
  }
  pollfd polled[] = {{gone_ ? -1 : tap_, POLLIN, 0}, {wake_.get(), POLLIN, 0}};
  const bool rests = heap_.empty() && rested_;
  if (ppoll(polled, 2, rests ? nullptr : &timeout, nullptr) == 0 && heap_.empty()) {
    store_.Shrink();
    heap_.shrink_to_fit();
    rested_ = true;
  }
  // Deleted by somebody: never readable again, and an error for ever.
  if ((polled[0].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) gone_ = true;
  eventfd_t ignored = 0;
  if (polled[1].revents != 0) eventfd_read(wake_.get(), &ignored);
}

void DelayLine::ReadFrames(int most) {
  for (int count = 0; stop_ || count < most; ++count) {
    const ssize_t size = store_.Read(tap_);
    if (size <= 0) return;
    if (static_cast<std::size_t>(size) < kVirtioHeader + FD_ETHERNET_BYTES) continue;
    if (kind_ == LineKind::kWire) {
      PassOn(static_cast<std::size_t>(size));
    } else {
      Take(static_cast<std::size_t>(size));
    }
    if (IsDue()) Deliver(false);
  }
}

void DelayLine::PassOn(std::size_t size) {
  const std::optional<fd_held> held = Stamp(store_.begin(), size);
  if (held && IsStale(static_cast<std::int64_t>(held->deliver_at_ns), MonotonicNs())) return;
  std::uint64_t rules = 0;
  std::memcpy(&rules, store_.begin() + kVirtioHeader, sizeof(rules));
  if (!held && (rules & ~expected_) != 0) return;
  Count(store_.WriteBack(tap_, size));
}

bool DelayLine::IsDue() const {
  return !heap_.empty() && heap_.front().deliver_at_ns <= MonotonicNs();
}

void DelayLine::Take(std::size_t size) {
  Frame frame{
      .deliver_at_ns = 0, .sequence = sequence_++, .rules = 0, .loopback = false, .stored = {}};
  if (const std::optional<fd_held> held = Stamp(store_.begin(), size)) {
    frame.deliver_at_ns = static_cast<std::int64_t>(held->deliver_at_ns);
    frame.rules = held->rules;
  } else {
    frame.loopback = true;
    std::memcpy(&frame.deliver_at_ns, store_.begin() + kVirtioHeader, sizeof(frame.deliver_at_ns));
    const std::int64_t now = MonotonicNs();
    if (frame.deliver_at_ns < now - kOldest || frame.deliver_at_ns > now + kMostAhead) return;
  }
  if (heap_.size() >= limits_.packets || held_bytes_ + FrameStore::CostOf(size) > limits_.bytes) {
    ++overflowed_;
    return;
  }
  rested_ = false;
  frame.stored = store_.Take(size);
  held_bytes_ += FrameStore::CostOf(size);
  heap_.push_back(std::move(frame));
  std::push_heap(heap_.begin(), heap_.end(), Later);
  held_ = heap_.size();
}

void DelayLine::Deliver(bool everything) {
  std::int64_t now = MonotonicNs();
  for (int count = 0; !heap_.empty(); ++count) {
    if (!everything && (heap_.front().deliver_at_ns > now || count >= kFramesAtOnce)) break;
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    Frame frame = std::move(heap_.back());
    heap_.pop_back();
    held_bytes_ -= FrameStore::CostOf(frame.stored.size);
    now = MonotonicNs();
    if (!IsStale(frame.deliver_at_ns, now)) Count(FrameStore::Write(tap_, frame.stored));
    store_.Recycle(std::move(frame.stored));
  }
  held_ = heap_.size();
}

bool DelayLine::IsStale(std::int64_t deliver_at_ns, std::int64_t now) {
  const std::int64_t lateness = now - deliver_at_ns;
  if (lateness > limits_.stale.count()) {
    ++stale_;
    return true;
  }
  if (lateness > worst_lateness_ns_) worst_lateness_ns_ = lateness;
  return false;
}

void DelayLine::Count(ssize_t written) { ++(written < 0 ? refused_ : delivered_); }

void DelayLine::GiveBack(std::uint64_t rules, bool loopback) {
  const std::int64_t now = MonotonicNs();
  for (Frame& frame : heap_) {
    const bool asked = frame.loopback ? loopback : (frame.rules & rules) != 0;
    if (asked) frame.deliver_at_ns = std::min(frame.deliver_at_ns, now);
  }
  std::make_heap(heap_.begin(), heap_.end(), Later);
}

}  // namespace firedrill::agent
