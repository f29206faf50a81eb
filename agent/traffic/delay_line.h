// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/host/descriptor.h"
#include "agent/traffic/frame_store.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

/// What a line is for.
enum class LineKind {
  kDelay,  ///< Holds each frame until its time.
  kWire,   ///< Gives each back at once: only the way through its device matters.
};

struct DelayLineLimits {
  std::size_t packets = 200'000;                ///< Held at a time; super-packets count once.
  std::size_t bytes = 256u << 20;               ///< Held at a time.
  Nanoseconds stale = std::chrono::seconds(1);  ///< Later than this: dropped, not delivered.
};

/// What the line did so far. All are packets as they were handed over: super-packets count once.
struct DelayLineStats {
  std::uint64_t delivered = 0;
  std::uint64_t overflowed = 0;   ///< Dropped on arrival: the line was full.
  std::uint64_t stale = 0;        ///< Dropped: this process had been stopped or was too slow.
  std::uint64_t refused = 0;      ///< Dropped: the kernel did not take them back.
  std::uint64_t held = 0;         ///< Now.
  Nanoseconds worst_lateness{0};  ///< Of the delivered, against their deliver_at.

  DelayLineStats& operator+=(const DelayLineStats& other);
};

/// Reads frames from a TAP device, and writes each back when its time has come (struct fd_held), or
/// at once. A thread of its own. Destroying it gives back all that it holds at once. Thread-safe.
class DelayLine {
 public:
  /// `tap` is borrowed and must outlive it; non-blocking.
  static absl::StatusOr<std::unique_ptr<DelayLine>> Start(int tap, LineKind kind,
                                                          const DelayLineLimits& limits);
  ~DelayLine();

  /// Gives back at once what these rules (a bit each) hold; with `loopback` also every loopback
  /// frame: those do not say whose they are.
  void Release(std::uint64_t rules, bool loopback);
  /// A wire line drops loopback frames that are not of these rules: they are somebody else's. At
  /// first it takes all.
  void Expect(std::uint64_t rules) { expected_ = rules; }
  DelayLineStats Stats() const;

 private:
  struct Frame {
    std::int64_t deliver_at_ns;
    std::uint64_t sequence;
    std::uint64_t rules;
    bool loopback;
    StoredFrame stored;
  };
  /// Keeps its thread in front of all others, but for times in which it is so busy that the kernel
  /// would take the processor away from it for its being so (RT throttling: 50 ms of each second).
  class Punctuality {
   public:
    Punctuality();
    void Look(std::int64_t now);

   private:
    static constexpr std::int64_t kEvery = 50'000'000;
    void BecomeRealTime(bool real_time);
    std::int64_t looked_ns_ = 0, used_ns_ = 0;
    bool real_time_ = false;
    double too_busy_ = 0.85, calm_ = 0.6;  // shares of a processor
  };
  DelayLine(int tap, LineKind kind, const DelayLineLimits& limits, Descriptor wake);
  void Run();
  void Wait();
  void ReadFrames(int most);
  void Take(std::size_t size);
  void PassOn(std::size_t size);
  void Deliver(bool everything);
  bool IsDue() const;
  bool IsStale(std::int64_t deliver_at_ns, std::int64_t now);
  void Count(ssize_t written);
  void GiveBack(std::uint64_t rules, bool loopback);
  static bool Later(const Frame& left, const Frame& right);

  const int tap_;
  const LineKind kind_;
  const DelayLineLimits limits_;
  Descriptor wake_;
  std::vector<Frame> heap_;  // its thread's alone
  std::size_t held_bytes_ = 0;
  std::uint64_t sequence_ = 0;
  FrameStore store_;
  bool gone_ = false;   // the device is
  bool rested_ = true;  // nothing came since memory was given back

  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> release_rules_{0}, expected_{~std::uint64_t{0}};
  std::atomic<bool> release_loopback_{false};
  std::atomic<std::uint64_t> delivered_{0}, overflowed_{0}, stale_{0}, refused_{0}, held_{0};
  std::atomic<std::int64_t> worst_lateness_ns_{0};
  std::thread thread_;
};

}  // namespace firedrill::agent
