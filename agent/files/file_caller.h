// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/stat.h>

namespace firedrill::agent {

/// Whether thread `tid`, which waits inside a system call on `file`, is writing to it: fanotify's
/// pre-content events do not tell reads from writes, /proc/TID/syscall does. False for io_uring,
/// whose operations are no system calls, and for page faults.
bool IsWriting(int tid, const struct stat& file);

}  // namespace firedrill::agent
