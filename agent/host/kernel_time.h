// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "proto/support/clock.h"

namespace firedrill::agent {

/// An instant that the kernel took, on the wall clock.
struct KernelInstant {
  SystemTime at;
  Nanoseconds uncertainty{0};  ///< ± of `at`.
};

/// `monotonic_ns` is of CLOCK_MONOTONIC, as bpf_ktime_get_ns gives it. Thread-safe.
inline KernelInstant FromKernel(std::uint64_t monotonic_ns, const Clock& clock) {
  const SteadyTime before = clock.Steady();
  const SystemTime wall = clock.System();
  const SteadyTime after = clock.Steady();
  const Nanoseconds between = after - before;
  const Nanoseconds ago = (before + between / 2).time_since_epoch() - Nanoseconds(monotonic_ns);
  return {wall - ago, between / 2 + Nanoseconds(1)};
}

}  // namespace firedrill::agent
