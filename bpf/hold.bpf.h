/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The ways into the lines, TAP devices that the owner reads and writes, and the way back.
 *
 *   device ──stamp──► delay line: user space holds the frame ──► fd_return, strip the stamp ──►
 * device device ──stamp──► wire line: the kernel cuts super-packets and finishes checksums, as for
 * any device without offloads; user space hands back at once ──► fd_wire, decide ──► strip the
 * stamp, or the delay line ──► device
 */
#pragma once

#include "bpf/packet.bpf.h"
#include "bpf/rule.bpf.h"

#define FD_LOOPBACK_IFINDEX 1
#define FD_PACKET_HOST 0 /* PACKET_HOST of linux/if_packet.h */
#define FD_DROP 2        /* TCX_DROP and TC_ACT_SHOT */
#define FD_LOOPBACK_STAMP 12

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

/* Whether this is a packet that comes back, or a copy: it is not decided about again. */
static __always_inline int is_own_copy(struct __sk_buff* skb) {
  if (skb->tc_index != FD_RETURNED) return 0;
  skb->tc_index = 0;
  return 1;
}

static __always_inline int stamp_loopback(struct __sk_buff* skb, __u64 first) {
  const __u32 mark = skb->mark;
  if (bpf_skb_store_bytes(skb, 0, &first, sizeof(first), 0) < 0) return pass_unheld();
  if (bpf_skb_store_bytes(skb, sizeof(first), &mark, sizeof(mark), 0) < 0)
    return drop_unreturned(); /* its addresses are spoilt */
  return 0;
}

/* 0: the packet can be redirected to the line; lets it pass, counted, where that is not possible.
 * `loopback_first`: deliver_at_ns, or for the wire line the rules. */
static __always_inline int stamp(struct __sk_buff* skb, const struct fd_device* device, __u32 line,
                                 const struct packet* packet, const struct passage* passage,
                                 __u64 rules, __u64 loopback_first) {
  __u32 mtu = 0;
  /* A negative answer: the device, and with it the owner, is gone. */
  if (!line || bpf_check_mtu(skb, line, &mtu, 0, 0) < 0) return pass_unheld();
  if (device->loopback) return stamp_loopback(skb, loopback_first);
  if (device->header_bytes != FD_ETHERNET_BYTES) return pass_unheld();
  /* Volatile: the compiler must not choose between two addresses first and read then. */
  const volatile struct __sk_buff* tag = skb;
  const __u32 tagged = tag->vlan_present, tag_tci = tag->vlan_tci, tag_protocol = tag->vlan_proto;
  if (packet->vlan_tags + (tagged ? 1 : 0) > 1) return pass_unheld();
  struct fd_held held = {
      .ethertype = packet->ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6),
      .direction = passage->direction,
      .ifindex = skb->ifindex,
      .mark = skb->mark,
      .deliver_at_ns = passage->deliver_at_ns,
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
  return 0;
}

/* A stamped packet into the delay line, as often as it is to arrive. */
static __always_inline int enter_line(struct __sk_buff* skb, __u32 tap, __u32 copies) {
  for (__u32 copy = 0; copy < FD_MOST_COPIES && copy < copies; ++copy)
    bpf_clone_redirect(skb, tap, 0);
  return bpf_redirect(tap, 0);
}

static __always_inline int hold(struct __sk_buff* skb, const struct fd_device* device, __u32 tap,
                                const struct packet* packet, const struct passage* passage,
                                __u64 rules) {
  const int refused = stamp(skb, device, tap, packet, passage, rules, passage->deliver_at_ns);
  return refused ? refused : enter_line(skb, tap, passage->copies);
}

static __always_inline int send_to_wire(struct __sk_buff* skb, const struct fd_device* device,
                                        __u32 wire, const struct packet* packet,
                                        const struct passage* passage, __u64 rules) {
  const int refused = stamp(skb, device, wire, packet, passage, rules, rules);
  return refused ? refused : bpf_redirect(wire, 0);
}

/* Copies of a packet that goes on at once; each passes this device's programs, as any packet. */
static __always_inline int send_copies(struct __sk_buff* skb, const struct passage* passage) {
  const __u32 before = skb->tc_index;
  skb->tc_index = FD_RETURNED;
  for (__u32 copy = 0; copy < FD_MOST_COPIES && copy < passage->copies; ++copy)
    bpf_clone_redirect(skb, skb->ifindex, passage->direction == FD_INGRESS ? BPF_F_INGRESS : 0);
  skb->tc_index = before;
  return FD_NEXT;
}

static __always_inline int return_loopback(struct __sk_buff* skb, __u32 mark) {
  const __u8 zero[FD_LOOPBACK_STAMP] = {};
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

/* The stamp of a packet that has come through the wire line. */
struct on_wire {
  __u64 rules;
  __u64 deliver_at_ns; /* 0: a loopback frame does not say */
  __u32 direction;
  __u32 mark;
  __u32 stamp_bytes; /* in front of the frame; 0: loopback */
};

static __always_inline int open_wire(struct __sk_buff* skb, struct on_wire* wire) {
  struct fd_held held;
  __u32 words[3];
  if (bpf_skb_load_bytes(skb, 0, words, sizeof(words)) < 0) return 0;
  if (words[0] | words[1] | words[2]) {
    wire->rules = (__u64)words[1] << 32 | words[0];
    wire->mark = words[2];
    return 1; /* FD_EGRESS */
  }
  if (bpf_skb_load_bytes(skb, 0, &held, sizeof(held)) < 0) return 0;
  wire->rules = held.rules;
  wire->deliver_at_ns = held.deliver_at_ns;
  wire->direction = held.direction;
  wire->stamp_bytes = sizeof(held);
  return 1;
}

/* From the wire line straight back. */
static __always_inline int leave_wire(struct __sk_buff* skb, const struct on_wire* wire) {
  return wire->stamp_bytes ? give_back(skb) : return_loopback(skb, wire->mark);
}

/* From the wire line into the delay line. */
static __always_inline int hold_on_wire(struct __sk_buff* skb, const struct on_wire* wire,
                                        __u32 tap, const struct passage* passage, __u64 rules) {
  const __u64 stamps[] = {passage->deliver_at_ns, rules};
  const __u32 at = wire->stamp_bytes ? __builtin_offsetof(struct fd_held, deliver_at_ns) : 0;
  const __u32 size = wire->stamp_bytes ? sizeof(stamps) : sizeof(stamps[0]);
  __u32 mtu = 0;
  if (!tap || bpf_check_mtu(skb, tap, &mtu, 0, 0) < 0) {
    pass_unheld();
    return leave_wire(skb, wire);
  }
  if (bpf_skb_store_bytes(skb, at, stamps, size, 0) < 0) return drop_unreturned();
  return enter_line(skb, tap, passage->copies);
}
