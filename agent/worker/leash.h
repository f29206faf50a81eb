// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ctime>

#include "absl/status/status.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

/// How long a link of the chain inside a host lives without hearing from the one before it.
inline constexpr Nanoseconds kHostLease = std::chrono::seconds(2);

/// The kernel's own leash on this process: unless it is renewed, the kernel kills the process, even
/// one that hangs or was stopped (SIGSTOP) together with its agent. Not thread-safe.
class Leash {
 public:
  Leash() = default;
  Leash(const Leash&) = delete;
  Leash& operator=(const Leash&) = delete;
  ~Leash();

  /// SIGKILL comes `after` from now unless this is called again.
  absl::Status Renew(Nanoseconds after);

 private:
  timer_t timer_{};
  bool armed_ = false;
};

}  // namespace firedrill::agent
