/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The mark that a socket carries: the rules whose chosen processes hold, or made, it. */
#pragma once

/* The helpers need the types before them. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
  __type(key, int);
  __type(value, __u64);
} fd_sockets SEC(".maps");
