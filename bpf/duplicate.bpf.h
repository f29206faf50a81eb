/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lets packets arrive twice; once more for each further rule that so decides. */
#pragma once

#include "bpf/rule.bpf.h"

__noinline int duplicate_one(struct passage* passage, __u32 slot) {
  struct rule_tables tables;
  if (!passage || passage->copies >= FD_MOST_COPIES || !open_rule(passage, slot, &tables)) return 0;
  if (!strikes(&tables)) return 0;
  count_hit(tables.stats, passage);
  passage->copies += 1;
  return 0;
}

__noinline int duplicate(struct passage* passage, __u64 rules) {
  FOR_EACH_RULE(slot, rules) duplicate_one(passage, slot);
  return 0;
}
