// SPDX-License-Identifier: Apache-2.0
#include "proto/support/clock.h"

namespace firedrill {
namespace {

class RealClock : public Clock {
 public:
  SteadyTime Steady() const override { return std::chrono::steady_clock::now(); }
  SystemTime System() const override { return std::chrono::system_clock::now(); }
};

}  // namespace

const Clock& Clock::Real() {
  static const RealClock clock;
  return clock;
}

}  // namespace firedrill
