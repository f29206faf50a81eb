// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>

#include <string>
#include <utility>

#include "agent/host/descriptor.h"

namespace firedrill::testing {

/// A process that makes sockets on request and hands a copy of them over, so that a test can use
/// sockets that are another's. It is in the namespaces of the thread that made it. Not thread-safe.
class Actor {
 public:
  /// Throws std::runtime_error, as all that follows.
  Actor();
  ~Actor();  ///< Kills it.
  Actor(Actor&& other) noexcept;
  Actor& operator=(Actor&&) = delete;

  int pid() const { return pid_; }
  /// A socket made by the process, which holds it too.
  agent::Descriptor Socket(int family, int type) const;
  /// As /proc/PID/comm shows it from now on.
  void TakeName(const std::string& name) const;
  /// A child of the process, forked now.
  Actor Fork() const;
  /// Ends it and waits until it is gone.
  void Kill();

 private:
  Actor(int pid, agent::Descriptor channel) : pid_(pid), channel_(std::move(channel)) {}
  /// The answer's number and descriptor.
  std::pair<int, agent::Descriptor> Ask(const std::string& request) const;

  int pid_ = -1;
  agent::Descriptor channel_;
};

}  // namespace firedrill::testing
