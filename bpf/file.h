/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the file programs and the agent share. */
#pragma once

#include <linux/types.h>

#define FD_FILE_OPEN 1u
#define FD_FILE_READ 2u
#define FD_FILE_WRITE 4u
/* So many folders above a file, and ancestors above a process, are looked at. */
#define FD_FILE_DEPTH 32
#define FD_FILE_PIDS 4096
#define FD_FILE_CHOSEN 1 /* values of fd_file_pids */
#define FD_FILE_SPARED 2
#define FD_FILE_ALWAYS 0xffffffffu

/* One for each loaded program, in memory that both sides write. */
struct fd_file_control {
  __u64 expires_ns;  /* bpf_ktime_get_ns(); later nothing fails any more */
  __u64 target;      /* the kernel's address of the file's or folder's inode, learned at an open */
  __u64 matched;     /* operations */
  __u64 failed;      /* operations */
  __u64 first_ns;    /* bpf_ktime_get_ns() of the first that failed */
  __u32 learner;     /* the next open by this thread says which inode is the target */
  __u32 operations;  /* FD_FILE_… */
  __u32 threshold;   /* fails if a random number is below, or FD_FILE_ALWAYS */
  __s32 error;       /* negative errno */
  __u32 chosen_only; /* only processes marked FD_FILE_CHOSEN, with their descendants */
  __u32 padding;
};

#ifdef __cplusplus
static_assert(sizeof(fd_file_control) == 64);
#endif
