// SPDX-License-Identifier: Apache-2.0
#include "agent/link/backoff.h"

#include <algorithm>

namespace firedrill::agent {

Nanoseconds Backoff::Next() {
  std::uniform_int_distribution<std::int64_t> wait(ceiling_.count() / 2, ceiling_.count());
  ceiling_ = std::min(2 * ceiling_, kMost);
  return Nanoseconds(wait(random_));
}

}  // namespace firedrill::agent
