/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Keeps the table of chosen processes true while processes come and go: children inherit, what
 * becomes a program of a chosen name, or in a chosen cgroup, joins, the dead leave.
 */
#include "bpf/owner.bpf.h"
/* clang-format off */
#include <bpf/bpf_tracing.h>
/* clang-format on */

#include "bpf/task.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, FD_MAX_OWNED_NAMES);
  __type(key, struct fd_process_name);
  __type(value, __u64);
} fd_names SEC(".maps");

__u64 births = 0; /* processes and programs begun since this was loaded */
__u64 missed = 0; /* chosen processes for which the table had no room */

static __always_inline void join(__u32 tgid, const struct fd_process* process) {
  if (bpf_map_update_elem(&fd_processes, &tgid, process, BPF_ANY) < 0)
    __sync_fetch_and_add(&missed, 1);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(fd_fork, struct task_struct* parent, struct task_struct* child) {
  const __u32 from = parent->tgid, to = child->tgid;
  if (from == to) return 0; /* a thread */
  __sync_fetch_and_add(&births, 1);
  const struct fd_process* process = bpf_map_lookup_elem(&fd_processes, &from);
  if (!process) return 0;
  const struct fd_process same = *process;
  join(to, &same);
  return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(fd_exec, struct task_struct* task) {
  const __u32 tgid = task->tgid;
  struct fd_process_name name = {};
  __sync_fetch_and_add(&births, 1);
  if (bpf_get_current_comm(&name.comm, sizeof(name.comm)) < 0) return 0;
  const __u64* named = bpf_map_lookup_elem(&fd_names, &name);
  const __u64 rules = (named ? *named : 0) | rules_of_current_cgroup();
  if (!rules) return 0;
  struct fd_process* process = bpf_map_lookup_elem(&fd_processes, &tgid);
  if (process) {
    __sync_fetch_and_or(&process->rules, rules);
    return 0;
  }
  const struct fd_process chosen = {.rules = rules};
  join(tgid, &chosen);
  return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(fd_exit, struct task_struct* task) {
  const __u32 tgid = task->tgid;
  if (task->signal->live.counter == 0) bpf_map_delete_elem(&fd_processes, &tgid);
  return 0;
}
