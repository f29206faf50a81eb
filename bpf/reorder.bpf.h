/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Holds some packets back, so that those behind them overtake. */
#pragma once

#include "bpf/rule.bpf.h"

__noinline int reorder_one(struct passage* passage, __u32 slot) {
  struct rule_tables tables;
  if (!passage || !open_rule(passage, slot, &tables) || !strikes(&tables)) return 0;
  count_hit(tables.stats, passage);
  passage->deliver_at_ns += tables.rule->delay_ns;
  return 0;
}

__noinline int reorder(struct passage* passage, __u64 rules) {
  FOR_EACH_RULE(slot, rules) reorder_one(passage, slot);
  return 0;
}
