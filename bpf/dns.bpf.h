/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the rules with the effect FD_DNS make of a query, before all other effects. */
#pragma once

#include "bpf/packet.bpf.h"
#include "bpf/rule.bpf.h"

/* FD_NEXT: the packet goes on to the other effects, deliver_at_ns raised if it is held back. Any
 * other verdict is the last word. */
static __always_inline int act_on_query(struct __sk_buff* skb, const struct packet* packet,
                                        struct passage* passage, __u64 rules) {
  return FD_NEXT;
}
