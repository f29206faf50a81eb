/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads of a packet what rules ask about. */
#pragma once

/* The helpers need the types before them. */
/* clang-format off */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#include "bpf/rule.bpf.h"

#define FD_MAX_EXTENSION_HEADERS 8
#define FD_VLAN_BYTES 4
#define FD_MOST_HEADER_BYTES 128 /* in front of what is read in place */

struct packet {
  __u8 source[16] __attribute__((aligned(4))); /* IPv4 as ::ffff:a.b.c.d */
  __u8 destination[16] __attribute__((aligned(4)));
  __u32 ipv4;
  __u32 protocol;    /* enum fd_protocol */
  __u32 source_port; /* host order; 0 with has_ports == 0 */
  __u32 destination_port;
  __u32 has_ports;
  __u32 transport_at;   /* where the transport header, or a fragment's part of it, begins */
  __u32 end;            /* of the IP packet; what follows is padding */
  __u32 later_fragment; /* of a protocol with ports: they are in the first fragment only */
  __u32 vlan_tags;      /* that stand in the frame itself */
  __u32 vlan_tci;       /* of the outermost of them, with its protocol in network order */
  __u32 vlan_protocol;
};

static __always_inline int is_vlan(__u16 ethertype) {
  return ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD);
}

/* Neighbour discovery, RFC 4861, section 4, and multicast listener discovery, RFC 2710 and 3810:
 * they keep a host reachable. */
static __always_inline int is_discovery(__u8 type) {
  return (type >= 133 && type <= 137) || (type >= 130 && type <= 132) || type == 143;
}

/* More headers than are read: no rule's. */
static __always_inline int unread(void) {
  struct fd_totals* sum = totals();
  if (sum) sum->unread += 1;
  return 0;
}

static __always_inline void map_ipv4(__u8* to, __be32 address) {
  __be32* words = __builtin_assume_aligned(to, 4);
  words[0] = words[1] = 0;
  words[2] = bpf_htonl(0xffff);
  words[3] = address;
}

/* As bpf_skb_load_bytes, which costs ten times as much: where the kernel holds the bytes in one
 * piece they are read where they are. */
static __always_inline int load_bytes(struct __sk_buff* skb, __u32 at, void* to, __u32 size) {
  const __u8* bytes = (const __u8*)(long)skb->data;
  const __u8* end = (const __u8*)(long)skb->data_end;
  if (at > FD_MOST_HEADER_BYTES || bytes + at + size > end)
    return bpf_skb_load_bytes(skb, at, to, size);
  __builtin_memcpy(to, __builtin_assume_aligned(bytes + at, 2), size);
  return 0;
}

static __always_inline void read_transport(struct __sk_buff* skb, __u32 at, __u8 protocol,
                                           int later, struct packet* packet) {
  __be16 ports[2];
  packet->transport_at = at;
  switch (protocol) {
    case IPPROTO_TCP:
      packet->protocol = FD_TCP;
      break;
    case IPPROTO_UDP:
      packet->protocol = FD_UDP;
      break;
    case IPPROTO_SCTP:
    case IPPROTO_DCCP:
    case IPPROTO_UDPLITE:
      packet->protocol = FD_OTHER;
      break;
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
      packet->protocol = FD_ICMP;
      return;
    default:
      packet->protocol = FD_OTHER;
      return;
  }
  packet->later_fragment = later;
  if (later || load_bytes(skb, at, ports, sizeof(ports)) < 0) return;
  packet->has_ports = 1;
  packet->source_port = bpf_ntohs(ports[0]);
  packet->destination_port = bpf_ntohs(ports[1]);
}

static __always_inline int read_ipv4(struct __sk_buff* skb, __u32 at, struct packet* packet) {
  struct iphdr ip;
  if (load_bytes(skb, at, &ip, sizeof(ip)) < 0 || ip.version != 4 || ip.ihl < 5) return 0;
  packet->ipv4 = 1;
  map_ipv4(packet->source, ip.saddr);
  map_ipv4(packet->destination, ip.daddr);
  /* None: longer than the field can say (BIG TCP). */
  packet->end = ip.tot_len ? at + bpf_ntohs(ip.tot_len) : skb->len;
  read_transport(skb, at + ip.ihl * 4, ip.protocol, (ip.frag_off & bpf_htons(0x1fff)) != 0, packet);
  return 1;
}

