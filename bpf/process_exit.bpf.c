/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel's own instants of the ends of watched processes. It asks helpers only, never the
 * kernel's structs: nothing has to be looked up in the kernel's BTF, and it loads within a
 * millisecond, before a kill that is to come at once.
 */
/* The helpers need the types before them. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#include "bpf/process.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The owner's pid namespace, as stat() shows it. */
const volatile __u64 fd_namespace_device = 0;
const volatile __u64 fd_namespace_inode = 0;
__u64 fd_task_lost = 0; /* events that did not fit */

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, FD_TASK_RING_BYTES);
} fd_exit_ring SEC(".maps");

/* Processes whose end is told, by pid. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, FD_TASK_WATCHED);
  __type(key, __u32);
  __type(value, __u32);
} fd_task_watched SEC(".maps");

/* Called by each thread; the process is told by the thread that has its number. */
SEC("raw_tp/sched_process_exit")
int fd_task_exit(void* context) {
  struct bpf_pidns_info ids = {};
  if (fd_namespace_inode == FD_FIRST_PID_NAMESPACE) {
    const __u64 both = bpf_get_current_pid_tgid();
    ids.pid = (__u32)both;
    ids.tgid = both >> 32;
  } else if (bpf_get_ns_current_pid_tgid(fd_namespace_device, fd_namespace_inode, &ids,
                                         sizeof(ids))) {
    return 0; /* of another pid namespace */
  }
  if (ids.pid != ids.tgid) return 0;
  const __u32 pid = ids.tgid;
  if (bpf_map_delete_elem(&fd_task_watched, &pid)) return 0;
  struct fd_task_event* event = bpf_ringbuf_reserve(&fd_exit_ring, sizeof(*event), 0);
  if (!event) {
    __sync_fetch_and_add(&fd_task_lost, 1);
    return 0;
  }
  event->at_ns = bpf_ktime_get_ns();
  event->kind = FD_TASK_EXIT;
  event->pid = pid;
  event->parent = 0;
  event->padding = 0;
  bpf_get_current_comm(event->name, sizeof(event->name));
  bpf_ringbuf_submit(event, 0);
  return 0;
}
