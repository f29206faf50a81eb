// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <termios.h>

namespace firedrill::cli {

/// Keys one by one, without a line end and without an echo, while it lives. Ctrl-C stays a signal.
class Keys {
 public:
  explicit Keys(int fd);
  ~Keys();
  Keys(const Keys&) = delete;
  Keys& operator=(const Keys&) = delete;

  /// One key that is there already; 0 for none.
  char Get();
  /// For poll; -1 if there is no terminal to read from.
  int descriptor() const { return active_ ? fd_ : -1; }

 private:
  const int fd_;
  bool active_ = false;
  termios before_{};
};

}  // namespace firedrill::cli
