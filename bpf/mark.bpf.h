/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The mark of the socket that a packet comes from or goes to. */
#pragma once

#include "bpf/packet.bpf.h"
#include "bpf/rule.bpf.h"
#include "bpf/sockets.bpf.h"

static __always_inline __u64 no_owner(void) {
  struct fd_totals* sum = totals();
  if (sum) sum->ownerless += 1;
  return 0;
}

/* A connection that is only coming up, and its SYN-ACK, are their listener's. */
static __always_inline __u64 mark_of_sender(struct __sk_buff* skb) {
  struct bpf_sock* any = skb->sk;
  if (!any) return no_owner();
  struct bpf_sock* socket = bpf_sk_fullsock(any);
  if (!socket) socket = bpf_get_listener_sock(any);
  if (!socket) return no_owner();
  const __u64* mark = bpf_sk_storage_get(&fd_sockets, socket, 0, 0);
  return mark ? *mark : 0;
}

/* Looks for the socket as the stack will, in the namespace of the device. */
static __always_inline __u64 mark_of_receiver(struct __sk_buff* skb, const struct packet* packet) {
  struct bpf_sock_tuple tuple = {};
  __u32 size;
  struct bpf_sock* socket;
  __u64 rules = 0;
  if (!packet->has_ports) return no_owner();
  if (packet->ipv4) {
    __builtin_memcpy(&tuple.ipv4.saddr, packet->source + 12, 4);
    __builtin_memcpy(&tuple.ipv4.daddr, packet->destination + 12, 4);
    tuple.ipv4.sport = bpf_htons(packet->source_port);
    tuple.ipv4.dport = bpf_htons(packet->destination_port);
    size = sizeof(tuple.ipv4);
  } else {
    __builtin_memcpy(tuple.ipv6.saddr, packet->source, 16);
    __builtin_memcpy(tuple.ipv6.daddr, packet->destination, 16);
    tuple.ipv6.sport = bpf_htons(packet->source_port);
    tuple.ipv6.dport = bpf_htons(packet->destination_port);
    size = sizeof(tuple.ipv6);
  }
  if (packet->protocol == FD_TCP) {
    socket = bpf_sk_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
  } else if (packet->protocol == FD_UDP) {
    socket = bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
  } else {
    return no_owner();
  }
  if (!socket) return no_owner();
  const __u64* mark = bpf_sk_storage_get(&fd_sockets, socket, 0, 0);
  if (mark) rules = *mark;
  bpf_sk_release(socket);
  return rules;
}

__noinline __u64 mark_of(struct __sk_buff* skb, const struct packet* packet, __u32 receiver) {
  if (!packet) return 0;
  return receiver ? mark_of_receiver(skb, packet) : mark_of_sender(skb);
}
