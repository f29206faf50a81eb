/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the traffic programs in the kernel and their owner in user space share.
 *
 * A rule is one bit in every mask below. A packet's rules are found by and-ing the masks of its
 * device, protocol, addresses and ports, so the cost does not grow with the number of rules.
 * Instants are nanoseconds of CLOCK_MONOTONIC.
 */
#pragma once

#include <linux/types.h>

#define FD_MAX_RULES 64
#define FD_MAX_HOOKS 128     /* devices times directions */
#define FD_MAX_PREFIXES 8192 /* of one address family, over all rules */
#define FD_MAX_PROTECTED 256 /* endpoints that no rule touches */
#define FD_PORTS 65536
#define FD_RETURNED 0xfd1d /* skb->tc_index of a packet that comes back from the delay line */
#define FD_ETHERNET_BYTES 14

enum fd_direction { FD_EGRESS = 0, FD_INGRESS = 1 };

enum fd_protocol { FD_OTHER = 0, FD_TCP = 1, FD_UDP = 2, FD_ICMP = 3, FD_PROTOCOLS = 4 };

/* Whether anything is in force at all, and whose this is. Memory-mapped by the owner. */
struct fd_control {
  __u64 lease_until_ns;          /* nothing is touched from then on */
  __u64 active;                  /* rules in force */
  __u64 losing;                  /* rules that lose packets; the others delay them */
  __u64 any_address;             /* rules that do not restrict addresses */
  __u64 any_port;                /* rules that do not restrict ports */
  __u64 excludes_ports;          /* rules that exclude ports */
  __u64 protocol[FD_PROTOCOLS];  /* rules that take this protocol */
  __u64 injection[FD_MAX_RULES]; /* hash of the injection that has, or last had, the rule */
  __u64 net_namespace;           /* inode numbers of the owner's namespaces */
  __u64 pid_namespace;
  __u64 owner_start_ticks; /* field 22 of /proc/PID/stat */
  __u32 owner_pid;
  __u32 tap_ifindex; /* the delay line; 0: none */
};

struct fd_rule {
  __u64 until_ns;       /* the rule's own end */
  __u64 loss_threshold; /* a packet is lost if a random 32-bit number is below; 2^32: all */
  __u64 delay_ns;
  __u64 jitter_ns; /* the delay deviates by up to so much, uniformly, either way */
};

/* The rules that take, and those that leave alone, packets with some address or port. */
struct fd_masks {
  __u64 include;
  __u64 exclude;
};

struct fd_prefix4 {
  __u32 bits;
  __u8 address[4];
};

struct fd_prefix6 {
  __u32 bits;
  __u8 address[16];
};

/* Port 0 stands for the address alone: a later fragment has no port. */
struct fd_endpoint {
  __u8 address[16]; /* IPv4 as ::ffff:a.b.c.d */
  __u16 port;
  __u16 unused;
};

struct fd_hook {
  __u32 ifindex;
  __u32 direction;
};

struct fd_device {
  __u64 rules;
  __u32 header_bytes; /* in front of the network header: 14 or 0 */
  __u32 loopback;
};

/* Of one rule on one processor. A super-packet (GSO) counts as the packets that the wire sees. */
struct fd_stats {
  __u64 matched_packets;
  __u64 matched_bytes;
  __u64 hit_packets; /* lost, or given to the delay line */
  __u64 hit_bytes;
  __u64 first_hit_ns;
};

/* Of all rules together on one processor. */
struct fd_totals {
  __u64 later_fragments; /* passed over by rules with ports: they have none */
  __u64 not_held;        /* should have been delayed and went on at once */
  __u64 not_returned;    /* came out of the delay line and could not be given back */
};

/*
 * In front of a frame in the delay line. A loopback frame has no room for it: there the 12 bytes of
 * its addresses, zero otherwise, hold deliver_at_ns and mark.
 */
struct fd_held {
  __u8 zero[12];
  __u16 ethertype; /* of the frame, network order, where a frame has it */
  __u16 direction;
  __u32 ifindex; /* where the frame was taken and goes back to */
  __u32 mark;
  __u64 deliver_at_ns;
  __u64 rules; /* that delay it */
  __u32 priority;
  __u16 vlan_tci; /* a tag that was taken off, if vlan_protocol is not 0 */
  __u16 vlan_protocol;
};

#ifdef __cplusplus
static_assert(sizeof(struct fd_control) == 48 + 32 + 512 + 24 + 8,
              "fd_control has no hidden padding");
static_assert(sizeof(struct fd_rule) == 32, "fd_rule has no hidden padding");
static_assert(sizeof(struct fd_masks) == 16, "fd_masks has no hidden padding");
static_assert(sizeof(struct fd_prefix4) == 8, "fd_prefix4 is a key of an LPM trie");
static_assert(sizeof(struct fd_prefix6) == 20, "fd_prefix6 is a key of an LPM trie");
static_assert(sizeof(struct fd_endpoint) == 20, "fd_endpoint is a key without hidden padding");
static_assert(sizeof(struct fd_hook) == 8, "fd_hook is a key without hidden padding");
static_assert(sizeof(struct fd_device) == 16, "fd_device has no hidden padding");
static_assert(sizeof(struct fd_stats) == 40, "fd_stats has no hidden padding");
static_assert(sizeof(struct fd_totals) == 24, "fd_totals has no hidden padding");
static_assert(sizeof(struct fd_held) == 48, "fd_held has no hidden padding");
#endif
