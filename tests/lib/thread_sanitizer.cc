// SPDX-License-Identifier: Apache-2.0
// Part of every program of a build with the thread sanitizer, and of no other. The sanitizer does
// not see into libraries that were built without it: it takes data that one of their locks guards
// for unguarded. So the locks of abseil, which gRPC uses too, are replaced here by some that it
// sees: a program's own functions come before those of the libraries it loads.
#include <absl/synchronization/mutex.h>
#include <absl/synchronization/notification.h>
#include <absl/time/clock.h>
#include <absl/time/time.h>
#include <sanitizer/tsan_interface.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>

#if ABSL_LTS_RELEASE_VERSION != 20220623
#error "written for the classes of abseil 20220623"
#endif

namespace {

// What stands behind a Mutex: whoever holds it is counted here.
struct State {
  std::mutex guard;
  std::condition_variable changed;
  int readers = 0;
  bool writer = false;
  int waiting = 0;

  bool Free(bool shared) const { return !writer && (shared || readers == 0); }
};

// What stands behind a CondVar.
struct Signals {
  std::mutex guard;
  std::condition_variable changed;
  std::uint64_t sent = 0;
};

// The object that a word of abseil's class points to; made at its first use, for such a class may
// be initialised to zero before anything runs.
template <typename Object>
Object& Behind(std::atomic<intptr_t>& word) {
  intptr_t known = word.load(std::memory_order_acquire);
  if (known == 0) {
    auto* made = new Object;
    if (word.compare_exchange_strong(known, reinterpret_cast<intptr_t>(made))) return *made;
    delete made;
  }
  return *reinterpret_cast<Object*>(known);
}

// False if `deadline` came first.
template <typename Predicate>
bool WaitUntil(std::condition_variable& changed, std::unique_lock<std::mutex>& lock,
               absl::Time deadline, Predicate predicate) {
  if (deadline == absl::InfiniteFuture()) {
    changed.wait(lock, predicate);
    return true;
  }
  return changed.wait_until(lock, absl::ToChronoTime(deadline), predicate);
}

// Takes the lock once it is free and `condition`, if any, holds; or once it is free after
// `deadline`. Whether the condition holds.
bool Take(State& state, bool shared, const absl::Condition* condition, absl::Time deadline) {
  std::unique_lock<std::mutex> lock(state.guard);
  ++state.waiting;
  bool holds = true;
  const auto ready = [&] {
    if (!state.Free(shared)) return false;
    holds = condition == nullptr || condition->Eval();
    return holds;
  };
  if (!WaitUntil(state.changed, lock, deadline, ready)) {
    state.changed.wait(lock, [&] { return state.Free(shared); });
    holds = condition == nullptr || condition->Eval();
  }
  --state.waiting;
  if (shared) {
    ++state.readers;
  } else {
    state.writer = true;
  }
  return holds;
}

void Give(State& state) {
  const std::lock_guard<std::mutex> lock(state.guard);
  if (state.writer) {
    state.writer = false;
  } else {
    --state.readers;
  }
  if (state.waiting > 0) state.changed.notify_all();
}

// The sanitizer is told of a Mutex as of one lock. What lies between a Pre and a Post it ignores,
// conditions included: they are evaluated with the lock held.
unsigned Kind(bool shared) { return shared ? __tsan_mutex_read_lock : 0; }

bool TellAndTake(void* mutex, State& state, bool shared, const absl::Condition* condition,
                 absl::Time deadline) {
  __tsan_mutex_pre_lock(mutex, Kind(shared));
  const bool holds = Take(state, shared, condition, deadline);
  __tsan_mutex_post_lock(mutex, Kind(shared), 0);
  return holds;
}

void TellAndGive(void* mutex, State& state, bool shared) {
  __tsan_mutex_pre_unlock(mutex, Kind(shared));
  Give(state);
  __tsan_mutex_post_unlock(mutex, Kind(shared));
}

bool TellAndTry(void* mutex, State& state, bool shared) {
  const unsigned kind = Kind(shared) | __tsan_mutex_try_lock;
  __tsan_mutex_pre_lock(mutex, kind);
  bool taken = false;
  {
    const std::lock_guard<std::mutex> lock(state.guard);
    taken = state.Free(shared);
    if (taken && shared) ++state.readers;
    if (taken && !shared) state.writer = true;
  }
  __tsan_mutex_post_lock(mutex, taken ? kind : kind | __tsan_mutex_try_lock_failed, 0);
  return taken;
}

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

Mutex::~Mutex() {
  __tsan_mutex_destroy(this, __tsan_mutex_not_static);
  delete reinterpret_cast<State*>(mu_.load());
}

void Mutex::Lock() {
  TellAndTake(this, Behind<State>(mu_), false, nullptr, absl::InfiniteFuture());
}
void Mutex::Unlock() { TellAndGive(this, Behind<State>(mu_), false); }
bool Mutex::TryLock() { return TellAndTry(this, Behind<State>(mu_), false); }
void Mutex::ReaderLock() {
  TellAndTake(this, Behind<State>(mu_), true, nullptr, absl::InfiniteFuture());
}
void Mutex::ReaderUnlock() { TellAndGive(this, Behind<State>(mu_), true); }
bool Mutex::ReaderTryLock() { return TellAndTry(this, Behind<State>(mu_), true); }

void Mutex::LockWhen(const Condition& cond) {
  TellAndTake(this, Behind<State>(mu_), false, &cond, absl::InfiniteFuture());
}
bool Mutex::LockWhenWithTimeout(const Condition& cond, Duration timeout) {
  return LockWhenWithDeadline(cond, absl::Now() + timeout);
}
bool Mutex::LockWhenWithDeadline(const Condition& cond, Time deadline) {
  return TellAndTake(this, Behind<State>(mu_), false, &cond, deadline);
}
void Mutex::ReaderLockWhen(const Condition& cond) {
  TellAndTake(this, Behind<State>(mu_), true, &cond, absl::InfiniteFuture());
}
bool Mutex::ReaderLockWhenWithTimeout(const Condition& cond, Duration timeout) {
  return ReaderLockWhenWithDeadline(cond, absl::Now() + timeout);
}
bool Mutex::ReaderLockWhenWithDeadline(const Condition& cond, Time deadline) {
  return TellAndTake(this, Behind<State>(mu_), true, &cond, deadline);
}

void Mutex::Await(const Condition& cond) { AwaitWithDeadline(cond, absl::InfiniteFuture()); }
bool Mutex::AwaitWithTimeout(const Condition& cond, Duration timeout) {
  return AwaitWithDeadline(cond, absl::Now() + timeout);
}
bool Mutex::AwaitWithDeadline(const Condition& cond, Time deadline) {
  State& state = Behind<State>(mu_);
  bool shared = false;
  {
    const std::lock_guard<std::mutex> lock(state.guard);
    shared = !state.writer;
  }
  TellAndGive(this, state, shared);
  return TellAndTake(this, state, shared, &cond, deadline);
}

void Mutex::AssertHeld() const {}
void Mutex::AssertReaderHeld() const {}
void Mutex::AssertNotHeld() const {}
void Mutex::ForgetDeadlockInfo() {}
void Mutex::EnableDebugLog(const char*) {}
void Mutex::EnableInvariantDebugging(void (*)(void*), void*) {}

CondVar::~CondVar() { delete reinterpret_cast<Signals*>(cv_.load()); }
void CondVar::Wait(Mutex* mutex) { WaitWithDeadline(mutex, absl::InfiniteFuture()); }
bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  return WaitWithDeadline(mutex, absl::Now() + timeout);
}
bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  auto& signals = Behind<Signals>(cv_);
  std::unique_lock<std::mutex> lock(signals.guard);
  const std::uint64_t before = signals.sent;
  mutex->Unlock();
  const bool sent =
      WaitUntil(signals.changed, lock, deadline, [&] { return signals.sent != before; });
  lock.unlock();
  mutex->Lock();
  return !sent;
}
// Wakes all: a waiter has to look again anyway.
void CondVar::Signal() { SignalAll(); }
void CondVar::SignalAll() {
  auto& signals = Behind<Signals>(cv_);
  const std::lock_guard<std::mutex> lock(signals.guard);
  ++signals.sent;
  signals.changed.notify_all();
}
void CondVar::EnableDebugLog(const char*) {}

Notification::~Notification() { const MutexLock lock(&mutex_); }
void Notification::Notify() {
  const MutexLock lock(&mutex_);
  notified_yet_.store(true, std::memory_order_release);
}
void Notification::WaitForNotification() const {
  WaitForNotificationWithDeadline(absl::InfiniteFuture());
}
bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  return WaitForNotificationWithDeadline(absl::Now() + timeout);
}
bool Notification::WaitForNotificationWithDeadline(Time deadline) const {
  const bool notified =
      mutex_.LockWhenWithDeadline(Condition(&HasBeenNotifiedInternal, &notified_yet_), deadline);
  mutex_.Unlock();
  return notified;
}

ABSL_NAMESPACE_END
}  // namespace absl
