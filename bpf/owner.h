/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs that know whose a process or a socket is share with their owner in user space.
 *
 * A choice of processes is one bit of a mask, as a rule is in traffic.h.
 */
#pragma once

#include <linux/types.h>

#define FD_MAX_OWNED_PROCESSES 8192
#define FD_MAX_OWNED_CGROUPS 256
#define FD_MAX_OWNED_NAMES 64
#define FD_CGROUP_LEVELS 12 /* below the root; a unit of a user's session lies at the sixth */

/* By the number of the thread group, as the initial pid namespace counts. */
struct fd_process {
  __u64 rules;  /* it belongs to; its children inherit them */
  __u64 spared; /* 1: belongs to none, nor do its children */
};

/* As /proc/PID/comm, filled up with zeros. */
struct fd_process_name {
  char comm[16];
};

#ifdef __cplusplus
static_assert(sizeof(struct fd_process) == 16, "fd_process has no hidden padding");
static_assert(sizeof(struct fd_process_name) == 16, "fd_process_name is a key");
#endif
