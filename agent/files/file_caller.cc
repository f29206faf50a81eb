// SPDX-License-Identifier: Apache-2.0
#include "agent/files/file_caller.h"

#include <fmt/format.h>
#include <sys/syscall.h>

#include <cstdio>

#include "agent/host/host.h"

namespace firedrill::agent {
namespace {

// Whether the thread's descriptor `fd` is `file`.
bool Is(int tid, unsigned long fd, const struct stat& file) {
  struct stat seen;
  return stat(fmt::format("/proc/{}/fd/{}", tid, fd).c_str(), &seen) == 0 &&
         seen.st_dev == file.st_dev && seen.st_ino == file.st_ino;
}

}  // namespace

bool IsWriting(int tid, const struct stat& file) {
  const auto text = Host::Read(fmt::format("/proc/{}/syscall", tid), 256);
  long number = -1;
  unsigned long arguments[3] = {};
  if (!text.ok() || std::sscanf(text->c_str(), "%ld %lx %lx %lx", &number, &arguments[0],
                                &arguments[1], &arguments[2]) < 1) {
    return false;
  }
  switch (number) {
    case SYS_write:
    case SYS_pwrite64:
    case SYS_writev:
    case SYS_pwritev:
    case SYS_pwritev2:
    case SYS_fallocate:
      return true;
    case SYS_sendfile:
      return Is(tid, arguments[0], file);
    case SYS_splice:
    case SYS_copy_file_range:
      return Is(tid, arguments[2], file);
    default:
      return false;
  }
}

}  // namespace firedrill::agent
