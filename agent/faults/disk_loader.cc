// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/disk_loader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <utility>

#include "absl/time/time.h"
#include "agent/faults/marks.h"
#include "agent/files/space.h"
#include "proto/support/time.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kAligned = 4096;  // what O_DIRECT needs on every usual disk
constexpr std::uint64_t kLeastFile = 1 << 20;
constexpr int kThreads = 4;  // a direction: so many operations are under way at most
constexpr Nanoseconds kMostBehind = milliseconds(100);
constexpr Nanoseconds kLookEvery = milliseconds(200);
constexpr Nanoseconds kRateOver = seconds(2);
constexpr Nanoseconds kAfterError = milliseconds(10);
constexpr int kErrorsUntilGone = 100;
constexpr std::uint64_t kLeastPrepareRate = 32ull << 20;

// About a hundred operations a second, so that slow rates are even and fast ones are cheap.
std::uint64_t BlockFor(std::uint64_t rate) {
  std::uint64_t block = 16 << 10;
  while (block < (1 << 20) && block * 100 < rate) block *= 2;
  return block;
}

// Memory that O_DIRECT accepts.
std::unique_ptr<char, void (*)(char*)> AlignedBlock(std::uint64_t size, unsigned seed) {
  std::unique_ptr<char, void (*)(char*)> block(
      static_cast<char*>(std::aligned_alloc(kAligned, size)), [](char* p) { std::free(p); });
  std::mt19937_64 random(seed);
  for (std::uint64_t at = 0; at < size; at += 8) {
    const std::uint64_t word = random();
    std::memcpy(block.get() + at, &word, sizeof word);
  }
  return block;
}

}  // namespace

absl::StatusOr<Descriptor> OpenLoadFile(const std::string& folder,
                                        const std::string& momentary_name, bool& direct) {
  direct = true;
  auto file = OpenUnlinked(folder, momentary_name, O_DIRECT | O_DSYNC);
  if (file.ok() || !absl::IsInvalidArgument(file.status())) return file;
  direct = false;
  return OpenUnlinked(folder, momentary_name, O_DSYNC);
}

// What all threads of a direction share.
struct DiskLoader::Stream {
  Stream(bool writes, std::uint64_t bytes_a_second) : write(writes), rate(bytes_a_second) {}

  // When the next operation of `bytes` is due: operations are as far apart as the rate says, and
  // what was missed is forgotten.
  SteadyTime Claim(std::uint64_t bytes, SteadyTime now) {
    absl::MutexLock lock(&mutex);
    next = next == SteadyTime() ? now : std::max(next, now - kMostBehind);
    const SteadyTime due = next;
    next += Nanoseconds(
        static_cast<std::int64_t>(1e9 * static_cast<double>(bytes) / static_cast<double>(rate)));
    return due;
  }
  // The rate since about kRateOver ago.
  void Measure(SteadyTime now) {
    absl::MutexLock lock(&mutex);
    marks.emplace_back(now, done.load());
    while (marks.size() > 2 && now - marks[1].first >= kRateOver) marks.erase(marks.begin());
    const double elapsed = Seconds(now - marks.front().first);
    if (elapsed > 0)
      achieved = static_cast<double>(marks.back().second - marks.front().second) / elapsed;
  }

  const bool write;
  const std::uint64_t rate;
  std::atomic<std::uint64_t> done{0};
  mutable absl::Mutex mutex;
  SteadyTime next ABSL_GUARDED_BY(mutex);
  std::vector<std::pair<SteadyTime, std::uint64_t>> marks ABSL_GUARDED_BY(mutex);
  double achieved ABSL_GUARDED_BY(mutex) = 0;
};

DiskLoader::DiskLoader(const Clock& clock, DiskLoaderOptions options)
    : clock_(clock),
      options_(std::move(options)),
      block_(std::min(BlockFor(std::max(options_.read_rate, options_.write_rate)),
                      options_.size / kAligned * kAligned)),
      size_(options_.size) {
  if (options_.read_rate > 0) {
    read_ = std::make_unique<Stream>(false, options_.read_rate);
    threads_.emplace_back([this] { Prepare(); });
  }
  if (options_.write_rate > 0) write_ = std::make_unique<Stream>(true, options_.write_rate);
  for (Stream* stream : {read_.get(), write_.get()}) {
    for (int i = 0; stream != nullptr && i < kThreads; ++i) {
      threads_.emplace_back(
          [this, stream, i] { Load(*stream, static_cast<unsigned>(2 * i + stream->write)); });
    }
  }
  threads_.emplace_back([this] { Watch(); });
}

DiskLoader::~DiskLoader() { Stop(); }

absl::Status DiskLoader::Confirm(Nanoseconds within) const {
  const auto settled = [this] {
    if (last_errno_ != 0) return true;
    return (!read_ || read_->done > 0) && (!write_ || write_->done > 0);
  };
  const SteadyTime end = clock_.Steady() + within;
  while (!settled() && clock_.Steady() < end) absl::SleepFor(absl::Milliseconds(2));
  if (last_errno_ != 0) return absl::ErrnoToStatus(last_errno_, "read or write the load's file");
  if (settled()) return absl::OkStatus();
  return absl::DeadlineExceededError(
      fmt::format("the disk did not finish one read or write of {} KiB in time", block_ >> 10));
}

