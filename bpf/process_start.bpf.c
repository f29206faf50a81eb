/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel's own instants of processes' beginnings: forks, and execs of new programs. What does
 * not fit into the ring is counted. Nothing is changed, and the links die with their owner.
 */
/* The helpers need the types before them. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
/* clang-format on */

#include "bpf/process.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define FD_KERNEL_THREAD 0x00200000 /* PF_KTHREAD */
#define FD_PID_LEVELS 33            /* MAX_PID_NS_LEVEL, and the first */

/* Of the kernel's own structs no more than what is read; where it lies is found when loading. */
#define FD_KERNEL_LAYOUT __attribute__((preserve_access_index))
struct ns_common {
  unsigned int inum;
} FD_KERNEL_LAYOUT;
struct pid_namespace {
  struct ns_common ns;
} FD_KERNEL_LAYOUT;
struct upid {
  int nr;
  struct pid_namespace* ns;
} FD_KERNEL_LAYOUT;
struct pid {
  unsigned int level;
  struct upid numbers[1];
} FD_KERNEL_LAYOUT;
struct task_struct {
  unsigned int flags;
  int pid;
  int tgid;
  struct task_struct* group_leader;
  struct pid* thread_pid;
  char comm[FD_TASK_NAME];
} FD_KERNEL_LAYOUT;

const volatile __u32 fd_pid_namespace = 0; /* inode number of the owner's */
__u64 fd_task_lost = 0;                    /* events that did not fit */

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, FD_TASK_RING_BYTES);
} fd_start_ring SEC(".maps");

/* The process's number in the owner's pid namespace; 0 if it has none there. */
static __always_inline __u32 number_of(struct task_struct* task) {
  struct pid* pid = BPF_CORE_READ(task, group_leader, thread_pid);
  if (!pid) return 0;
  const __u32 deepest = BPF_CORE_READ(pid, level);
  for (__u32 level = 0; level < FD_PID_LEVELS; ++level) {
    if (level > deepest) break;
    struct upid* number = (void*)&pid->numbers + (__u64)level * bpf_core_type_size(struct upid);
    if (BPF_CORE_READ(number, ns, ns.inum) == fd_pid_namespace) return BPF_CORE_READ(number, nr);
  }
  return 0;
}

static __always_inline int tell(struct task_struct* task, struct task_struct* parent,
                                enum fd_task_kind kind) {
  const __u32 pid = number_of(task);
  if (!pid) return 0;
  struct fd_task_event* event = bpf_ringbuf_reserve(&fd_start_ring, sizeof(*event), 0);
  if (!event) {
    __sync_fetch_and_add(&fd_task_lost, 1);
    return 0;
  }
  event->at_ns = bpf_ktime_get_ns();
  event->kind = kind;
  event->pid = pid;
  event->parent = parent ? number_of(parent) : 0;
  event->padding = 0;
  bpf_core_read(event->name, sizeof(event->name), &task->comm);
  bpf_ringbuf_submit(event, 0);
  return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(fd_task_fork, struct task_struct* parent, struct task_struct* child) {
  if (BPF_CORE_READ(child, pid) != BPF_CORE_READ(child, tgid)) return 0; /* a thread */
  if (BPF_CORE_READ(child, flags) & FD_KERNEL_THREAD) return 0;
  return tell(child, parent, FD_TASK_FORK);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(fd_task_exec, struct task_struct* task) { return tell(task, 0, FD_TASK_EXEC); }
