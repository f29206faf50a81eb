/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which rules a packet belongs to. */
#pragma once

#include "bpf/maps.bpf.h"
#include "bpf/packet.bpf.h"
#include "bpf/rule.bpf.h"

static __always_inline __u64 rules_of_address(const struct fd_control* control,
                                              const struct packet* packet, const __u8* address) {
  const struct fd_masks* masks;
  if (packet->ipv4) {
    struct fd_prefix4 key = {.bits = 32};
    __builtin_memcpy(key.address, address + 12, sizeof(key.address));
    masks = bpf_map_lookup_elem(&fd_prefixes4, &key);
  } else {
    struct fd_prefix6 key = {.bits = 128};
    __builtin_memcpy(key.address, address, sizeof(key.address));
    masks = bpf_map_lookup_elem(&fd_prefixes6, &key);
  }
  if (!masks) return control->any_address;
  return (control->any_address | masks->include) & ~masks->exclude;
}

static __always_inline __u64 rules_of_ports(const struct fd_control* control,
                                            const struct packet* packet) {
  if (!packet->has_ports)
    return control->any_port & ~(packet->later_fragment ? control->excludes_ports : 0);
  const struct fd_masks* source = bpf_map_lookup_elem(&fd_ports, &packet->source_port);
  const struct fd_masks* destination = bpf_map_lookup_elem(&fd_ports, &packet->destination_port);
  if (!source || !destination) return 0;
  return (control->any_port | source->include | destination->include) &
         ~(source->exclude | destination->exclude);
}

static __always_inline int is_protected_end(const __u8* address, __u32 port) {
  struct fd_endpoint end = {.port = port};
  __builtin_memcpy(end.address, address, sizeof(end.address));
  return bpf_map_lookup_elem(&fd_protected, &end) != 0;
}

/* The agent's own stream, whichever end of it this host is. */
static __always_inline int is_protected(const struct packet* packet) {
  if (!packet->has_ports && !packet->later_fragment) return 0;
  return is_protected_end(packet->source, packet->source_port) ||
         is_protected_end(packet->destination, packet->destination_port);
}

static __always_inline __u64 matching_rules(const struct fd_control* control, __u64 rules,
                                            const struct packet* packet,
                                            enum fd_direction direction) {
  const __u8* peer = direction == FD_EGRESS ? packet->destination : packet->source;
  __u64 matched;
  rules &= control->protocol[packet->protocol & (FD_PROTOCOLS - 1)];
  if (!rules) return 0;
  rules &= rules_of_address(control, packet, peer);
  if (!rules) return 0;
  matched = rules & rules_of_ports(control, packet);
  if (packet->later_fragment && matched != rules) {
    struct fd_totals* sum = totals();
    if (sum) sum->later_fragments += 1;
  }
  return matched;
}
