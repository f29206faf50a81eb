/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Limits the bandwidth: each packet goes on when the last of its bits would be through. */
#pragma once

#include "bpf/rule.bpf.h"

#define FD_SEGMENT_HEADERS                                              \
  66 /* Ethernet, IPv4, TCP with timestamps: each further segment's own \
      */

__noinline int shape_one(struct passage* passage, __u32 slot) {
  struct rule_tables tables;
  if (!passage || !open_rule(passage, slot, &tables)) return 0;
  const __u64 rate = tables.rule->bits_per_second, queue_ns = tables.rule->queue_ns;
  if (!rate) return 0;
  const __u64 bytes =
      (passage->bytes + (passage->packets - 1) * FD_SEGMENT_HEADERS) * (1 + (__u64)passage->copies);
  const __u64 takes_ns = bytes * 8 * 1000000000 / rate;
  const __u64 now = passage->deliver_at_ns;
  __u64 start = now;
  int dropped = 1;
  bpf_spin_lock(&tables.state->lock);
  if (tables.state->free_ns > now) start = tables.state->free_ns;
  if (start - now <= queue_ns) {
    tables.state->free_ns = start + takes_ns;
    dropped = 0;
  }
  bpf_spin_unlock(&tables.state->lock);
  count_hit(tables.stats, passage);
  if (dropped) {
    tables.stats->queue_dropped_packets += passage->packets;
    tables.stats->queue_dropped_bytes += passage->bytes;
  } else {
    passage->deliver_at_ns = start + takes_ns;
  }
  return dropped;
}

/* 1: the packet does not fit into a rule's queue. */
__noinline int shape(struct passage* passage, __u64 rules) {
  FOR_EACH_RULE(slot, rules) {
    if (shape_one(passage, slot)) return 1;
  }
  return 0;
}
