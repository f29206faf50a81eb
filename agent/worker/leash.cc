// SPDX-License-Identifier: Apache-2.0
#include "agent/worker/leash.h"

#include <cerrno>
#include <csignal>

namespace firedrill::agent {

Leash::~Leash() {
  if (armed_) timer_delete(timer_);
}

absl::Status Leash::Renew(Nanoseconds after) {
  if (!armed_) {
    sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGKILL;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0) {
      return absl::ErrnoToStatus(errno, "create the timer that is a worker's leash");
    }
    armed_ = true;
  }
  itimerspec when{};
  when.it_value.tv_sec = after.count() / 1'000'000'000;
  when.it_value.tv_nsec = after.count() % 1'000'000'000;
  if (timer_settime(timer_, 0, &when, nullptr) != 0) {
    return absl::ErrnoToStatus(errno, "arm the timer that is a worker's leash");
  }
  return absl::OkStatus();
}

}  // namespace firedrill::agent
