// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

/// Where a Host looks; tests build these trees in a temporary folder.
struct HostRoots {
  std::string proc = "/proc";
  std::string sys = "/sys";
};

/// A kernel's version, as far as features depend on it.
struct KernelVersion {
  int major = 0;
  int minor = 0;
  friend auto operator<=>(const KernelVersion&, const KernelVersion&) = default;
};

/// The machine that the agent runs on: what it is and what time it is there. Reads only.
/// Thread-safe.
class Host {
 public:
  explicit Host(HostRoots roots = {}, const Clock& clock = Clock::Real());

  const std::string& proc() const { return roots_.proc; }
  const std::string& sys() const { return roots_.sys; }
  const Clock& clock() const { return clock_; }

  /// New with each boot; empty if the kernel does not say.
  std::string BootId() const;
  /// As uname -r: 6.1.0-18-amd64.
  std::string KernelRelease() const;
  /// {0, 0} if the release cannot be read.
  KernelVersion Kernel() const;
  /// Numeric addresses of the devices that are up, without loopback and link-local ones.
  std::vector<std::string> Addresses() const;
  /// Numbers of the cores that this process may run on, ascending.
  std::vector<int> AllowedCores() const;

  /// A file's first `limit` bytes, for /proc and /sys. NOT_FOUND, PERMISSION_DENIED and the like
  /// name the file.
  static absl::StatusOr<std::string> Read(const std::string& path, std::size_t limit = 1 << 20);

 private:
  const HostRoots roots_;
  const Clock& clock_;
};

}  // namespace firedrill::agent
