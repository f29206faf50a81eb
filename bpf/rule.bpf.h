/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the effects have in common: one packet on its way through them, a rule's chances, and its
 * counters. Functions that are not static are verified by themselves, whatever their arguments:
 * inlined into one another the verifier would have to walk the product of their paths.
 */
#pragma once

#include "bpf/maps.bpf.h"

#define FD_MOST_COPIES 4
#define FD_NEXT (-1)         /* TCX_NEXT and TC_ACT_UNSPEC: the next program decides */
#define FD_NOWHERE 0x7ffffff /* no device has this index: dropped, and the sender sees success */

/* A packet as the effects see it, and what they have decided so far. */
struct passage {
  __u64 now;
  __u64 deliver_at_ns; /* at first now */
  __u32 packets;       /* of the wire: a super-packet (GSO) is several */
  __u32 bytes;
  __u32 direction;
  __u32 copies; /* to be sent besides */
};

/* A rule's tables, all of them or none. */
struct rule_tables {
  const struct fd_rule* rule;
  struct fd_stats* stats;
  struct fd_state* state;
};

static __always_inline struct fd_totals* totals(void) { return first_of(&fd_totals); }

/* Position of the lowest bit that is set: de Bruijn multiplication. Without branches, as the
 * verifier would follow each of them. */
static const __u8 debruijn_positions[64] = {
    0,  1,  2,  53, 3,  7,  54, 27, 4,  38, 41, 8,  34, 55, 48, 28, 62, 5,  39, 46, 44, 42,
    22, 9,  24, 35, 59, 56, 49, 18, 29, 11, 63, 52, 6,  26, 37, 40, 33, 47, 61, 45, 43, 21,
    23, 58, 17, 10, 51, 25, 36, 32, 60, 20, 57, 16, 50, 31, 19, 15, 30, 14, 13, 12};

static __always_inline __u32 lowest_bit(__u64 bits) {
  return debruijn_positions[((bits & -bits) * 0x022fdd63cc95386dull) >> 58];
}

/* Each rule of a mask, as `slot`. The body should be a call and a branch. */
#define FOR_EACH_RULE(slot, rules)                                                                \
  for (__u32 count_ = 0, slot; count_ < FD_MAX_RULES && (rules) && (slot = lowest_bit(rules), 1); \
       ++count_, (rules) &= (rules)-1)

/* 1 if the rule is in force; counts the packet as one that it matches. */
static __always_inline int open_rule(const struct passage* passage, __u32 slot,
                                     struct rule_tables* tables) {
  const __u32 sequence = slot * 2 + (passage->direction & 1);
  tables->rule = bpf_map_lookup_elem(&fd_rules, &slot);
  tables->stats = bpf_map_lookup_elem(&fd_stats, &slot);
  tables->state = bpf_map_lookup_elem(&fd_states, &sequence);
  if (!tables->rule || !tables->stats || !tables->state) return 0;
  if (passage->now >= tables->rule->until_ns) return 0;
  tables->stats->matched_packets += passage->packets;
  tables->stats->matched_bytes += passage->bytes;
  return 1;
}

static __always_inline void count_hit(struct fd_stats* stats, const struct passage* passage) {
  if (!stats->first_hit_ns) stats->first_hit_ns = bpf_ktime_get_ns();
  stats->hit_packets += passage->packets;
  stats->hit_bytes += passage->bytes;
}

#define FD_GOLDEN 0x9e3779b97f4a7c15ull /* 2^64 divided by the golden ratio, odd */

/* The finalizer of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
 * 2014): every bit of what comes out depends on every bit of what went in. */
static __always_inline __u64 mix(__u64 value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
  return value ^ (value >> 31);
}

/* The next number of this processor's splitmix64, which begins at one of the kernel's: those cost a
 * call each, a fifth of all that a rule costs. Packets that interrupt each other may get the same
 * number, which changes nobody's chances. */
static __always_inline __u64 next_random(void) {
  __u64* state = first_of(&fd_random);
  if (!state) return ~0ull; /* the verifier's case; no chance comes true */
  if (!*state) *state = (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();
  *state += FD_GOLDEN;
  return mix(*state);
}

/* The rule's next random number: with a seed a function of it and of how many came before. */
static __always_inline __u64 draw(const struct rule_tables* tables) {
  if (!tables->rule->seed) return next_random();
  const __u64 number = __sync_fetch_and_add(&tables->state->sequence, 1);
  return mix(tables->rule->seed + (number + 1) * FD_GOLDEN);
}

static __always_inline int comes_true(__u64 chance, __u64 random) {
  return (random >> 32) < chance;
}

/* A packet that takes its turn: whether it is the rule's chance that comes true. */
static __always_inline int strikes(const struct rule_tables* tables) {
  return comes_true(tables->rule->chance, draw(tables));
}

/* range * random / 2^32 without overflow: range has up to 38 bits. */
static __always_inline __u64 share_of(__u64 range, __u32 random) {
  return (range >> 32) * random + (((range & 0xffffffff) * random) >> 32);
}
