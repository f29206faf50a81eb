// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/disk_fill.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/faults/marks.h"
#include "agent/files/space.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kFloorUnlessTold = 64ull << 20;
constexpr std::uint64_t kChunk = 128ull << 20;  // of fallocate; between chunks others are looked at
constexpr std::uint64_t kWriteChunk = 4ull << 20;  // where there is no fallocate
constexpr std::uint64_t kBlock = 4096;             // file systems' usual unit
constexpr Nanoseconds kLookEvery = milliseconds(100);
constexpr absl::Duration kToTakeHold = absl::Milliseconds(1200);  // within the worker's leash

std::string Mark(const InjectionRequest& request) { return MarkOf("fdfill", request.id); }

// Holds so much of a file system as it may, from a thread of its own.
class DiskFillFault : public ActiveFault {
 public:
  DiskFillFault(const Clock& clock, Descriptor file, std::uint64_t goal, std::uint64_t floor,
                const std::string& mark)
      : clock_(clock), goal_(goal), floor_(floor), file_(std::move(file)) {
    thread_ = std::thread([this, mark] {
      MarkThread(mark);
      Run();
    });
  }
  ~DiskFillFault() override { DiskFillFault::Revert().IgnoreError(); }

  // Waits until space is held, for at most `within`; the error that keeps it from being so.
  absl::Status Confirm(absl::Duration within) {
    absl::MutexLock lock(&mutex_);
    const auto decided = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return first_.has_value() || !error_.ok();
    };
    mutex_.AwaitWithTimeout(absl::Condition(&decided), within);
    if (held_ > 0) return absl::OkStatus();
    return error_.ok() ? absl::DeadlineExceededError("the file system gave no space in time")
                       : error_;
  }

  absl::StatusOr<Impact> Observe() const override {
    absl::MutexLock lock(&mutex_);
    if (!error_.ok()) return error_;
    Impact impact;
    impact.first = first_;
    impact.uncertainty = first_uncertainty_;
    impact.counters = {{"bytes_asked", static_cast<double>(goal_)},
                       {"bytes_held", static_cast<double>(held_)},
                       {"free_bytes", static_cast<double>(available_)}};
    return impact;
  }

  absl::Status Revert() override {
    {
      absl::MutexLock lock(&mutex_);
      stop_ = true;
    }
    if (thread_.joinable()) thread_.join();
    file_.Reset();
    return absl::OkStatus();
  }

 private:
  void Run() {
    for (;;) {
      const SystemTime before = clock_.System();
      absl::StatusOr<bool> more = Step();
      const absl::StatusOr<std::uint64_t> held = HeldBy(file_.get());
      const absl::StatusOr<Space> space = SpaceOf(file_.get());
      absl::MutexLock lock(&mutex_);
      for (const absl::Status& status : {more.status(), held.status(), space.status()}) {
        error_.Update(status);
      }
      if (!error_.ok()) return;
      held_ = *held;
      available_ = space->available;
      if (!*more && !first_ && held_ > 0) {
        first_ = clock_.System();
        first_uncertainty_ = *first_ - before;
      }
      if (stop_) return;
      const auto stopped = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stop_; };
      if (!*more) {
        mutex_.AwaitWithTimeout(absl::Condition(&stopped), absl::FromChrono(kLookEvery));
      }
      if (stop_) return;
    }
  }

  // Takes or gives back a chunk. True: there is more to do at once.
  absl::StatusOr<bool> Step() {
    ASSIGN_OR_RETURN(const Space space, SpaceOf(file_.get()));
    ASSIGN_OR_RETURN(const std::uint64_t held, HeldBy(file_.get()));
    const std::uint64_t may = MayHold(space, held, goal_, floor_);
    if (may < held) {
      const std::uint64_t less = (held - may + kBlock - 1) / kBlock * kBlock;
      return Resize(size_ - std::min(size_, less));
    }
    if (may - held < kBlock) return false;
    return Take(may - held);
  }

  absl::StatusOr<bool> Resize(std::uint64_t size) {
    if (size == size_) return false;
    if (ftruncate(file_.get(), static_cast<off_t>(size)) != 0) {
      return absl::ErrnoToStatus(errno, "give space back");
    }
    size_ = size;
    return false;
  }

  absl::StatusOr<bool> Take(std::uint64_t bytes) {
    if (writes_) return Write(std::min(bytes, kWriteChunk));
    const std::uint64_t chunk = std::min(bytes, kChunk) / kBlock * kBlock;
    int error = 0;
    if (fallocate(file_.get(), 0, static_cast<off_t>(size_), static_cast<off_t>(chunk)) != 0) {
      error = errno;
    }
    if (error == EINTR) return true;
    if (error == EOPNOTSUPP || error == ENOSYS) {
      writes_ = true;
      return true;
    }
    if (error != 0) return Refused(error);
    size_ += chunk;
    ASSIGN_OR_RETURN(const std::uint64_t held, HeldBy(file_.get()));
    if (held >= size_ / 2) return true;
    // Some file systems say yes and keep nothing back (ZFS): only written bytes take room there.
    writes_ = true;
    RETURN_IF_ERROR(Resize(0).status());
    return true;
  }

  absl::StatusOr<bool> Write(std::uint64_t bytes) {
    if (noise_.empty()) {  // which neither compression nor deduplication makes smaller
      std::mt19937_64 random(std::random_device{}());
      noise_.resize(kWriteChunk / sizeof(noise_[0]));
      for (auto& word : noise_) word = random();
    }
    noise_[0] = noise_[0] * 6364136223846793005u + 1;
    const ssize_t wrote = pwrite(file_.get(), noise_.data(), bytes, static_cast<off_t>(size_));
    if (wrote < 0) return errno == EINTR ? absl::StatusOr<bool>(true) : Refused(errno);
    size_ += static_cast<std::uint64_t>(wrote);
    // Neither the page cache nor the count of free blocks is left to guess.
    if (fdatasync(file_.get()) != 0) return Refused(errno);
    posix_fadvise(file_.get(), 0, 0, POSIX_FADV_DONTNEED);
    return true;
  }

  // No more room, whatever statvfs says (a quota, the file system's own needs): stay as it is.
  absl::StatusOr<bool> Refused(int error) {
    const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
    if (full && size_ > 0) return false;
    return absl::ErrnoToStatus(error, "take space");
  }

  const Clock& clock_;
  const std::uint64_t goal_;
  const std::uint64_t floor_;
  Descriptor file_;  // The thread's, until it is joined.
  std::uint64_t size_ = 0;
  bool writes_ = false;
  std::vector<std::uint64_t> noise_;
  mutable absl::Mutex mutex_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t held_ ABSL_GUARDED_BY(mutex_) = 0;
  std::uint64_t available_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<SystemTime> first_ ABSL_GUARDED_BY(mutex_);
  Nanoseconds first_uncertainty_ ABSL_GUARDED_BY(mutex_){0};
  std::thread thread_;
};

}  // namespace

