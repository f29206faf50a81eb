// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

class Host;

/// A core's time as /proc/stat counts it since boot.
struct CoreTimes {
  Nanoseconds busy{0};  ///< All but idle and iowait.
  Nanoseconds idle{0};
};

/// NOT_FOUND if /proc/stat shows no such core (it is offline).
absl::StatusOr<CoreTimes> ReadCoreTimes(const Host& host, int core);

/// What others use of a core while one thread of ours runs on it. Not thread-safe.
class CoreLoad {
 public:
  CoreLoad(const Host& host, int core) : host_(host), core_(core) {}

  /// The share (0 to 1) of the core that others used of late. `now` is steady time, `own` the CPU
  /// time of our thread. The kernel counts in ticks, so it is measured over windows of 200 ms and
  /// smoothed; 0 until the first window is over.
  double Others(Nanoseconds now, Nanoseconds own);

 private:
  struct Look {
    Nanoseconds at, own, busy;
  };
  const Host& host_;
  const int core_;
  std::optional<Look> last_;
  std::optional<double> others_;
};

}  // namespace firedrill::agent
