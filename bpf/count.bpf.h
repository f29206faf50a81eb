/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counts what matches, and touches nothing. */
#pragma once

#include "bpf/rule.bpf.h"

__noinline int count_one(struct passage* passage, __u32 slot) {
  struct rule_tables tables;
  return passage && open_rule(passage, slot, &tables);
}

__noinline int count(struct passage* passage, __u64 rules) {
  FOR_EACH_RULE(slot, rules) count_one(passage, slot);
  return 0;
}
