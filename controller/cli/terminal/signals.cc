// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/terminal/signals.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace firedrill::cli {
namespace {

// What a handler can reach; lock-free, so that a handler may.
std::atomic<int> pipe_end{-1};

void Handle(int number) {
  const int before = errno;
  const char byte = static_cast<char>(number);
  [[maybe_unused]] const ssize_t written = write(pipe_end.load(), &byte, 1);
  errno = before;
}

}  // namespace

Signals::Signals(std::initializer_list<int> signals) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return;
  read_end_ = ends[0];
  write_end_ = ends[1];
  pipe_end = write_end_;
  for (const int number : signals) {
    struct sigaction before {};
    if (sigaction(number, nullptr, &before) != 0 || before.sa_handler == SIG_IGN) continue;
    struct sigaction handler {};
    handler.sa_handler = Handle;
    handler.sa_flags = SA_RESTART;
    if (sigaction(number, &handler, nullptr) == 0) before_.emplace_back(number, before);
  }
}

Signals::~Signals() {
  for (const auto& [number, before] : before_) sigaction(number, &before, nullptr);
  pipe_end = -1;
  if (read_end_ >= 0) close(read_end_);
  if (write_end_ >= 0) close(write_end_);
}

int Signals::Get() {
  char byte = 0;
  return read_end_ >= 0 && read(read_end_, &byte, 1) == 1 ? byte : 0;
}

}  // namespace firedrill::cli
