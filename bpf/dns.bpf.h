/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the rules with the effect FD_DNS make of a query, before all other effects: it vanishes, is
 * held back, or is turned into its own answer and sent back to where it came from. What cannot be
 * read as a query goes on untouched, counted.
 */
#pragma once

#include "bpf/dns.h"
#include "bpf/hold.bpf.h"
#include "bpf/packet.bpf.h"
#include "bpf/rule.bpf.h"

#define FD_DNS_HEADER 12
#define FD_DNS_QUESTION_END 4  /* type and class, after the name */
#define FD_DNS_MAX_LABEL 63    /* more: a pointer into the message, or nothing that is known */
#define FD_DNS_OPCODE 0x7800   /* of the flags; 0: a query for a name */
#define FD_DNS_RESPONSE 0x8000 /* QR */
#define FD_DNS_RECURSES 0x0080 /* RA */
#define FD_DNS_KEPT 0x0110     /* RD and CD: what was asked for */
#define FD_UDP_CHECKSUM 6      /* in the header */

/* What a packet is to the rules. */
enum {
  FD_DNS_NO_QUERY = 0, /* an answer, or of another kind */
  FD_DNS_QUERY = 1,
  FD_DNS_MALFORMED = 2,
  FD_DNS_TCP = 4, /* besides */
};

/* Scratch: a name, lower-cased, and where its labels begin. */
struct dns_name {
  __u8 bytes[FD_DNS_MAX_BYTES + 1];
  __u8 begins[FD_DNS_MAX_BYTES + 1];
  __u64 rules; /* that its query belongs to */
  /* Here, so that the verifier forgets what they were. */
  __u32 left; /* bytes of the label at hand */
  __u32 at;   /* the byte at hand */
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct dns_name);
} fd_dns_name SEC(".maps");

/* By fd_dns_hash: the rules for a name and all below it. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, FD_DNS_MAX_NAMES);
  __type(key, __u64);
  __type(value, __u64);
} fd_dns_names SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, FD_MAX_RULES);
  __type(key, __u32);
  __type(value, struct fd_dns_stats);
} fd_dns_stats SEC(".maps");

/* 1 if value < bound, else 0; without a branch, as which the compiler must not know it. */
static __always_inline __u32 is_below(__u32 value, __u32 bound) {
  __u64 difference = (__u64)value - bound;
  asm volatile("" : "+r"(difference));
  return difference >> 63;
}

/* The length of the name at `at`, its end included; 0: it is none, or compressed. */
__noinline int read_name(struct __sk_buff* skb, __u32 at) {
  struct dns_name* name = first_of(&fd_dns_name);
  if (!name || at >= skb->len) return 0;
  __s32 bytes = skb->len - at;
  if (bytes > FD_DNS_MAX_BYTES) bytes = FD_DNS_MAX_BYTES;
  /* The verifier must see both bounds where they are used: that of Linux 6.1 learns nothing from a
   * comparison with 0 for equality. */
  asm volatile("" : "+r"(bytes));
  if (bytes < 1) return 0;
  asm volatile("" : "+r"(bytes));
  if (bytes > FD_DNS_MAX_BYTES) return 0;
  if (bpf_skb_load_bytes(skb, at, name->bytes, bytes) < 0) return 0;
  name->left = 0;
  /* With one branch a byte: the verifier follows each of them in each turn. */
  for (__u32 i = 0; i < FD_DNS_MAX_BYTES; ++i) {
    if (i >= (__u32)bytes) return 0;
    const __u32 byte = name->bytes[i], left = name->left;
    const __u32 begins = is_below(left, 1);
    if (begins & ~is_below(byte - 1, FD_DNS_MAX_LABEL)) return byte == 0 ? i + 1 : 0;
    name->bytes[i] = byte | is_below(byte - 'A', 'Z' - 'A' + 1) << 5; /* no length is a letter */
    name->begins[i] = begins;
    name->left = left - 1 + begins * (byte + 1);
  }
  return 0;
}

