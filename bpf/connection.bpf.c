/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Lets connect(), sendmsg() of UDP and socket() fail for chosen processes and other ends, at the
 * root of cgroup v2 and thereby on the whole host. AF_INET and AF_INET6 only: the kernel asks these
 * programs about no other family. Their owner's lease is asked at each call.
 */
/* The helpers need the types before them. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
/* clang-format on */

#include "bpf/connection.h"

#include "bpf/owner.bpf.h"
#include "bpf/task.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define FD_ALLOW 1
#define FD_FAIL 0
#define FD_INET 2   /* AF_INET of linux/socket.h */
#define FD_INET6 10 /* AF_INET6 */

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct fd_connection);
} fd_connection SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct fd_connection_stats);
} fd_conn_stats SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, FD_CONNECTION_MAX_PREFIXES);
  __type(key, struct fd_connection_prefix);
  __type(value, __u32);
} fd_conn_prefix SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, FD_CONNECTION_MAX_ENDPOINTS);
  __type(key, struct fd_connection_endpoint);
  __type(value, __u32);
} fd_conn_ends SEC(".maps");

/* Process (thread group), as the initial pid namespace counts, to enum fd_connection_spared. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, FD_CONNECTION_MAX_SPARED);
  __type(key, __u32);
  __type(value, __u32);
} fd_conn_spared SEC(".maps");

static __always_inline void* first_of(void* map) {
  const __u32 zero = 0;
  return bpf_map_lookup_elem(map, &zero);
}

static __always_inline int takes_process(const struct fd_connection* fault) {
  const __u32 process = bpf_get_current_pid_tgid() >> 32;
  if (bpf_map_lookup_elem(&fd_conn_spared, &process)) return 0;
  return fault->any_process || (rules_of_current() & 1);
}

static __always_inline int takes_end(const struct fd_connection* fault,
                                     const struct fd_connection_endpoint* end) {
  if (bpf_map_lookup_elem(&fd_conn_ends, end)) return 0;
  if (!fault->any_port &&
      !(fault->ports[(end->port >> 6) & (FD_CONNECTION_PORT_WORDS - 1)] >> (end->port & 63) & 1))
    return 0;
  if (fault->any_address) return 1;
  struct fd_connection_prefix key = {.bits = 8 * (sizeof(key.family) + sizeof(key.address)),
                                     .family = end->family};
  __builtin_memcpy(key.address, end->address, sizeof(key.address));
  return bpf_map_lookup_elem(&fd_conn_prefix, &key) != 0;
}

/* `end` is null for a new socket. */
static __always_inline int decide(enum fd_connection_operation operation,
                                  const struct fd_connection_endpoint* end) {
  const struct fd_connection* fault = first_of(&fd_connection);
  if (!fault || !(fault->operations & operation)) return FD_ALLOW;
  const __u64 now = bpf_ktime_get_ns();
  if (now >= fault->lease_until_ns || now >= fault->until_ns) return FD_ALLOW;
  if (!takes_process(fault) || (end && !takes_end(fault, end))) return FD_ALLOW;
  struct fd_connection_stats* stats = first_of(&fd_conn_stats);
  if (!stats) return FD_ALLOW;
  stats->matched += 1;
  const __u32 error = fault->error;
  if (!error || bpf_get_prandom_u32() >= fault->threshold) return FD_ALLOW;
  if (!stats->first_failed_ns) stats->first_failed_ns = now;
  stats->failed += 1;
  /* Without it the kernel's answer is EPERM: the owner has seen to it that this is wanted. */
  if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_set_retval))
    bpf_set_retval(-(int)error);
  return FD_FAIL;
}

static __always_inline int decide4(struct bpf_sock_addr* call,
                                   enum fd_connection_operation operation) {
  struct fd_connection_endpoint end = {.family = FD_INET};
  const __u32 address = call->user_ip4;
  end.port = bpf_ntohs((__u16)call->user_port);
  __builtin_memcpy(end.address, &address, sizeof(address));
  return decide(operation, &end);
}

static __always_inline int decide6(struct bpf_sock_addr* call,
                                   enum fd_connection_operation operation) {
  struct fd_connection_endpoint end = {.family = FD_INET6};
  const __u32 word0 = call->user_ip6[0], word1 = call->user_ip6[1], word2 = call->user_ip6[2],
              word3 = call->user_ip6[3];
  end.port = bpf_ntohs((__u16)call->user_port);
  if (!word0 && !word1 && word2 == bpf_htonl(0xffff)) { /* ::ffff:a.b.c.d goes out as IPv4 */
    end.family = FD_INET;
    __builtin_memcpy(end.address, &word3, sizeof(word3));
    return decide(operation, &end);
  }
  __builtin_memcpy(end.address, &word0, sizeof(word0));
  __builtin_memcpy(end.address + 4, &word1, sizeof(word1));
  __builtin_memcpy(end.address + 8, &word2, sizeof(word2));
  __builtin_memcpy(end.address + 12, &word3, sizeof(word3));
  return decide(operation, &end);
}

SEC("cgroup/connect4")
int fd_connect4(struct bpf_sock_addr* call) { return decide4(call, FD_CONNECTION_CONNECT); }

SEC("cgroup/connect6")
int fd_connect6(struct bpf_sock_addr* call) { return decide6(call, FD_CONNECTION_CONNECT); }

SEC("cgroup/sendmsg4")
int fd_sendmsg4(struct bpf_sock_addr* call) { return decide4(call, FD_CONNECTION_SEND); }

SEC("cgroup/sendmsg6")
int fd_sendmsg6(struct bpf_sock_addr* call) { return decide6(call, FD_CONNECTION_SEND); }

SEC("cgroup/sock_create")
int fd_sock_create(struct bpf_sock* socket) { return decide(FD_CONNECTION_CREATE, 0); }

SEC("tp_btf/sched_process_fork")
int BPF_PROG(fd_conn_fork, struct task_struct* parent, struct task_struct* child) {
  const __u32 from = parent->tgid, to = child->tgid;
  if (from == to) return 0; /* a thread */
  const __u32* spared = bpf_map_lookup_elem(&fd_conn_spared, &from);
  const __u32 same = FD_CONNECTION_SPARED;
  if (spared && *spared == FD_CONNECTION_SPARED)
    bpf_map_update_elem(&fd_conn_spared, &to, &same, BPF_ANY);
  return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(fd_conn_exit, struct task_struct* task) {
  const __u32 process = task->tgid;
  if (task->signal->live.counter == 0) bpf_map_delete_elem(&fd_conn_spared, &process);
  return 0;
}
