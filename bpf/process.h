/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the programs that watch processes and their owner in user space share. */
#pragma once

#include <linux/types.h>

#define FD_TASK_WATCHED 4096      /* processes whose end is told, at most */
#define FD_TASK_RING_BYTES 262144 /* for events that nobody has read yet */
#define FD_TASK_NAME 16
#define FD_FIRST_PID_NAMESPACE 0xEFFFFFFCu /* inode number of the first one: PROC_PID_INIT_INO */

enum fd_task_kind { FD_TASK_FORK = 1, FD_TASK_EXEC = 2, FD_TASK_EXIT = 3 };

/* Something that happened to a process (never to a mere thread), as the kernel's own tracepoint saw
 * it. Pids are those of the owner's pid namespace. */
struct fd_task_event {
  __u64 at_ns; /* CLOCK_MONOTONIC */
  __u32 kind;  /* fd_task_kind */
  __u32 pid;
  __u32 parent; /* of a fork; 0: it is not in the owner's pid namespace */
  __u32 padding;
  char name[FD_TASK_NAME];
};

#ifdef __cplusplus
static_assert(sizeof(fd_task_event) == 40);
#endif
