// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/victim.h"

#include <fmt/format.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "agent/host/host.h"

namespace firedrill::agent {
namespace {

// A bit of one of the signal masks in /proc/PID/status.
bool InMask(const Host& host, int pid, const char* mask, int signal) {
  const auto status = Host::Read(fmt::format("{}/{}/status", host.proc(), pid), 16 << 10);
  if (!status.ok()) return false;
  const std::string label = fmt::format("{}:\t", mask);
  const std::size_t at = status->find(label);
  std::uint64_t bits = 0;
  return at != std::string::npos &&
         absl::SimpleHexAtoi(absl::string_view(*status).substr(at + label.size(), 16), &bits) &&
         (bits >> (signal - 1) & 1) != 0;
}

}  // namespace

bool OutlivesSignal(const Host& host, int pid, int signal) {
  const bool usually_ends =
      signal == SIGKILL || signal == SIGTERM || signal == SIGINT || signal == SIGQUIT;
  if (usually_ends) return false;
  return signal == SIGSTOP || signal == SIGCONT || InMask(host, pid, "SigCgt", signal);
}

bool IsPending(const Host& host, int pid, int signal) {
  return InMask(host, pid, "ShdPnd", signal) || InMask(host, pid, "SigPnd", signal);
}

Nanoseconds RunDelay(const Host& host) {
  const auto text = Host::Read(host.proc() + "/thread-self/schedstat", 128);
  long long ran = 0, waited = 0;
  if (!text.ok() || std::sscanf(text->c_str(), "%lld %lld", &ran, &waited) != 2) {
    return Nanoseconds(0);
  }
  return Nanoseconds(waited);
}

}  // namespace firedrill::agent
