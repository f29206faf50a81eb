/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The way into the delay line, a TAP device that the owner reads and writes, and the way back.
 *
 *   device ──stamp──► TAP, user space holds the frame ──► TAP ingress, strip the stamp ──► device
 */
#pragma once

#include "bpf/match.bpf.h"

#define FD_NEXT (-1) /* TCX_NEXT and TC_ACT_UNSPEC: the next program decides */
#define FD_LOOPBACK_IFINDEX 1
#define FD_PACKET_HOST 0 /* PACKET_HOST of linux/if_packet.h */
#define FD_DROP 2        /* TCX_DROP and TC_ACT_SHOT */

static __always_inline int pass_unheld(void) {
  struct fd_totals* sum = totals();
  if (sum) sum->not_held += 1;
  return FD_NEXT;
}

static __always_inline int drop_unreturned(void) {
  struct fd_totals* sum = totals();
  if (sum) sum->not_returned += 1;
  return FD_DROP;
}

static __always_inline int hold_loopback(struct __sk_buff* skb, __u32 tap, __u64 deliver_at_ns) {
  const __u32 mark = skb->mark;
  if (bpf_skb_store_bytes(skb, 0, &deliver_at_ns, sizeof(deliver_at_ns), 0) < 0)
    return pass_unheld();
  if (bpf_skb_store_bytes(skb, sizeof(deliver_at_ns), &mark, sizeof(mark), 0) < 0)
    return drop_unreturned(); /* its addresses are spoilt */
  return bpf_redirect(tap, 0);
}

/* Sends the packet into the delay line; lets it pass, counted, where that is not possible. */
static __always_inline int hold(struct __sk_buff* skb, const struct fd_device* device, __u32 tap,
                                const struct packet* packet, enum fd_direction direction,
                                __u64 rules, __u64 deliver_at_ns) {
  __u32 mtu = 0;
  /* A negative answer: the device, and with it the owner, is gone. */
  if (!tap || bpf_check_mtu(skb, tap, &mtu, 0, 0) < 0) return pass_unheld();
  if (device->loopback) return hold_loopback(skb, tap, deliver_at_ns);
  if (device->header_bytes != FD_ETHERNET_BYTES) return pass_unheld();
  /* Volatile: the compiler must not choose between two addresses first and read then. */
  const volatile struct __sk_buff* tag = skb;
  const __u32 tagged = tag->vlan_present, tag_tci = tag->vlan_tci, tag_protocol = tag->vlan_proto;
  if (packet->vlan_tags + (tagged ? 1 : 0) > 1) return pass_unheld();
  struct fd_held held = {
      .ethertype = packet->ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6),
      .direction = direction,
      .ifindex = skb->ifindex,
      .mark = skb->mark,
      .deliver_at_ns = deliver_at_ns,
      .rules = rules,
      .priority = skb->priority,
  };
  if (tagged) {
    held.vlan_tci = tag_tci;
    held.vlan_protocol = tag_protocol;
  } else if (packet->vlan_tags) {
    held.vlan_tci = packet->vlan_tci;
    held.vlan_protocol = packet->vlan_protocol;
  }
  if (held.vlan_protocol && bpf_skb_vlan_pop(skb) < 0) return pass_unheld();
  if (bpf_skb_change_head(skb, sizeof(held), 0) < 0) {
    if (held.vlan_protocol) bpf_skb_vlan_push(skb, held.vlan_protocol, held.vlan_tci);
    return pass_unheld();
  }
  if (bpf_skb_store_bytes(skb, 0, &held, sizeof(held), 0) < 0) return drop_unreturned();
  return bpf_redirect(tap, 0);
}

static __always_inline int return_loopback(struct __sk_buff* skb, __u32 mark) {
  const __u8 zero[12] = {};
  if (bpf_skb_store_bytes(skb, 0, zero, sizeof(zero), 0) < 0) return drop_unreturned();
  bpf_skb_change_type(skb, FD_PACKET_HOST);
  skb->mark = mark;
  /* Routes anew: loopback takes no packet without a route. */
  return bpf_redirect_neigh(FD_LOOPBACK_IFINDEX, 0, 0, 0);
}

static __always_inline int give_back(struct __sk_buff* skb) {
  struct fd_held held;
  __u8 ethernet[FD_ETHERNET_BYTES];
  __u32 words[3];
  if (bpf_skb_load_bytes(skb, 0, words, sizeof(words)) < 0) return drop_unreturned();
  if (words[0] | words[1] | words[2]) return return_loopback(skb, words[2]);
  if (bpf_skb_load_bytes(skb, 0, &held, sizeof(held)) < 0 ||
      bpf_skb_load_bytes(skb, sizeof(held), ethernet, sizeof(ethernet)) < 0 ||
      bpf_skb_adjust_room(skb, -(__s32)sizeof(held), BPF_ADJ_ROOM_MAC,
                          BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET) < 0 ||
      bpf_skb_store_bytes(skb, 0, ethernet, sizeof(ethernet), 0) < 0)
    return drop_unreturned();
  bpf_skb_change_type(skb, FD_PACKET_HOST);
  if (held.vlan_protocol && bpf_skb_vlan_push(skb, held.vlan_protocol, held.vlan_tci) < 0)
    return drop_unreturned();
  skb->mark = held.mark;
  skb->priority = held.priority;
  if (held.direction == FD_EGRESS) return bpf_redirect(held.ifindex, 0);
  skb->tc_index = FD_RETURNED;
  return bpf_redirect(held.ifindex, BPF_F_INGRESS);
}
