/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs that let calls of sockets fail, and their owner in user space, share. One set
 * of programs a fault. Instants are nanoseconds of CLOCK_MONOTONIC.
 */
#pragma once

#include <linux/types.h>

#define FD_CONNECTION_MAX_PREFIXES 4096
#define FD_CONNECTION_MAX_ENDPOINTS 256
#define FD_CONNECTION_MAX_SPARED 65536
#define FD_CONNECTION_PORT_WORDS 1024 /* a bit a port */

/* Bits of fd_connection.operations. */
enum fd_connection_operation {
  FD_CONNECTION_CONNECT = 1,
  FD_CONNECTION_SEND = 2,
  FD_CONNECTION_CREATE = 4
};

/* A process whose calls never fail: with all that it starts, or alone. */
enum fd_connection_spared { FD_CONNECTION_SPARED = 1, FD_CONNECTION_SPARED_ALONE = 2 };

/* The fault. Memory-mapped by its owner. */
struct fd_connection {
  __u64 lease_until_ns; /* no call fails from then on */
  __u64 until_ns;       /* the fault's own end */
  __u64 threshold;      /* a call fails if a random 32-bit number is below; 2^32: all */
  __u64 injection;      /* hash of the injection */
  __u64 pid_namespace;  /* inode number of the owner's */
  __u64 owner_start_ticks;
  __u32 owner_pid;
  __u32 error;      /* a positive number of errno.h; 0: calls are counted only */
  __u32 operations; /* enum fd_connection_operation */
  __u32 any_address;
  __u32 any_port;
  __u32 any_process; /* else those of rule 0 in bpf/owner.bpf.h's tables */
  __u64 ports[FD_CONNECTION_PORT_WORDS];
};

/* A key of an LPM trie: first the family, so that ::/0 holds no IPv4 address. */
struct fd_connection_prefix {
  __u32 bits; /* those of `family` included */
  __u32 family;
  __u8 address[16]; /* IPv4 in the first four bytes */
};

struct fd_connection_endpoint {
  __u32 family;
  __u32 port;
  __u8 address[16];
};

/* Of one processor. */
struct fd_connection_stats {
  __u64 matched; /* calls */
  __u64 failed;
  __u64 first_failed_ns;
};

#ifdef __cplusplus
static_assert(sizeof(struct fd_connection) == 48 + 24 + 8 * FD_CONNECTION_PORT_WORDS,
              "fd_connection has no hidden padding");
static_assert(sizeof(struct fd_connection_prefix) == 24, "a key of an LPM trie");
static_assert(sizeof(struct fd_connection_endpoint) == 24, "a key without hidden padding");
static_assert(sizeof(struct fd_connection_stats) == 24, "no hidden padding");
#endif
