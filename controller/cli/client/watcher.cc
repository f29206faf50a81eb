// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/client/watcher.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "absl/time/time.h"

namespace firedrill::cli {
namespace {

constexpr std::chrono::milliseconds kFirstBackoff(250);
constexpr std::chrono::seconds kLongestBackoff(5);

// Worth asking again: the controller restarts (which cancels its calls), or the network is away.
bool MayPass(const absl::Status& status) {
  return status.ok() || absl::IsUnavailable(status) || absl::IsCancelled(status) ||
         absl::IsDeadlineExceeded(status) || absl::IsInternal(status) || absl::IsUnknown(status);
}

}  // namespace

RunWatcher::RunWatcher(Client* client, std::string run_id, Nanoseconds patience, const Clock& clock)
    : client_(client),
      run_id_(std::move(run_id)),
      patience_(patience),
      clock_(clock),
      event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      thread_([this] { Follow(); }) {}

RunWatcher::~RunWatcher() {
  std::shared_ptr<Client::Watch> watch;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    watch = watch_;
  }
  if (watch) watch->Cancel();
  thread_.join();
  if (event_ >= 0) close(event_);
}

RunWatcher::State RunWatcher::Get() {
  std::uint64_t count = 0;
  // Nothing to read is no error: the state is handed over all the same.
  [[maybe_unused]] const ssize_t size = read(event_, &count, sizeof(count));
  absl::MutexLock lock(&mutex_);
  return state_;
}

void RunWatcher::Notify() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t size = write(event_, &one, sizeof(one));
}

bool RunWatcher::Pause(Nanoseconds duration) {
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(&stopping_), absl::FromChrono(duration));
  return !stopping_;
}

void RunWatcher::Take(v1::Run run, bool first) {
  absl::MutexLock lock(&mutex_);
  // A stream sends each sample once; a new stream begins again with all of them.
  if (!first && state_.run.has_value()) {
    for (v1::Series& series : *run.mutable_series()) {
      for (const v1::Series& known : state_.run->series()) {
        if (known.name() != series.name()) continue;
        v1::Series all = known;
        all.MergeFrom(series);
        series.Swap(&all);
        break;
      }
    }
    for (const v1::Series& known : state_.run->series()) {
      const bool there = std::any_of(run.series().begin(), run.series().end(),
                                     [&](const v1::Series& s) { return s.name() == known.name(); });
      if (!there) *run.add_series() = known;
    }
  }
  state_.over = run.state() == v1::RUN_STATE_FINISHED;
  state_.run = std::move(run);
  state_.connected = true;
  state_.error = absl::OkStatus();
}

void RunWatcher::Follow() {
  Nanoseconds backoff = kFirstBackoff;
  SteadyTime heard = clock_.Steady();
  while (true) {
    std::shared_ptr<Client::Watch> watch = client_->WatchRun(run_id_);
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return;
      watch_ = watch;
    }
    bool first = true;
    const absl::Status status = watch->Read([&](v1::Run run) {
      Take(std::move(run), first);
      first = false;
      backoff = kFirstBackoff;
      heard = clock_.Steady();
      Notify();
    });
    bool over = false;
    {
      absl::MutexLock lock(&mutex_);
      watch_.reset();
      if (stopping_ || state_.over) return;
      state_.connected = false;
      state_.error =
          status.ok() ? absl::UnavailableError("the controller closed the stream") : status;
      over = state_.over = !MayPass(status) || clock_.Steady() - heard > patience_;
    }
    Notify();
    if (over || !Pause(backoff)) return;
    backoff = std::min<Nanoseconds>(backoff * 2, kLongestBackoff);
  }
}

}  // namespace firedrill::cli
