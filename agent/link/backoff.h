// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <random>

#include "proto/support/clock.h"

namespace firedrill::agent {

/// How long to wait before the next attempt: doubling from 250 ms to 8 s, each time at random
/// between half of that and all of it, so that a fleet does not come back all at once. Not
/// thread-safe.
class Backoff {
 public:
  explicit Backoff(unsigned seed = std::random_device{}()) : random_(seed) {}
  Nanoseconds Next();
  void Reset() { ceiling_ = kFirst; }

 private:
  static constexpr Nanoseconds kFirst = std::chrono::milliseconds(250);
  static constexpr Nanoseconds kMost = std::chrono::seconds(8);
  Nanoseconds ceiling_ = kFirst;
  std::minstd_rand random_;
};

}  // namespace firedrill::agent