/* The rules for the name that was read last, of so many bytes, and for all that it is below. */
__noinline __u64 rules_of_name(__u32 bytes) {
  struct dns_name* name = first_of(&fd_dns_name);
  if (!name) return 0;
  __u64 hash = FD_DNS_ROOT;
  const __u64* found = bpf_map_lookup_elem(&fd_dns_names, &hash);
  __u64 rules = found ? *found : 0;
  if (bytes < 2) return rules;
  name->at = bytes - 2; /* before the end, which is 0 */
  for (__u32 count = 0; count < FD_DNS_MAX_BYTES; ++count) {
    const __u32 here = *(volatile __u32*)&name->at;
    if (here >= FD_DNS_MAX_BYTES) break; /* it went below 0 */
    name->at = here - 1;
    hash = fd_dns_hash(hash, name->bytes[here]);
    if (!name->begins[here]) continue;
    found = bpf_map_lookup_elem(&fd_dns_names, &hash);
    if (found) rules |= *found;
  }
  return rules;
}

/* What the message at `at` is, which ends before `end`. Of a query the rules are known then. */
__noinline int read_query(struct __sk_buff* skb, __u32 at, __u32 end) {
  struct dns_name* name = first_of(&fd_dns_name);
  __be16 header[FD_DNS_HEADER / 2]; /* id, flags, and the numbers of questions, answers, … */
  if (!name || bpf_skb_load_bytes(skb, at, header, sizeof(header)) < 0) return FD_DNS_MALFORMED;
  if (header[1] & bpf_htons(FD_DNS_RESPONSE | FD_DNS_OPCODE)) return FD_DNS_NO_QUERY;
  if (header[2] != bpf_htons(1) || header[3] != 0) return FD_DNS_MALFORMED;
  const int bytes = read_name(skb, at + FD_DNS_HEADER);
  if (bytes <= 0 || bytes > FD_DNS_MAX_BYTES) return FD_DNS_MALFORMED;
  if (at + FD_DNS_HEADER + bytes + FD_DNS_QUESTION_END > end) return FD_DNS_MALFORMED;
  name->rules = rules_of_name(bytes);
  return FD_DNS_QUERY;
}

static __always_inline int read_udp_query(struct __sk_buff* skb, const struct packet* packet) {
  struct udphdr udp;
  if (bpf_skb_load_bytes(skb, packet->transport_at, &udp, sizeof(udp)) < 0) return FD_DNS_MALFORMED;
  const __u32 bytes = bpf_ntohs(udp.len);
  const __u32 end = packet->transport_at + bytes;
  /* Several datagrams as one (UDP GSO), or the first fragment of one. */
  if (end != skb->len || bytes < sizeof(udp) + FD_DNS_HEADER) return FD_DNS_MALFORMED;
  return read_query(skb, packet->transport_at + sizeof(udp), end);
}

/* The first query of a segment. Its length stands before it, or went in a segment of its own. */
static __always_inline int read_tcp_query(struct __sk_buff* skb, const struct packet* packet) {
  __u8 words;
  if (bpf_skb_load_bytes(skb, packet->transport_at + 12, &words, 1) < 0) return FD_DNS_NO_QUERY;
  const __u32 at = packet->transport_at + (words >> 4) * 4;
  if (read_query(skb, at + 2, skb->len) == FD_DNS_QUERY) return FD_DNS_QUERY;
  return read_query(skb, at, skb->len) == FD_DNS_QUERY ? FD_DNS_QUERY : FD_DNS_NO_QUERY;
}

/* What one rule makes of it: FD_DNS_LATE if nothing more than to hold it back, by which it then has
 * raised deliver_at_ns. */
__noinline int ask_rule(struct passage* passage, __u32 slot, __u32 what) {
  struct rule_tables tables;
  struct fd_dns_stats* stats = bpf_map_lookup_elem(&fd_dns_stats, &slot);
  if (!passage || !stats || !open_rule(passage, slot, &tables)) return FD_DNS_LATE;
  const __u32 answer = tables.rule->answer;
  if (what & FD_DNS_MALFORMED) {
    stats->malformed_passed += 1;
    return FD_DNS_LATE;
  }
  if (what & FD_DNS_QUERY) stats->queries_matched += 1;
  /* A segment without a query can only be dropped. */
  else if (answer != FD_DNS_NONE)
    return FD_DNS_LATE;
  if ((what & FD_DNS_TCP) && (answer == FD_DNS_SERVFAIL || answer == FD_DNS_NXDOMAIN)) {
    stats->tcp_queries_untouched += 1;
    return FD_DNS_LATE;
  }
  if (answer == FD_DNS_COUNTED || !strikes(&tables)) return FD_DNS_LATE;
  count_hit(tables.stats, passage);
  if (what & FD_DNS_QUERY) stats->queries_hit += 1;
  if (answer == FD_DNS_LATE) passage->deliver_at_ns += tables.rule->delay_ns;
  return answer;
}

