/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Turns one bit of a packet's payload. Only for packets of the wire, whose checksums are final: the
 * receiver then notices, or is made not to.
 */
#pragma once

#include "bpf/packet.bpf.h"
#include "bpf/rule.bpf.h"

#define FD_ICMP_HEADER 8

/* Where a packet's payload is, and the checksum over it. */
struct payload {
  __u32 transport_at;
  __u32 at;
  __u32 bytes;
  __u32 checksum_at; /* 0: this transport protocol has none that is known here */
  __u32 is_udp;
};

/* 0: there is no payload. A later fragment is all payload, and its checksum elsewhere. */
static __always_inline int find_payload(struct __sk_buff* skb, __u32 header_bytes,
                                        const struct packet* packet, struct payload* payload) {
  __be16 ip_bytes;
  __u8 words;
  const __u32 length_at = header_bytes + (packet->ipv4 ? 2 : 4);
  if (bpf_skb_load_bytes(skb, length_at, &ip_bytes, sizeof(ip_bytes)) < 0) return 0;
  /* The frame may be longer: Ethernet pads. */
  const __u32 end =
      header_bytes + bpf_ntohs(ip_bytes) + (packet->ipv4 ? 0 : sizeof(struct ipv6hdr));
  __u32 header = 0, checksum = 0;
  payload->transport_at = packet->transport_at;
  if (packet->later_fragment) {
    /* no transport header */
  } else if (packet->protocol == FD_TCP) {
    if (bpf_skb_load_bytes(skb, packet->transport_at + 12, &words, 1) < 0) return 0;
    header = (words >> 4) * 4;
    checksum = 16;
  } else if (packet->protocol == FD_UDP) {
    header = sizeof(struct udphdr);
    checksum = 6;
    payload->is_udp = 1;
  } else if (packet->protocol == FD_ICMP) {
    header = FD_ICMP_HEADER;
    checksum = 2;
  }
  payload->at = packet->transport_at + header;
  payload->checksum_at = checksum ? packet->transport_at + checksum : 0;
  if (end <= payload->at || end > skb->len) return 0;
  payload->bytes = end - payload->at;
  return 1;
}

/* Turns the bit, and with it the checksum if asked. 0: it could not. */
static __always_inline int turn_bit(struct __sk_buff* skb, const struct payload* payload,
                                    __u64 random, int mend) {
  const __u64 bit = (random % ((__u64)payload->bytes * 8)) & 0xfffff;
  const __u32 at = payload->at + (__u32)(bit >> 3);
  const __u32 odd = (at - payload->transport_at) & 1;
  __u8 byte;
  if (bpf_skb_load_bytes(skb, at, &byte, 1) < 0) return 0;
  /* The checksum is a sum of words of two bytes, from the transport header on; their other halves
   * do not change, so zeros stand for them. */
  const __u32 from = bpf_htons(odd ? byte : byte << 8);
  byte ^= 1 << (bit & 7);
  const __u32 to = bpf_htons(odd ? byte : byte << 8);
  if (bpf_skb_store_bytes(skb, at, &byte, 1, 0) < 0) return 0;
  if (!mend || !payload->checksum_at) return 1;
  const __u64 flags = 2 | (payload->is_udp ? BPF_F_MARK_MANGLED_0 : 0);
  return bpf_l4_csum_replace(skb, payload->checksum_at, from, to, flags) == 0;
}

__noinline int corrupt_one(struct __sk_buff* skb, struct passage* passage, __u32 stamp_bytes,
                           __u32 slot) {
  struct rule_tables tables;
  struct packet packet = {};
  struct payload payload = {};
  if (!passage || !open_rule(passage, slot, &tables)) return 0;
  const __u64 random = draw(&tables);
  if (!comes_true(tables.rule->chance, random)) return 0;
  const __u32 header_bytes = stamp_bytes + FD_ETHERNET_BYTES;
  if (!read_packet(skb, header_bytes, &packet)) return 0;
  if (!find_payload(skb, header_bytes + packet.vlan_tags * FD_VLAN_BYTES, &packet, &payload))
    return 0;
  if (turn_bit(skb, &payload, mix(random), tables.rule->mend_checksum != 0))
    count_hit(tables.stats, passage);
  return 0;
}

__noinline int corrupt(struct __sk_buff* skb, struct passage* passage, __u32 stamp_bytes,
                       __u64 rules) {
  FOR_EACH_RULE(slot, rules) corrupt_one(skb, passage, stamp_bytes, slot);
  return 0;
}
