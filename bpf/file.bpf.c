/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lets operations on files below a folder fail, from the hooks of Linux Security Modules. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
/* clang-format on */

#include "bpf/file.h"

#define S_IFMT 00170000       /* linux/stat.h */
#define S_IFDIR 0040000       /* linux/stat.h */
#define MAY_WRITE 2           /* linux/fs.h */
#define MAY_READ 4            /* linux/fs.h */
#define PF_KTHREAD 0x00200000 /* linux/sched.h */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct inode {
  unsigned short i_mode;
};
struct dentry {
  struct dentry* d_parent;
  struct inode* d_inode;
};
struct path {
  struct dentry* dentry;
};
struct file {
  struct path f_path;
};
struct task_struct {
  unsigned int flags;
  int pid;
  int tgid;
  struct task_struct* real_parent;
};
#pragma clang attribute pop

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct fd_file_control);
} fd_file_control SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, FD_FILE_PIDS);
  __type(key, __u32);
  __type(value, __u32);
} fd_file_pids SEC(".maps");

static __always_inline __u64 inode_of(struct dentry* dentry) {
  return (__u64)BPF_CORE_READ(dentry, d_inode);
}

/* Whether the file is the target, or below it: the names by which programs reach it do not matter.
 */
static __always_inline int is_below(struct file* file, __u64 target) {
  struct dentry* dentry = BPF_CORE_READ(file, f_path.dentry);
  for (int i = 0; i < FD_FILE_DEPTH && dentry; i++) {
    if (inode_of(dentry) == target) return 1;
    struct dentry* parent = BPF_CORE_READ(dentry, d_parent);
    if (parent == dentry) return 0;
    dentry = parent;
  }
  return 0;
}

static __always_inline int is_meant(__u32 chosen_only) {
  struct task_struct* task = (struct task_struct*)bpf_get_current_task();
  int found = !chosen_only;
  if (BPF_CORE_READ(task, flags) & PF_KTHREAD) return 0;
  if (BPF_CORE_READ(task, tgid) == 1) return 0;
  for (int i = 0; i < FD_FILE_DEPTH && task; i++) {
    __u32 pid = BPF_CORE_READ(task, tgid);
    if (pid <= 1) break;
    __u32* mark = bpf_map_lookup_elem(&fd_file_pids, &pid);
    if (mark && *mark == FD_FILE_SPARED) return 0;
    if (mark) found = 1;
    task = BPF_CORE_READ(task, real_parent);
  }
  return found;
}

static __always_inline int decide(struct file* file, __u32 operation) {
  __u32 zero = 0;
  struct fd_file_control* control = bpf_map_lookup_elem(&fd_file_control, &zero);
  if (!control) return 0;
  if (control->learner && control->learner == (__u32)bpf_get_current_pid_tgid()) {
    control->learner = 0;
    control->target = inode_of(BPF_CORE_READ(file, f_path.dentry));
    return 0;
  }
  if (!(control->operations & operation) || !control->target) return 0;
  /* Listing a folder is not meant. */
  if ((BPF_CORE_READ(file, f_path.dentry, d_inode, i_mode) & S_IFMT) == S_IFDIR) return 0;
  __u64 now = bpf_ktime_get_ns();
  if (now > control->expires_ns) return 0;
  if (!is_below(file, control->target) || !is_meant(control->chosen_only)) return 0;
  __sync_fetch_and_add(&control->matched, 1);
  if (control->threshold != FD_FILE_ALWAYS && bpf_get_prandom_u32() >= control->threshold) return 0;
  __sync_fetch_and_add(&control->failed, 1);
  if (!control->first_ns) control->first_ns = now;
  /* The verifier wants to see that it is an error. */
  int error = control->error;
  return error < -4095 || error > 0 ? 0 : error;
}

SEC("lsm/file_open")
int BPF_PROG(fd_file_open, struct file* file, int result) {
  if (result) return result;
  return decide(file, FD_FILE_OPEN);
}

SEC("lsm/file_permission")
int BPF_PROG(fd_file_permission, struct file* file, int mask, int result) {
  if (result) return result;
  if (mask & MAY_WRITE) return decide(file, FD_FILE_WRITE);
  if (mask & MAY_READ) return decide(file, FD_FILE_READ);
  return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
