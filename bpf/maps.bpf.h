/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The tables of the traffic programs; user space writes them. Names have at most 15 characters. */
#pragma once

/* The helpers need the types before them. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#include "bpf/sockets.bpf.h"
#include "bpf/traffic.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct fd_control);
} fd_control SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, FD_MAX_RULES);
  __type(key, __u32);
  __type(value, struct fd_rule);
} fd_rules SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 2 * FD_MAX_RULES); /* twice the rule's slot, plus the direction */
  __type(key, __u32);
  __type(value, struct fd_state);
} fd_states SEC(".maps");

/* Of each distribution but the uniform one the quantiles, in standard deviations. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, (FD_DISTRIBUTIONS - 1) * FD_JITTER_STEPS);
  __type(key, __u32);
  __type(value, __s32);
} fd_jitter SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, FD_MAX_RULES);
  __type(key, __u32);
  __type(value, struct fd_stats);
} fd_stats SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct fd_totals);
} fd_totals SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, FD_MAX_HOOKS);
  __type(key, struct fd_hook);
  __type(value, struct fd_device);
} fd_devices SEC(".maps");

/* The same by fd_near_slot, which costs a packet without rules next to nothing. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, FD_NEAR_DEVICES);
  __type(key, __u32);
  __type(value, struct fd_device);
} fd_near SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, FD_MAX_PREFIXES);
  __type(key, struct fd_prefix4);
  __type(value, struct fd_masks);
} fd_prefixes4 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, FD_MAX_PREFIXES);
  __type(key, struct fd_prefix6);
  __type(value, struct fd_masks);
} fd_prefixes6 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, FD_PORTS);
  __type(key, __u32);
  __type(value, struct fd_masks);
} fd_ports SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, FD_MAX_PROTECTED);
  __type(key, struct fd_endpoint);
  __type(value, __u32);
} fd_protected SEC(".maps");

/* Where this processor's random numbers have come to; 0: it has drawn none. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} fd_random SEC(".maps");

/* Null: no rule is on the device. */
static __always_inline const struct fd_device* device_of(__u32 ifindex, __u32 direction) {
  const __u32 slot = fd_near_slot(ifindex, direction);
  const struct fd_device* near = bpf_map_lookup_elem(&fd_near, &slot);
  if (!near) return 0;
  if (near->ifindex == ifindex) return near;
  if (near->ifindex != FD_CROWDED) return 0;
  const struct fd_hook hook = {.ifindex = ifindex, .direction = direction};
  return bpf_map_lookup_elem(&fd_devices, &hook);
}

static __always_inline void* first_of(void* map) {
  const __u32 zero = 0;
  return bpf_map_lookup_elem(map, &zero);
}
