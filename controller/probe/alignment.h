// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <optional>

#include "proto/support/clock.h"

namespace firedrill::controller {

/// How another clock stands to ours.
struct ClockAlignment {
  Nanoseconds offset{0};  ///< Ours minus theirs.
  Nanoseconds uncertainty{0};
};

/// Aligns a server's clock with ours from exchanges of which the server told one instant, truncated
/// to milliseconds, between our sending and our receiving. The bound is half of the round trip; the
/// exchange with the shortest one of the last minute counts, widened by 200 ppm of its age. An
/// offset that was given stays as long as it is within that bound (which then grows by the
/// difference), so that the same sample keeps its instant from one answer to the next. Whether
/// it jumped is told against all of these, and against the last result however old. Not
/// thread-safe.
class ClockAligner {
 public:
  struct Result {
    ClockAlignment alignment;
    bool jumped = false;  ///< Against the earlier ones by more than both are uncertain.
  };
  /// `now` is when the answer was received, on a clock that does not step.
  Result Add(SystemTime sent, SystemTime received, std::int64_t server_ms, SteadyTime now);

 private:
  struct Exchange {
    SteadyTime at;
    ClockAlignment alignment;
  };
  static Nanoseconds Widened(const Exchange& exchange, SteadyTime now);

  std::deque<Exchange> exchanges_;
  std::optional<Exchange> given_;  // the last result
};

}  // namespace firedrill::controller