DiskLoader::Figures DiskLoader::figures() const {
  Figures figures;
  for (const Stream* stream : {read_.get(), write_.get()}) {
    if (stream == nullptr) continue;
    absl::MutexLock lock(&stream->mutex);
    (stream->write ? figures.written_bytes : figures.read_bytes) = stream->done;
    (stream->write ? figures.write_rate : figures.read_rate) = stream->achieved;
  }
  figures.prepared_bytes = prepared_;
  figures.errors = errors_;
  figures.direct = options_.direct;
  if (errors_in_a_row_ >= kErrorsUntilGone) {
    figures.error = absl::ErrnoToStatus(last_errno_, "the disk answers with errors only");
  }
  absl::MutexLock lock(&mutex_);
  figures.first = first_;
  figures.first_length = first_length_;
  return figures;
}

void DiskLoader::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  options_.file.Reset();
}

bool DiskLoader::stopped() const {
  absl::MutexLock lock(&mutex_);
  return stop_;
}

// False: stopped meanwhile.
bool DiskLoader::Sleep(Nanoseconds duration) {
  absl::MutexLock lock(&mutex_);
  return !mutex_.AwaitWithTimeout(absl::Condition(&stop_), absl::FromChrono(duration));
}

bool DiskLoader::Transfer(bool write, std::uint64_t offset, char* block) {
  const int fd = options_.file.get();
  const auto at = static_cast<off_t>(offset);
  // Written blocks never are the same: neither is anything saved by comparing them.
  if (write) std::memcpy(block, &offset, sizeof offset);
  if (!write && !options_.direct)
    posix_fadvise(fd, at, static_cast<off_t>(block_), POSIX_FADV_DONTNEED);
  const ssize_t moved = write ? pwrite(fd, block, block_, at) : pread(fd, block, block_, at);
  if (moved == static_cast<ssize_t>(block_)) {
    errors_in_a_row_ = 0;
    return true;
  }
  // Short: the file has shrunk meanwhile, for the floor's sake.
  if (moved >= 0 || errno == EINTR) return false;
  last_errno_ = errno;
  ++errors_;
  ++errors_in_a_row_;
  return false;
}

// Lets the file exist from its beginning on: blocks never written are not read from the disk.
void DiskLoader::Prepare() {
  MarkThread(options_.thread_mark);
  const auto block = AlignedBlock(block_, 99);
  const double rate =
      static_cast<double>(std::max({options_.read_rate, options_.write_rate, kLeastPrepareRate}));
  const Nanoseconds apart(static_cast<std::int64_t>(1e9 * static_cast<double>(block_) / rate));
  for (std::uint64_t at = 0; at + block_ <= size_; at += block_) {
    const SteadyTime began = clock_.Steady();
    while (!Transfer(true, at, block.get())) {
      if (!Sleep(kAfterError)) return;
    }
    prepared_ += block_;
    written_until_ = at + block_;
    if (!Sleep(std::max(Nanoseconds(0), apart - (clock_.Steady() - began)))) return;
  }
}

void DiskLoader::Load(Stream& stream, unsigned seed) {
  MarkThread(options_.thread_mark);
  const auto block = AlignedBlock(block_, seed);
  std::mt19937_64 random(seed);
  while (!stopped()) {
    const std::uint64_t limit =
        stream.write ? size_.load() : std::min(size_.load(), written_until_.load());
    if (limit < block_) {
      if (!Sleep(milliseconds(1))) return;
      continue;
    }
    const SteadyTime due = stream.Claim(block_, clock_.Steady());
    if (const SteadyTime now = clock_.Steady(); due > now && !Sleep(due - now)) return;
    const std::uint64_t offset = random() % (limit / block_) * block_;
    const SystemTime began = clock_.System();
    if (!Transfer(stream.write, offset, block.get())) {
      if (!Sleep(kAfterError)) return;
      continue;
    }
    stream.done += block_;
    absl::MutexLock lock(&mutex_);
    if (!first_) {
      first_ = clock_.System();
      first_length_ = *first_ - began;
    }
  }
}

// Counts, and keeps away from the floor.
void DiskLoader::Watch() {
  MarkThread(options_.thread_mark);
  do {
    for (Stream* stream : {read_.get(), write_.get()}) {
      if (stream != nullptr) stream->Measure(clock_.Steady());
    }
    const auto space = SpaceOf(options_.file.get());
    const auto held = HeldBy(options_.file.get());
    if (!space.ok() || !held.ok()) continue;
    const std::uint64_t may = MayHold(*space, *held, options_.size, kLoadFloor);
    if (may >= *held) continue;
    size_ = std::max(kLeastFile, may / kAligned * kAligned);
    // An operation under way may still grow it a little: it is looked at again soon.
    if (ftruncate(options_.file.get(), static_cast<off_t>(size_.load())) != 0) ++errors_;
  } while (Sleep(kLookEvery));
}

}  // namespace firedrill::agent
