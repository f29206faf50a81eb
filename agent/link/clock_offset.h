// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <optional>

#include "proto/support/clock.h"

namespace firedrill::agent {

/// How far the controller's clock is ahead of this host's, from exchanges as NTP's (RFC 5905, 8):
/// the one with the shortest round trip of late counts. Not thread-safe.
class ClockOffset {
 public:
  struct Estimate {
    Nanoseconds offset{0};  ///< Controller's clock - own clock.
    Nanoseconds uncertainty{
        0};  ///< ±: half of the round trip, and what clocks may have drifted since.
  };

  /// Own clock when asking (t1) and when answered (t4), the controller's when asked (t2) and when
  /// it answered (t3). An exchange whose times cannot be is left out.
  void Add(SystemTime t1, SystemTime t2, SystemTime t3, SystemTime t4);
  /// Absent before the first exchange. `now` is own clock.
  std::optional<Estimate> Best(SystemTime now) const;
  /// The other end is another machine now, or a clock was stepped.
  void Reset() { exchanges_.clear(); }

 private:
  struct Exchange {
    SystemTime at;
    Estimate estimate;
  };
  std::deque<Exchange> exchanges_;
};

}  // namespace firedrill::agent
