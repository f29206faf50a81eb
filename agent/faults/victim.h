// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <utility>

#include "agent/host/processes.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

class Host;

/// A process that has been sent a signal, and what has become of it. Not thread-safe.
struct Victim {
  explicit Victim(ProcessHandle held) : handle(std::move(held)) {}

  ProcessHandle handle;
  SteadyTime sent_at;
  bool watch_delivery =
      false;  ///< It handles the signal: that it was taken is all there is to see.
  bool delivered = false;
  bool ended = false;
  bool killed = false;                ///< Grace is over, SIGKILL was sent.
  std::optional<SteadyTime> exit_at;  ///< The kernel's instant of its end.
};

/// Whether `pid` takes `signal` in its own way rather than by its end, as far as can be told.
bool OutlivesSignal(const Host& host, int pid, int signal);
/// Whether `signal`, sent to `pid`, is yet to be taken by it.
bool IsPending(const Host& host, int pid, int signal);

/// How long this thread has waited for a processor so far: how late it may have noticed something.
Nanoseconds RunDelay(const Host& host);

}  // namespace firedrill::agent
