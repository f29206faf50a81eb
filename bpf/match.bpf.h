/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which rules a packet belongs to, and whether they lose it or how long they delay it. Functions
 * that are not static are verified by themselves, whatever their arguments: inlined into one
 * another the verifier would have to walk the product of their paths.
 */
#pragma once

#include "bpf/maps.bpf.h"
#include "bpf/packet.bpf.h"

static __always_inline struct fd_totals* totals(void) { return first_of(&fd_totals); }

static __always_inline __u64 rules_of_address(const struct fd_control* control,
                                              const struct packet* packet, const __u8* address) {
  const struct fd_masks* masks;
  if (packet->ipv4) {
    struct fd_prefix4 key = {.bits = 32};
    __builtin_memcpy(key.address, address + 12, sizeof(key.address));
    masks = bpf_map_lookup_elem(&fd_prefixes4, &key);
  } else {
    struct fd_prefix6 key = {.bits = 128};
    __builtin_memcpy(key.address, address, sizeof(key.address));
    masks = bpf_map_lookup_elem(&fd_prefixes6, &key);
  }
  if (!masks) return control->any_address;
  return (control->any_address | masks->include) & ~masks->exclude;
}

static __always_inline __u64 rules_of_ports(const struct fd_control* control,
                                            const struct packet* packet) {
  if (!packet->has_ports)
    return control->any_port & ~(packet->later_fragment ? control->excludes_ports : 0);
  const struct fd_masks* source = bpf_map_lookup_elem(&fd_ports, &packet->source_port);
  const struct fd_masks* destination = bpf_map_lookup_elem(&fd_ports, &packet->destination_port);
  if (!source || !destination) return 0;
  return (control->any_port | source->include | destination->include) &
         ~(source->exclude | destination->exclude);
}

static __always_inline int is_protected_end(const __u8* address, __u32 port) {
  struct fd_endpoint end = {.port = port};
  __builtin_memcpy(end.address, address, sizeof(end.address));
  return bpf_map_lookup_elem(&fd_protected, &end) != 0;
}

/* The agent's own stream, whichever end of it this host is. */
static __always_inline int is_protected(const struct packet* packet) {
  if (!packet->has_ports && !packet->later_fragment) return 0;
  return is_protected_end(packet->source, packet->source_port) ||
         is_protected_end(packet->destination, packet->destination_port);
}

static __always_inline __u64 matching_rules(const struct fd_control* control, __u64 rules,
                                            const struct packet* packet,
                                            enum fd_direction direction) {
  const __u8* peer = direction == FD_EGRESS ? packet->destination : packet->source;
  __u64 matched;
  rules &= control->protocol[packet->protocol & (FD_PROTOCOLS - 1)];
  if (!rules) return 0;
  rules &= rules_of_address(control, packet, peer);
  if (!rules) return 0;
  matched = rules & rules_of_ports(control, packet);
  if (packet->later_fragment && matched != rules) {
    struct fd_totals* sum = totals();
    if (sum) sum->later_fragments += 1;
  }
  return matched;
}

/* Position of the lowest bit that is set: de Bruijn multiplication. Without branches, as the
 * verifier would follow each of them. */
static const __u8 debruijn_positions[64] = {
    0,  1,  2,  53, 3,  7,  54, 27, 4,  38, 41, 8,  34, 55, 48, 28, 62, 5,  39, 46, 44, 42,
    22, 9,  24, 35, 59, 56, 49, 18, 29, 11, 63, 52, 6,  26, 37, 40, 33, 47, 61, 45, 43, 21,
    23, 58, 17, 10, 51, 25, 36, 32, 60, 20, 57, 16, 50, 31, 19, 15, 30, 14, 13, 12};

static __always_inline __u32 lowest_bit(__u64 bits) {
  return debruijn_positions[((bits & -bits) * 0x022fdd63cc95386dull) >> 58];
}

static __always_inline void count_hit(struct fd_stats* stats, __u64 packets, __u64 bytes,
                                      __u64 now) {
  if (!stats->first_hit_ns) stats->first_hit_ns = now;
  stats->hit_packets += packets;
  stats->hit_bytes += bytes;
}

/* 1: one of the rules loses the packet. Each rule decides by itself, once for a super-packet. */
__noinline int is_lost(struct __sk_buff* skb, __u64 rules, __u64 now) {
  const __u64 packets = skb->gso_segs > 1 ? skb->gso_segs : 1;
  const __u64 bytes = skb->len;
  for (int count = 0; count < FD_MAX_RULES && rules; ++count, rules &= rules - 1) {
    const __u32 slot = lowest_bit(rules);
    const struct fd_rule* rule = bpf_map_lookup_elem(&fd_rules, &slot);
    struct fd_stats* stats = bpf_map_lookup_elem(&fd_stats, &slot);
    if (!rule || !stats) return 0;
    if (now >= rule->until_ns) continue;
    stats->matched_packets += packets;
    stats->matched_bytes += bytes;
    if (bpf_get_prandom_u32() >= rule->loss_threshold) continue;
    count_hit(stats, packets, bytes, now);
    return 1;
  }
  return 0;
}

/* range * random / 2^32 without overflow: range has up to 38 bits. */
static __always_inline __u64 share_of(__u64 range) {
  const __u64 random = bpf_get_prandom_u32();
  return (range >> 32) * random + (((range & 0xffffffff) * random) >> 32);
}

/* The sum of what the rules add, in nanoseconds. */
__noinline __u64 delay_of(struct __sk_buff* skb, __u64 rules, __u64 now) {
  const __u64 packets = skb->gso_segs > 1 ? skb->gso_segs : 1;
  const __u64 bytes = skb->len;
  __u64 sum = 0;
  for (int count = 0; count < FD_MAX_RULES && rules; ++count, rules &= rules - 1) {
    const __u32 slot = lowest_bit(rules);
    const struct fd_rule* rule = bpf_map_lookup_elem(&fd_rules, &slot);
    struct fd_stats* stats = bpf_map_lookup_elem(&fd_stats, &slot);
    if (!rule || !stats) return sum;
    if (now >= rule->until_ns) continue;
    stats->matched_packets += packets;
    stats->matched_bytes += bytes;
    __u64 delay = rule->delay_ns + share_of(2 * rule->jitter_ns + 1);
    delay = delay > rule->jitter_ns ? delay - rule->jitter_ns : 0;
    if (!delay) continue;
    count_hit(stats, packets, bytes, now);
    sum += delay;
  }
  return sum;
}
