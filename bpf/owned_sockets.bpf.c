/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Marks the sockets of chosen processes: new ones as they are made, those that were open when
 * user space reads fd_mark. Accepted connections inherit the mark of their listener.
 */
#include "bpf/owner.bpf.h"
#include "bpf/sockets.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* As much of the kernel's own as is read here; relocated when loaded. */
struct task_struct {
  int tgid;
} __attribute__((preserve_access_index));

struct sock;

struct socket {
  struct sock* sk;
} __attribute__((preserve_access_index));

struct file;
struct bpf_iter_meta;
struct bpf_map;

struct bpf_iter__task_file {
  struct bpf_iter_meta* meta;
  struct task_struct* task;
  __u32 fd;
  struct file* file;
} __attribute__((preserve_access_index));

struct bpf_iter__bpf_sk_storage_map {
  struct bpf_iter_meta* meta;
  struct bpf_map* map;
  struct sock* sk;
  void* value;
} __attribute__((preserve_access_index));

__u64 marked = 0; /* sockets that were open */
__u64 forget = 0; /* rules whose marks fd_forget takes away */

SEC("cgroup/sock_create")
int fd_sock_create(struct bpf_sock* socket) {
  const __u64 rules = rules_of_current();
  if (!rules) return 1;
  __u64* mark = bpf_sk_storage_get(&fd_sockets, socket, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (mark) *mark = rules;
  return 1; /* allowed, whatever happens here */
}

SEC("iter/task_file")
int fd_mark(struct bpf_iter__task_file* context) {
  struct task_struct* task = context->task;
  struct file* file = context->file;
  if (!task || !file) return 0;
  const __u32 tgid = task->tgid;
  const struct fd_process* process = bpf_map_lookup_elem(&fd_processes, &tgid);
  if (!process || process->spared || !process->rules) return 0;
  struct socket* socket = bpf_sock_from_file(file);
  if (!socket) return 0;
  struct sock* sk = socket->sk;
  if (!sk) return 0;
  __u64* mark = bpf_sk_storage_get(&fd_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!mark) return 0;
  __sync_fetch_and_or(mark, process->rules);
  marked += 1;
  return 0;
}

SEC("iter/bpf_sk_storage_map")
int fd_forget(struct bpf_iter__bpf_sk_storage_map* context) {
  __u64* mark = context->value;
  if (mark) *mark &= ~forget;
  return 0;
}