/* Of several rules the first that drops or answers has the last word. */
__noinline int ask_rules(struct passage* passage, __u64 rules, __u32 what) {
  FOR_EACH_RULE(slot, rules) {
    const int answer = ask_rule(passage, slot, what);
    if (answer != FD_DNS_LATE) return answer;
  }
  return FD_DNS_LATE;
}

static __always_inline int swap_ends(struct __sk_buff* skb, __u32 at, __u32 bytes) {
  __u8 ends[32], swapped[32];
  if (bpf_skb_load_bytes(skb, at, ends, 2 * bytes) < 0) return 0;
  __builtin_memcpy(swapped, ends + bytes, bytes);
  __builtin_memcpy(swapped + bytes, ends, bytes);
  return bpf_skb_store_bytes(skb, at, swapped, 2 * bytes, 0) == 0;
}

/*
 * Turns a query into its answer: all that it carries stays, an OPT record too, so its length does.
 * Swapped ends leave every checksum as it was; that of the flags is mended, where the device would
 * not make it anyway (CHECKSUM_PARTIAL).
 */
__noinline int turn_into_answer(struct __sk_buff* skb, const struct packet* packet,
                                __u32 header_bytes, __u32 code) {
  __be16 before, after;
  if (!packet) return 0;
  const __u32 ip_at = header_bytes + packet->vlan_tags * FD_VLAN_BYTES;
  const __u32 udp_at = packet->transport_at;
  const __u32 flags_at = udp_at + sizeof(struct udphdr) + 2;
  if (bpf_skb_load_bytes(skb, flags_at, &before, sizeof(before)) < 0) return 0;
  after = bpf_htons(FD_DNS_RESPONSE | FD_DNS_RECURSES | code) | (before & bpf_htons(FD_DNS_KEPT));
  if (bpf_skb_store_bytes(skb, flags_at, &after, sizeof(after), 0) < 0) return 0;
  if (bpf_l4_csum_replace(skb, udp_at + FD_UDP_CHECKSUM, before, after,
                          sizeof(after) | BPF_F_MARK_MANGLED_0) < 0)
    return 0;
  if (header_bytes && !swap_ends(skb, 0, 6)) return 0;
  if (packet->ipv4 ? !swap_ends(skb, ip_at + 12, 4) : !swap_ends(skb, ip_at + 8, 16)) return 0;
  return swap_ends(skb, udp_at, 2);
}

static __always_inline int send_answer(struct __sk_buff* skb, const struct packet* packet,
                                       __u32 code) {
  const struct fd_device* device = device_of(skb->ifindex, FD_EGRESS);
  if (!device) return FD_NEXT;
  const __u32 loopback = device->loopback;
  if (!turn_into_answer(skb, packet, device->header_bytes, code)) return drop_unreturned();
  skb->tc_index = FD_RETURNED;
  bpf_skb_change_type(skb, FD_PACKET_HOST);
  if (loopback) return bpf_redirect_neigh(FD_LOOPBACK_IFINDEX, 0, 0, 0);
  return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

/* FD_NEXT: the packet goes on to the other effects, deliver_at_ns raised if it is held back. Any
 * other verdict is the last word. */
static __always_inline int act_on_query(struct __sk_buff* skb, const struct packet* packet,
                                        struct passage* passage, __u64 rules) {
  const struct dns_name* name = first_of(&fd_dns_name);
  __u32 what;
  if (!name || !packet->has_ports) return FD_NEXT;
  if (packet->protocol == FD_UDP) {
    what = read_udp_query(skb, packet);
    if (what == FD_DNS_NO_QUERY) return FD_NEXT;
  } else if (packet->protocol == FD_TCP) {
    what = read_tcp_query(skb, packet) | FD_DNS_TCP;
  } else {
    return FD_NEXT;
  }
  if (what & FD_DNS_QUERY) {
    rules &= name->rules;
  } else if (what & FD_DNS_TCP) {
    const __u64 root = FD_DNS_ROOT;
    const __u64* every = bpf_map_lookup_elem(&fd_dns_names, &root);
    rules &= every ? *every : 0;
  }
  if (!rules) return FD_NEXT;
  const int answer = ask_rules(passage, rules, what);
  if (answer == FD_DNS_LATE) return FD_NEXT;
  if (answer == FD_DNS_NONE) return bpf_redirect(FD_NOWHERE, 0);
  return send_answer(skb, packet, answer);
}
