// SPDX-License-Identifier: Apache-2.0
#include "tests/host/lib/servant.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>

namespace firedrill::test {

Servant::Servant(const std::function<int(int)>& serve, const std::function<void()>& begin) {
  if (pipe(ask_) != 0 || pipe(answer_) != 0) throw std::runtime_error("pipe");
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("fork");
  if (pid_ > 0) return;
  alarm(60);
  begin();
  int number = 0;
  while (read(ask_[0], &number, sizeof number) == sizeof number) {
    const int answer = serve(number);
    if (write(answer_[1], &answer, sizeof answer) != sizeof answer) break;
  }
  _exit(0);
}

int Servant::Ask(int number) const {
  int answer = -1;
  if (write(ask_[1], &number, sizeof number) != sizeof number) return -1;
  return read(answer_[0], &answer, sizeof answer) == sizeof answer ? answer : -1;
}

void Servant::End() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  for (const int fd : {ask_[0], ask_[1], answer_[0], answer_[1]}) close(fd);
  pid_ = -1;
}

}  // namespace firedrill::test
