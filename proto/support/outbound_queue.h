// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace firedrill {

/// What waits to be written to one gRPC stream. gRPC aborts the process at a second StartWrite
/// before OnWriteDone: every stream of ours writes through one of these and never directly.
///
///     OutboundQueue<ConnectRequest> out_{1024, [this](const auto* m) { StartWrite(m); }};
///     void OnWriteDone(bool ok) override { out_.OnWriteDone(ok); }
///     …  if (!out_.Push(message)) …   // the peer is too slow, or the stream is over
///
/// Thread-safe. `start` is called without the lock held, never twice at once, and never after
/// Close() has returned.
template <typename Message>
class OutboundQueue {
 public:
  using Start = std::function<void(const Message*)>;

  /// Holds at most `limit` messages besides the one that is being written.
  OutboundQueue(std::size_t limit, Start start) : limit_(limit), start_(std::move(start)) {}
  OutboundQueue(const OutboundQueue&) = delete;
  OutboundQueue& operator=(const OutboundQueue&) = delete;

  /// False if the queue is full or closed; the message is then not written.
  [[nodiscard]] bool Push(Message message) ABSL_LOCKS_EXCLUDED(mutex_) {
    {
      absl::MutexLock lock(&mutex_);
      if (closed_ || drained_ || waiting_.size() >= limit_) return false;
      if (writing_) {
        waiting_.push_back(std::move(message));
        return true;
      }
      writing_ = true;
      ++starting_;
      current_ = std::move(message);
    }
    StartCurrent();
    return true;
  }

  /// To be called from the reactor's OnWriteDone.
  void OnWriteDone(bool ok) ABSL_LOCKS_EXCLUDED(mutex_) {
    std::function<void()> drained;
    bool start = false;
    {
      absl::MutexLock lock(&mutex_);
      writing_ = false;
      if (!ok) closed_ = true;
      if (closed_) waiting_.clear();
      if (waiting_.empty()) {
        drained.swap(drained_);
        if (drained) closed_ = true;
      } else {
        start = writing_ = true;
        ++starting_;
        current_ = std::move(waiting_.front());
        waiting_.pop_front();
      }
    }
    if (start) StartCurrent();
    if (drained) drained();
  }

  /// Takes nothing more, and calls `then` (for example the stream's Finish) once what was pushed
  /// has been written or the stream has broken: now, if nothing waits. After Close() never.
  void Drain(std::function<void()> then) ABSL_LOCKS_EXCLUDED(mutex_) {
    {
      absl::MutexLock lock(&mutex_);
      if (over_) return;
      if (writing_) {
        drained_ = std::move(then);
        return;
      }
      closed_ = true;
      ++starting_;
    }
    then();
    absl::MutexLock lock(&mutex_);
    --starting_;
  }

  /// Drops what waits and takes nothing more. When it returns, neither a write nor a drain outside
  /// OnWriteDone will be started any more, so that the stream may be finished. Not to be called
  /// from `start` or from a drain's `then`.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    closed_ = over_ = true;
    waiting_.clear();
    mutex_.Await(absl::Condition(
        +[](int* starting) { return *starting == 0; }, &starting_));
  }

  /// Messages that wait, besides the one that is being written.
  std::size_t size() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return waiting_.size();
  }

 private:
  // current_ belongs to whoever set writing_ until OnWriteDone.
  void StartCurrent() ABSL_LOCKS_EXCLUDED(mutex_) {
    start_(&current_);
    absl::MutexLock lock(&mutex_);
    --starting_;
  }

  const std::size_t limit_;
  const Start start_;
  mutable absl::Mutex mutex_;
  std::deque<Message> waiting_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> drained_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool over_ ABSL_GUARDED_BY(mutex_) = false;  // Close was called
  int starting_ ABSL_GUARDED_BY(mutex_) = 0;   // calls of start_, and of a drain's, under way
  Message current_;
};

}  // namespace firedrill
