// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/terminal/keys.h"

#include <poll.h>
#include <unistd.h>

namespace firedrill::cli {

Keys::Keys(int fd) : fd_(fd) {
  // A background job that changed its terminal would be stopped.
  if (tcgetattr(fd_, &before_) != 0 || tcgetpgrp(fd_) != getpgrp()) return;
  termios raw = before_;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  active_ = tcsetattr(fd_, TCSANOW, &raw) == 0;
}

Keys::~Keys() {
  if (active_) tcsetattr(fd_, TCSANOW, &before_);
}

char Keys::Get() {
  pollfd ready{descriptor(), POLLIN, 0};
  char key = 0;
  if (!active_ || poll(&ready, 1, 0) != 1 || (ready.revents & POLLIN) == 0) return 0;
  return read(fd_, &key, 1) == 1 ? key : 0;
}

}  // namespace firedrill::cli