absl::Status DiskFillSupported(const Host&) { return absl::OkStatus(); }

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyDiskFill(const InjectionRequest& request,
                                                           WorkerContext& context) {
  const v1::DiskFill& fill = request.fault.disk_fill();
  ASSIGN_OR_RETURN(Descriptor file, OpenUnlinked(fill.path(), "." + Mark(request)));
  ASSIGN_OR_RETURN(const Space space, SpaceOf(file.get()));
  std::optional<double> percent;
  if (fill.percent() > 0) percent = fill.percent();
  const std::uint64_t floor = fill.has_floor() ? fill.floor() : kFloorUnlessTold;
  ASSIGN_OR_RETURN(const std::uint64_t goal, BytesToTake(space, percent, fill.bytes(), floor));
  auto fault = std::make_unique<DiskFillFault>(context.host.clock(), std::move(file), goal, floor,
                                               Mark(request));
  RETURN_IF_ERROR(fault->Confirm(kToTakeHold));
  return fault;
}

absl::Status VerifyDiskFillGone(const InjectionRequest& request, const Host& host) {
  RETURN_IF_ERROR(RemoveMomentaryName(request.fault.disk_fill().path(), "." + Mark(request)));
  return VerifyNoMark(host, Mark(request));
}

}  // namespace firedrill::agent
