/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which rules a packet belongs to. */
#pragma once

#include "bpf/maps.bpf.h"
#include "bpf/mark.bpf.h"
#include "bpf/packet.bpf.h"
#include "bpf/rule.bpf.h"

/* How a packet is looked at: enum fd_direction, and */
#define FD_AS_ONE 2 /* both ends are this host's: an exclusion of either holds */
#define FD_AGAIN 4  /* it was looked at before: counts nothing */

static __always_inline const struct fd_masks* masks_of_address(const struct packet* packet,
                                                               const __u8* address) {
  if (packet->ipv4) {
    struct fd_prefix4 key = {.bits = 32};
    __builtin_memcpy(key.address, address + 12, sizeof(key.address));
    return bpf_map_lookup_elem(&fd_prefixes4, &key);
  }
  struct fd_prefix6 key = {.bits = 128};
  __builtin_memcpy(key.address, address, sizeof(key.address));
  return bpf_map_lookup_elem(&fd_prefixes6, &key);
}

/* Tables are asked only where a rule that is left depends on the answer. */
static __always_inline __u64 by_addresses(const struct fd_control* control,
                                          const struct packet* packet, __u64 rules, __u32 view) {
  const int sent = !(view & FD_INGRESS);
  const __u64 by_peer = ~control->any_address | control->excludes_addresses;
  const struct fd_masks* masks;
  if (rules & by_peer) {
    masks = masks_of_address(packet, sent ? packet->destination : packet->source);
    rules &= control->any_address | (masks ? masks->include : 0);
    if (masks) rules &= ~masks->exclude;
  }
  if (rules & (~control->any_local_address | (view & FD_AS_ONE ? by_peer : 0))) {
    masks = masks_of_address(packet, sent ? packet->source : packet->destination);
    rules &= control->any_local_address | (masks ? masks->local : 0);
    if (masks && view & FD_AS_ONE) rules &= ~masks->exclude;
  }
  return rules;
}

static __always_inline __u64 by_ports(const struct fd_control* control, const struct packet* packet,
                                      __u64 rules, __u32 view) {
  const __u64 any = control->any_port & control->any_local_port & control->any_remote_port;
  if (!(rules & (~any | control->excludes_ports))) return rules;
  if (!packet->has_ports)
    return rules & any & ~(packet->later_fragment ? control->excludes_ports : 0);
  /* Before Linux 6.2 a key may not lie in memory that was passed to a function. */
  const __u32 from = packet->source_port, to = packet->destination_port;
  const struct fd_masks* source = bpf_map_lookup_elem(&fd_ports, &from);
  const struct fd_masks* destination = bpf_map_lookup_elem(&fd_ports, &to);
  if (!source || !destination) return 0;
  const __u64 local = view & FD_INGRESS ? destination->local : source->local;
  const __u64 remote = view & FD_INGRESS ? source->remote : destination->remote;
  return rules & (control->any_port | source->include | destination->include) &
         (control->any_local_port | local) & (control->any_remote_port | remote) &
         ~(source->exclude | destination->exclude);
}

/* Of rules that take only some TCP segments those that take this one. */
static __always_inline __u64 by_segment(struct __sk_buff* skb, const struct fd_control* control,
                                        const struct packet* packet, __u64 rules) {
  const __u64 some = rules & (control->data_only | control->syn_only);
  __u8 bytes[2]; /* length of the header in its upper half; flags */
  if (!some) return rules;
  if (packet->protocol != FD_TCP || packet->later_fragment ||
      bpf_skb_load_bytes(skb, packet->transport_at + 12, bytes, sizeof(bytes)) < 0)
    return rules & ~some;
  if (packet->transport_at + (bytes[0] >> 4) * 4 >= packet->end) rules &= ~control->data_only;
  if (!(bytes[1] & 2)) rules &= ~control->syn_only;
  return rules;
}

/* The rules that take the packet as this host sends it, or receives it. A function of its own: see
 * rule.bpf.h. */
__noinline __u64 matching_as(struct __sk_buff* skb, const struct packet* packet, __u64 rules,
                             __u32 view) {
  const struct fd_control* control = first_of(&fd_control);
  if (!control || !packet || !rules) return 0;
  rules = by_addresses(control, packet, rules, view);
  const __u64 addressed = rules;
  rules = by_ports(control, packet, rules, view);
  if (packet->later_fragment && rules != addressed && !(view & FD_AGAIN)) {
    struct fd_totals* sum = totals();
    if (sum) sum->later_fragments += 1;
  }
  rules = by_segment(skb, control, packet, rules);
  const __u64 owned = rules & control->owned;
  if (!owned) return rules;
  return (rules & ~owned) | (owned & mark_of(skb, packet, view & FD_INGRESS));
}

/* On loopback a packet is both sent and received. It is taken once, if it matches as either. */
static __always_inline __u64 matching_rules(struct __sk_buff* skb, const struct fd_control* control,
                                            const struct fd_device* device, __u64 rules,
                                            const struct packet* packet,
                                            enum fd_direction direction) {
  __u64 sent;
  rules &= control->protocol[packet->protocol & (FD_PROTOCOLS - 1)];
  if (!rules) return 0;
  if (!device->loopback) return matching_as(skb, packet, rules, direction);
  sent = matching_as(skb, packet, rules & control->sent, FD_EGRESS | FD_AS_ONE);
  return sent | matching_as(skb, packet, rules & control->received & ~sent,
                            FD_INGRESS | FD_AS_ONE | (rules & control->sent ? FD_AGAIN : 0));
}

static __always_inline int is_protected_end(const __u8* address, __u32 port) {
  struct fd_endpoint end = {.port = port};
  __builtin_memcpy(end.address, address, sizeof(end.address));
  return bpf_map_lookup_elem(&fd_protected, &end) != 0;
}

/* The agent's own stream, whichever end of it this host is. */
static __always_inline int is_protected(const struct fd_control* control,
                                        const struct packet* packet) {
  if (!packet->has_ports && !packet->later_fragment) return 0;
  /* Nearly every packet's ports say already that it is not. */
  const __u64 source = 1ull << fd_port_bit(packet->source_port);
  const __u64 destination = 1ull << fd_port_bit(packet->destination_port);
  if (!(control->protected_ports & (source | destination))) return 0;
  return is_protected_end(packet->source, packet->source_port) ||
         is_protected_end(packet->destination, packet->destination_port);
}
