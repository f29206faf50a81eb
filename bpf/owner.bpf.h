/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whose the calling process is. owned_processes.bpf.c keeps the tables; any program that runs in
 * the context of a process can ask, once its copy of the maps is given the descriptors of
 * firedrill::agent::OwnedProcesses (bpf_map__reuse_fd).
 */
#pragma once

/* The helpers need the types before them. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#include "bpf/owner.h"

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, FD_MAX_OWNED_PROCESSES);
  __type(key, __u32);
  __type(value, struct fd_process);
} fd_processes SEC(".maps");

/* Cgroups of the second version by their id: every process in one, or below it, is chosen. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, FD_MAX_OWNED_CGROUPS);
  __type(key, __u64);
  __type(value, __u64);
} fd_cgroups SEC(".maps");

/* The rules of the current process's cgroup and those above it. */
static __always_inline __u64 rules_of_current_cgroup(void) {
  __u64 rules = 0;
  for (int level = 1; level <= FD_CGROUP_LEVELS; ++level) {
    const __u64 id = bpf_get_current_ancestor_cgroup_id(level);
    if (!id) break;
    const __u64* found = bpf_map_lookup_elem(&fd_cgroups, &id);
    if (found) rules |= *found;
  }
  return rules;
}

/* The rules that the current process belongs to. */
static __always_inline __u64 rules_of_current(void) {
  const __u32 tgid = bpf_get_current_pid_tgid() >> 32;
  const struct fd_process* process = bpf_map_lookup_elem(&fd_processes, &tgid);
  if (!process) return rules_of_current_cgroup();
  if (process->spared) return 0;
  return process->rules | rules_of_current_cgroup();
}
