/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the traffic programs in the kernel and their owner in user space share.
 *
 * A rule is one bit in every mask below. A packet's rules are found by and-ing the masks of its
 * device, protocol, addresses and ports, so the cost does not grow with the number of rules.
 * Instants are nanoseconds of CLOCK_MONOTONIC.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

#define FD_MAX_RULES 64
#define FD_MAX_HOOKS 128      /* devices times directions */
#define FD_NEAR_DEVICES 512   /* entries of fd_near: one for each device of 256, and direction */
#define FD_CROWDED 0xffffffff /* as an ifindex in fd_near: several devices share the entry */
#define FD_MAX_PREFIXES 8192  /* of one address family, over all rules */
#define FD_MAX_PROTECTED 256  /* endpoints that no rule touches */
#define FD_PORTS 65536
#define FD_RETURNED 0xfd1d /* skb->tc_index of a packet that comes back from the delay line */
#define FD_ETHERNET_BYTES 14
#define FD_JITTER_STEPS 4096          /* entries of a distribution's table */
#define FD_JITTER_ONE 65536           /* a standard deviation in such an entry */
#define FD_MOST_DELAY_NS 120000000000 /* of one rule, deviation included */

enum fd_direction { FD_EGRESS = 0, FD_INGRESS = 1 };

enum fd_protocol { FD_OTHER = 0, FD_TCP = 1, FD_UDP = 2, FD_ICMP = 3, FD_PROTOCOLS = 4 };

/* What a rule does. Several rules on one packet act in this order. */
enum fd_effect {
  FD_LOSE = 0,
  FD_DNS = 1, /* before all others */
  FD_CORRUPT = 2,
  FD_DUPLICATE = 3,
  FD_SHAPE = 4, /* bandwidth */
  FD_REORDER = 5,
  FD_DELAY = 6,
  FD_COUNT = 7, /* touches nothing */
  FD_EFFECTS = 8,
};

/* The tables of deviations. A uniform one needs none. */
enum fd_distribution { FD_UNIFORM = 0, FD_NORMAL = 1, FD_PARETO = 2, FD_DISTRIBUTIONS = 3 };

/* Whether anything is in force at all, and whose this is. Memory-mapped by the owner. */
struct fd_control {
  __u64 lease_until_ns;          /* nothing is touched from then on */
  __u64 active;                  /* rules in force */
  __u64 effect[FD_EFFECTS];      /* rules that have this effect: each rule has one */
  __u64 wire;                    /* rules that decide about each packet of the wire */
  __u64 sent;                    /* rules that take what this host sends */
  __u64 received;                /* rules that take what it receives */
  __u64 any_address;             /* rules that take any address of the other end */
  __u64 any_local_address;       /* and of this one */
  __u64 excludes_addresses;      /* rules that exclude addresses */
  __u64 any_port;                /* rules that do not ask for a port of either end */
  __u64 any_local_port;          /* of this one */
  __u64 any_remote_port;         /* of the other one */
  __u64 excludes_ports;          /* rules that exclude ports */
  __u64 data_only;               /* rules that take TCP segments with data */
  __u64 syn_only;                /* rules that take TCP segments that open a connection */
  __u64 owned;                   /* rules that take the packets of marked sockets */
  __u64 protocol[FD_PROTOCOLS];  /* rules that take this protocol */
  __u64 injection[FD_MAX_RULES]; /* hash of the injection that has, or last had, the rule */
  __u64 protected_ports;         /* fd_port_bit of each protected end */
  __u64 net_namespace;           /* inode numbers of the owner's namespaces */
  __u64 pid_namespace;
  __u64 owner_start_ticks; /* field 22 of /proc/PID/stat */
  __u32 owner_pid;
  __u32 tap_ifindex; /* the delay line; 0: none */
  __u32
      wire_ifindex; /* the device that makes packets of the wire of what goes through it; 0: none */
  __u32 unused;
};

