/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Loses packets: with a chance, in bursts, or each of a number. */
#pragma once

#include "bpf/rule.bpf.h"

/* The model of Gilbert and Elliott: a good and a bad state, each with its own chance of loss; at
 * each packet first the state may change. */
static __always_inline int falls_into_burst(const struct rule_tables* tables) {
  const struct fd_rule* rule = tables->rule;
  struct fd_state* state = tables->state;
  const __u64 random = draw(tables);
  const int enters = comes_true(rule->enter, random), leaves = comes_true(rule->leave, random);
  int bad;
  bpf_spin_lock(&state->lock);
  bad = state->bad ? !leaves : enters;
  state->bad = bad;
  bpf_spin_unlock(&state->lock);
  return comes_true(bad ? rule->bad_chance : rule->chance, random << 32);
}

__noinline int lose_one(struct passage* passage, __u32 slot) {
  struct rule_tables tables;
  if (!passage || !open_rule(passage, slot, &tables)) return 0;
  const __u64 every = tables.rule->every;
  int lost;
  if (every) {
    lost = (__sync_fetch_and_add(&tables.state->sequence, 1) + 1) % every == 0;
  } else if (tables.rule->enter) {
    lost = falls_into_burst(&tables);
  } else {
    lost = strikes(&tables);
  }
  if (lost) count_hit(tables.stats, passage);
  return lost;
}

/* 1: one of the rules loses the packet. Each rule decides by itself. */
__noinline int lose(struct passage* passage, __u64 rules) {
  FOR_EACH_RULE(slot, rules) {
    if (lose_one(passage, slot)) return 1;
  }
  return 0;
}