static __always_inline int read_ipv6(struct __sk_buff* skb, __u32 at, struct packet* packet) {
  struct ipv6hdr ip;
  if (load_bytes(skb, at, &ip, sizeof(ip)) < 0 || ip.version != 6) return 0;
  __builtin_memcpy(packet->source, &ip.saddr, 16);
  __builtin_memcpy(packet->destination, &ip.daddr, 16);
  __u8 next = ip.nexthdr;
  int later = 0;
  at += sizeof(ip);
  packet->end = ip.payload_len ? at + bpf_ntohs(ip.payload_len) : skb->len; /* as above */
  for (int header = 0; header < FD_MAX_EXTENSION_HEADERS; ++header) {
    __u8 bytes[4]; /* next header, length, and of a fragment its offset */
    if (next == IPPROTO_ICMPV6) {
      __u8 type;
      if (!later && (bpf_skb_load_bytes(skb, at, &type, 1) < 0 || is_discovery(type))) return 0;
    }
    if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
        next != IPPROTO_FRAGMENT && next != IPPROTO_AH) {
      read_transport(skb, at, next, later, packet);
      return 1;
    }
    /* What follows the header of a later fragment is its payload. */
    if (later || bpf_skb_load_bytes(skb, at, bytes, sizeof(bytes)) < 0) {
      packet->protocol = FD_OTHER;
      packet->later_fragment = later;
      return 1;
    }
    if (next == IPPROTO_FRAGMENT) {
      later = ((bytes[2] << 8 | bytes[3]) & 0xfff8) != 0;
      at += 8;
    } else if (next == IPPROTO_AH) {
      at += (bytes[1] + 2) * 4;
    } else {
      at += (bytes[1] + 1) * 8;
    }
    next = bytes[0];
  }
  return unread();
}

/* Of a super-packet the packets that the wire sees. Some drivers only say how much each carries. */
static __always_inline __u32 wire_packets(struct __sk_buff* skb, const struct packet* packet) {
  const __u32 size = skb->gso_size;
  if (!size) return 1;
  const __u32 segments = skb->gso_segs;
  if (segments > 1) return segments;
  __u32 header = packet->transport_at + sizeof(struct udphdr);
  if (packet->protocol == FD_TCP) {
    __u8 words;
    if (bpf_skb_load_bytes(skb, packet->transport_at + 12, &words, 1) < 0) return 1;
    header = packet->transport_at + (words >> 4) * 4;
  }
  return skb->len > header + size ? (skb->len - header + size - 1) / size : 1;
}

/* 0: not for any rule. ARP and discovery keep a host reachable and are never touched. A function of
 * its own: see rule.bpf.h. */
__noinline int read_packet(struct __sk_buff* skb, __u32 header_bytes, struct packet* packet) {
  __u32 at = header_bytes;
  __u16 ethertype = skb->protocol;
  if (!packet) return 0;
  /* What the kernel knows to be IP has no tag in front of it. */
  if (header_bytes != 0 && ethertype != bpf_htons(ETH_P_IP) && ethertype != bpf_htons(ETH_P_IPV6)) {
    if (bpf_skb_load_bytes(skb, 12, &ethertype, sizeof(ethertype)) < 0) return 0;
    for (int tag = 0; tag < 2 && is_vlan(ethertype); ++tag) {
      __be16 bytes[2];
      if (bpf_skb_load_bytes(skb, at, bytes, sizeof(bytes)) < 0) return 0;
      if (tag == 0) {
        packet->vlan_tci = bpf_ntohs(bytes[0]);
        packet->vlan_protocol = ethertype;
      }
      ethertype = bytes[1];
      at += FD_VLAN_BYTES;
      packet->vlan_tags = tag + 1;
    }
  }
  if (ethertype == bpf_htons(ETH_P_IP)) return read_ipv4(skb, at, packet);
  if (ethertype == bpf_htons(ETH_P_IPV6)) return read_ipv6(skb, at, packet);
  return is_vlan(ethertype) ? unread() : 0;
}
