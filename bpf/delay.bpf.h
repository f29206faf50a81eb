/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Holds packets back. Delays of several rules add up. */
#pragma once

#include "bpf/rule.bpf.h"

/* The packet's random number: its own, or with the chance asked for that of the packet before. So
 * any distribution stays what it is, and neighbours correlate by that chance. */
static __always_inline __u32 correlated(const struct rule_tables* tables) {
  const __u64 random = draw(tables);
  if (!tables->rule->correlation) return random;
  const __u64 last = tables->state->deviation;
  if (last && comes_true(tables->rule->correlation, random)) return last - 1;
  tables->state->deviation = (__u64)(__u32)random + 1;
  return random;
}

/* In nanoseconds, with jitter_ns as the unit. */
static __always_inline __s64 deviation_of(const struct fd_rule* rule, __u32 random) {
  const __u64 jitter = rule->jitter_ns;
  if (rule->distribution == FD_UNIFORM)
    return (__s64)share_of(2 * jitter + 1, random) - (__s64)jitter;
  const __u32 step = (rule->distribution - 1) * FD_JITTER_STEPS + random / (1u << 20);
  const __s32* entry = bpf_map_lookup_elem(&fd_jitter, &step);
  return entry ? ((__s64)jitter * *entry) >> 16 : 0;
}

/* None overtakes the one before it. */
static __always_inline void keep_order(struct passage* passage, struct fd_state* state) {
  __u64 deliver_at_ns = passage->deliver_at_ns;
  bpf_spin_lock(&state->lock);
  if (state->last_deliver_ns > deliver_at_ns)
    deliver_at_ns = state->last_deliver_ns;
  else
    state->last_deliver_ns = deliver_at_ns;
  bpf_spin_unlock(&state->lock);
  passage->deliver_at_ns = deliver_at_ns;
}

__noinline int delay_one(struct passage* passage, __u32 slot) {
  struct rule_tables tables;
  if (!passage || !open_rule(passage, slot, &tables)) return 0;
  __s64 delay = tables.rule->delay_ns;
  if (tables.rule->jitter_ns) delay += deviation_of(tables.rule, correlated(&tables));
  if (delay > FD_MOST_DELAY_NS) delay = FD_MOST_DELAY_NS;
  if (delay > 0) {
    passage->deliver_at_ns += delay;
    count_hit(tables.stats, passage);
  }
  if (tables.rule->keep_order) keep_order(passage, tables.state);
  return 0;
}

__noinline int delay(struct passage* passage, __u64 rules) {
  FOR_EACH_RULE(slot, rules) delay_one(passage, slot);
  return 0;
}
