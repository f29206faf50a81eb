// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "agent/host/descriptor.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

/// Waits for changes of one file, by its name: also when another file takes it. Not thread-safe.
class FileWatch {
 public:
  explicit FileWatch(const std::string& path);

  /// Returns when the file may have changed, when `wake` is readable, or after `at_most`.
  /// True: the kernel has told of a change just now.
  bool Wait(int wake, Nanoseconds at_most);

 private:
  const std::string name_;
  Descriptor changes_;  // inotify; without it changes are found by looking
};

}  // namespace firedrill::agent
