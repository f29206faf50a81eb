/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the part of the traffic programs that knows DNS (RFC 1035) shares with its owner.
 *
 * A rule's names stand in a table by the hash of the name as it is sent, lower-cased, from its end
 * to its beginning: so one walk over the name of a query meets the hashes of all that it is below.
 */
#pragma once

#include <linux/types.h>

#define FD_DNS_MAX_NAMES 2048 /* of all rules together */
#define FD_DNS_MAX_BYTES 255  /* of a name as it is sent, its end included */

/* Of the name of the root, to which every name belongs: rules for any name stand there. */
#define FD_DNS_ROOT 0xcbf29ce484222325ull

/* fd_rule.answer. The two that answer have their response codes' numbers. */
enum fd_dns_answer {
  FD_DNS_NONE = 0,
  FD_DNS_LATE = 1,
  FD_DNS_SERVFAIL = 2,
  FD_DNS_NXDOMAIN = 3,
  FD_DNS_COUNTED = 4, /* nothing is done to it */
};

/* The hash of a name with one byte more in front of it: FNV-1a. */
static inline __u64 fd_dns_hash(__u64 hash, __u8 byte) { return (hash ^ byte) * 0x100000001b3ull; }

/* Of one rule on one processor. */
struct fd_dns_stats {
  __u64 queries_matched;       /* with a name that was chosen */
  __u64 queries_hit;           /* dropped, answered or held back */
  __u64 malformed_passed;      /* to a chosen server, and no query that could be read */
  __u64 tcp_queries_untouched; /* matched, but only UDP is answered */
};

#ifdef __cplusplus
static_assert(sizeof(struct fd_dns_stats) == 32, "fd_dns_stats has no hidden padding");
#endif
