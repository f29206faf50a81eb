// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/memory_holder.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <utility>

#include "absl/time/time.h"
#include "agent/faults/marks.h"
#include "agent/host/host.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kPage = 4096;  // the smallest; larger ones are whole numbers of it
constexpr std::size_t kLargestChunk = 16 << 20;
constexpr std::size_t kSmallestChunk = 256 << 10;
constexpr std::uint64_t kChunksInAll = 64;  // of a small amount
constexpr Nanoseconds kLookWhileRising = milliseconds(10);
constexpr Nanoseconds kLookAtRest = milliseconds(100);
constexpr std::size_t kMostEvents = 100;

std::size_t ChunkOf(std::uint64_t bytes) {
  const std::uint64_t part = bytes / kChunksInAll / kPage * kPage;
  return std::clamp<std::uint64_t>(part, kSmallestChunk, kLargestChunk);
}

}  // namespace

MemoryHolder::MemoryHolder(const Host& host, MemoryOptions options)
    : host_(host),
      options_(std::move(options)),
      chunk_(ChunkOf(options_.bytes)),
      next_word_(std::random_device()() | 1U),
      thread_([this] { Run(); }) {}

MemoryHolder::~MemoryHolder() { Stop(); }

void MemoryHolder::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

MemoryHolder::Figures MemoryHolder::figures() const {
  absl::MutexLock lock(&mutex_);
  return figures_;
}

absl::Status MemoryHolder::AwaitTaken(Nanoseconds within) {
  absl::MutexLock lock(&mutex_);
  const auto settled = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return settled_; };
  mutex_.AwaitWithTimeout(absl::Condition(&settled), absl::FromChrono(within));
  if (!figures_.broken.ok()) return figures_.broken;
  if (figures_.taken > 0 || options_.ramp > Nanoseconds(0)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("no memory could be taken: {} bytes are available, and the floor is {}",
                  figures_.available, options_.floor));
}

std::uint64_t MemoryHolder::Goal(Nanoseconds elapsed) const {
  if (elapsed >= options_.ramp) return options_.bytes;
  const double share =
      static_cast<double>(elapsed.count()) / static_cast<double>(options_.ramp.count());
  return static_cast<std::uint64_t>(share * static_cast<double>(options_.bytes));
}

absl::Status MemoryHolder::Take(std::size_t size) {
  const SteadyTime before = host_.clock().Steady();
  void* const start =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return absl::ErrnoToStatus(errno, "map memory");
  auto* const words = static_cast<std::uint64_t*>(start);
  for (std::size_t i = 0; i < size / sizeof *words; ++i) {
    // xorshift64: full period, so no two pages are alike.
    next_word_ ^= next_word_ << 13;
    next_word_ ^= next_word_ >> 7;
    next_word_ ^= next_word_ << 17;
    words[i] = next_word_;
    if (i != 0 || !chunks_.empty()) continue;
    const Nanoseconds took = host_.clock().Steady() - before;
    const SystemTime now = host_.clock().System();
    absl::MutexLock lock(&mutex_);
    if (figures_.first) continue;
    figures_.first = now - took / 2;
    figures_.first_took = took;
  }
  chunks_.push_back({start, size});
  taken_ += size;
  return absl::OkStatus();
}

void MemoryHolder::Free(const Chunk& chunk) {
  munmap(chunk.start, chunk.size);
  taken_ -= chunk.size;
}

void MemoryHolder::GiveBack(std::uint64_t missing, std::uint64_t available) {
  std::uint64_t given = 0;
  while (given < missing && !chunks_.empty()) {
    given += chunks_.back().size;
    Free(chunks_.back());
    chunks_.pop_back();
  }
  if (given == 0) return;
  absl::MutexLock lock(&mutex_);
  figures_.given_back += given;
  if (figures_.events.size() >= kMostEvents) return;
  ImpactEvent event;
  event.name = "gave_back";
  event.at = host_.clock().System();
  event.uncertainty = kLookAtRest;
  event.detail = fmt::format("{:.1f} MiB, as only {:.1f} MiB were available; the floor is {:.1f}",
                             static_cast<double>(given) / (1 << 20),
                             static_cast<double>(available) / (1 << 20),
                             static_cast<double>(options_.floor) / (1 << 20));
  figures_.events.push_back(std::move(event));
}

void MemoryHolder::Run() {
  MarkThread(options_.thread_name);
  // The agent raises itself so as to outlive the load; the load itself is as any other program.
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), 0);
  const SteadyTime start = host_.clock().Steady();
  absl::Status broken = absl::OkStatus();
  bool gave_back = false;
  while (!stop_) {
    const auto available = options_.available();
    if (!available.ok()) {
      broken = available.status();
      break;
    }
    const std::uint64_t goal = Goal(host_.clock().Steady() - start);
    const std::uint64_t room = *available - std::min(*available, options_.floor);
    bool took = false;
    if (*available < options_.floor) {
      GiveBack(options_.floor - *available, *available);
      gave_back = true;
    } else if (taken_ < goal) {
      // What was given back is only taken again when there is plenty: not back and forth.
      const std::size_t wanted = std::min<std::uint64_t>(chunk_, goal - taken_) / kPage * kPage;
      const std::uint64_t needed = gave_back ? 4 * chunk_ : wanted;
      if (wanted > 0 && room >= needed) {
        broken = Take(wanted);
        if (!broken.ok()) break;
        took = true;
      }
    }
    {
      absl::MutexLock lock(&mutex_);
      figures_.taken = taken_;
      figures_.available = *available;
      settled_ |= !took;
    }
    const bool rising = host_.clock().Steady() - start < options_.ramp;
    if (took && !rising) continue;
    for (Nanoseconds slept{0}; slept < (rising ? kLookWhileRising : kLookAtRest) && !stop_;
         slept += kLookWhileRising) {
      std::this_thread::sleep_for(kLookWhileRising);
    }
  }
  for (const Chunk& chunk : chunks_) Free(chunk);
  chunks_.clear();
  absl::MutexLock lock(&mutex_);
  figures_.taken = 0;
  figures_.broken = broken;
  settled_ = true;
}

}  // namespace firedrill::agent
