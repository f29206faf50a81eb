// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <functional>

namespace firedrill::test {

/// A process that does what it is told: it answers a number with a number. Killed when destroyed,
/// and after a minute whatever becomes of the test. Not thread-safe.
class Servant {
 public:
  /// `serve` is called in the process for each number; `begin` once before. Throws
  /// std::runtime_error.
  explicit Servant(
      const std::function<int(int)>& serve, const std::function<void()>& begin = [] {});
  ~Servant() { End(); }
  Servant(const Servant&) = delete;
  Servant& operator=(const Servant&) = delete;

  pid_t pid() const { return pid_; }
  /// -1 if it is gone.
  int Ask(int number) const;
  /// Kills it and waits until it is gone.
  void End();

 private:
  int ask_[2], answer_[2];
  pid_t pid_;
};

}  // namespace firedrill::test