/* A chance is a number of 2^32: it comes true if a random 32-bit number is below. */
struct fd_rule {
  __u64 until_ns;        /* the rule's own end */
  __u64 seed;            /* 0: the kernel's random numbers; else the same decisions again */
  __u64 chance;          /* of FD_LOSE (in the good state), FD_DNS, FD_CORRUPT, … */
  __u64 every;           /* FD_LOSE: each packet of this number, whatever the chance; 0: none */
  __u64 enter;           /* FD_LOSE: chances to go into the bad state at each packet, */
  __u64 leave;           /* to leave it; both 0: there is none; */
  __u64 bad_chance;      /* and to be lost in it */
  __u64 delay_ns;        /* FD_DELAY, FD_REORDER, FD_DNS */
  __u64 jitter_ns;       /* FD_DELAY: half the width, or a standard deviation */
  __u64 correlation;     /* FD_DELAY: chance that the deviation is that of the packet before */
  __u64 bits_per_second; /* FD_SHAPE */
  __u64 queue_ns;        /* FD_SHAPE: what would wait longer is dropped */
  __u32 distribution;    /* enum fd_distribution */
  __u32 keep_order;      /* FD_DELAY */
  __u32 mend_checksum;   /* FD_CORRUPT */
  __u32 answer;          /* FD_DNS */
};

/* What a rule remembers from packet to packet, of each direction by itself. */
struct fd_state {
  struct bpf_spin_lock lock; /* of what follows, sequence aside */
  __u32 bad;                 /* FD_LOSE: in the bad state */
  __u64 sequence;            /* decisions so far */
  __u64 deviation;           /* FD_DELAY: the last packet's random number, plus 1 */
  __u64 last_deliver_ns;     /* FD_DELAY with keep_order */
  __u64 free_ns;             /* FD_SHAPE: when all that came so far has gone through */
};

/* The rules that take, and those that leave alone, packets with some address or port. */
struct fd_masks {
  __u64 include; /* an address of the other end, a port of either */
  __u64 exclude; /* the same */
  __u64 local;   /* rules that take it at this end */
  __u64 remote;  /* rules that take a port at the other end */
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
  __u32 ifindex;
  __u16 header_bytes; /* in front of the network header: 14 or 0 */
  __u16 loopback;
};

/* The bit of a port in protected_ports; 0 is port 0's alone. */
static inline __u32 fd_port_bit(__u32 port) { return port & 63 ? port & 63 : port != 0; }

/* Where fd_near has a device, if it has it. */
static inline __u32 fd_near_slot(__u32 ifindex, __u32 direction) {
  return (ifindex << 1 | (direction & 1)) & (FD_NEAR_DEVICES - 1);
}

/* Of one rule on one processor. A super-packet (GSO) counts as the packets that the wire sees. */
struct fd_stats {
  __u64 matched_packets;
  __u64 matched_bytes;
  __u64 hit_packets; /* that the effect has befallen */
  __u64 hit_bytes;
  __u64 first_hit_ns;
  __u64 queue_dropped_packets; /* FD_SHAPE: would have waited too long */
  __u64 queue_dropped_bytes;
};

/* Of all rules together on one processor. */
struct fd_totals {
  __u64 later_fragments; /* passed over by rules with ports: they have none */
  __u64 not_held;        /* should have been delayed and went on at once */
  __u64 unread;          /* passed over: more VLAN tags or extension headers than are read */
  __u64 ownerless;       /* passed over by rules with owners: no socket of this host is known */
  __u64 not_returned;    /* came out of the delay line and could not be given back */
};

/*
 * In front of a frame in the delay line and in the wire line. A loopback frame has no room for it:
 * there the 12 bytes of its addresses, zero otherwise, hold deliver_at_ns (in the wire line: rules)
 * and mark.
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
static_assert(sizeof(struct fd_control) == 24 + 64 + 96 + 32 + 512 + 32 + 16,
              "fd_control has no hidden padding");
static_assert(sizeof(struct fd_rule) == 96 + 16, "fd_rule has no hidden padding");
static_assert(sizeof(struct fd_state) == 40, "fd_state has no hidden padding");
static_assert(sizeof(struct fd_masks) == 32, "fd_masks has no hidden padding");
static_assert(sizeof(struct fd_prefix4) == 8, "fd_prefix4 is a key of an LPM trie");
static_assert(sizeof(struct fd_prefix6) == 20, "fd_prefix6 is a key of an LPM trie");
static_assert(sizeof(struct fd_endpoint) == 20, "fd_endpoint is a key without hidden padding");
static_assert(sizeof(struct fd_hook) == 8, "fd_hook is a key without hidden padding");
static_assert(sizeof(struct fd_device) == 16, "fd_device has no hidden padding");
static_assert(sizeof(struct fd_stats) == 56, "fd_stats has no hidden padding");
static_assert(sizeof(struct fd_totals) == 40, "fd_totals has no hidden padding");
static_assert(sizeof(struct fd_held) == 48, "fd_held has no hidden padding");
#endif
