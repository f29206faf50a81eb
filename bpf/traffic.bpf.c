/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Classifiers that do to the packets of chosen rules what the rules say. fd_egress and fd_ingress
 * stand on the user's devices, fd_return on the delay line, fd_wire on the device behind which
 * packets are those of the wire. They only ever touch a packet while their owner's lease runs:
 * without it all of them let everything pass.
 *
 * Several rules on one packet act in this order: dns, loss, corruption, duplication, bandwidth,
 * reordering, delay; if one of them decides about packets of the wire, all but dns do.
 */
#include "bpf/corrupt.bpf.h"
#include "bpf/count.bpf.h"
#include "bpf/delay.bpf.h"
#include "bpf/dns.bpf.h"
#include "bpf/duplicate.bpf.h"
#include "bpf/hold.bpf.h"
#include "bpf/lose.bpf.h"
#include "bpf/match.bpf.h"
#include "bpf/reorder.bpf.h"
#include "bpf/shape.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline int is_lost(const struct fd_control* control, __u64 rules,
                                   struct passage* passage) {
  const __u64 losing = rules & control->effect[FD_LOSE];
  return losing && lose(passage, losing);
}

/* 1: a queue has no room for the packet. Otherwise passage says when it goes on, and how often. */
static __always_inline int is_dropped_or_timed(const struct fd_control* control, __u64 rules,
                                               struct passage* passage) {
  const __u64 duplicating = rules & control->effect[FD_DUPLICATE];
  const __u64 shaping = rules & control->effect[FD_SHAPE];
  const __u64 reordering = rules & control->effect[FD_REORDER];
  const __u64 delaying = rules & control->effect[FD_DELAY];
  if (duplicating) duplicate(passage, duplicating);
  if (shaping && shape(passage, shaping)) return 1;
  if (reordering) reorder(passage, reordering);
  if (delaying) delay(passage, delaying);
  return 0;
}

/* Rules that hold packets back by themselves, dns aside. */
static __always_inline __u64 delaying_rules(const struct fd_control* control) {
  return control->effect[FD_SHAPE] | control->effect[FD_REORDER] | control->effect[FD_DELAY];
}

/* A function of its own: what passes untouched must not pay for its stack. */
__noinline int classify(struct __sk_buff* skb, __u32 direction) {
  const struct fd_device* found = device_of(skb->ifindex, direction);
  const struct fd_control* control = first_of(&fd_control);
  if (!found || !control) return FD_NEXT;
  const struct fd_device here = *found, *device = &here;
  __u64 rules = device->rules & control->active;
  struct packet packet = {};
  if (!rules || !read_packet(skb, device->header_bytes, &packet)) return FD_NEXT;
  rules = matching_rules(skb, control, device, rules, &packet, direction);
  if (!rules || is_protected(control, &packet)) return FD_NEXT;
  /* To the kernel's tick, some milliseconds, is enough to end a lease, and costs a tenth. */
  const __u64 timing = rules & (delaying_rules(control) | control->effect[FD_DNS] | control->wire);
  struct passage passage = {.now = timing ? bpf_ktime_get_ns() : bpf_ktime_get_coarse_ns(),
                            .direction = direction};
  if (passage.now >= control->lease_until_ns) return FD_NEXT;
  passage.deliver_at_ns = passage.now;
  passage.packets = wire_packets(skb, &packet);
  passage.bytes = skb->len;

  const __u64 counting = rules & control->effect[FD_COUNT];
  if (counting) count(&passage, counting);
  const __u64 of_dns = rules & control->effect[FD_DNS];
  if (of_dns) {
    const int verdict = act_on_query(skb, &packet, &passage, of_dns);
    if (verdict != FD_NEXT) return verdict;
  }
  /* The end of a rule releases what it holds: nothing of a rule that delays nothing. */
  const __u64 late = passage.deliver_at_ns > passage.now ? of_dns : 0;
  rules &= ~(counting | of_dns);
  /* A loopback frame on the wire line has no room for its time: held back, it goes around it. */
  if (rules & control->wire && !(late && device->loopback))
    return send_to_wire(skb, device, control->wire_ifindex, &packet, &passage, rules | late);
  if (is_lost(control, rules, &passage)) return bpf_redirect(FD_NOWHERE, 0);
  if (is_dropped_or_timed(control, rules, &passage)) return bpf_redirect(FD_NOWHERE, 0);
  if (passage.deliver_at_ns > passage.now) {
    const __u64 holding = (rules & delaying_rules(control)) | late;
    return hold(skb, device, control->tap_ifindex, &packet, &passage, holding);
  }
  return passage.copies ? send_copies(skb, &passage) : FD_NEXT;
}

SEC("tc")
int fd_egress(struct __sk_buff* skb) {
  if (is_own_copy(skb) || !device_of(skb->ifindex, FD_EGRESS)) return FD_NEXT;
  const struct fd_control* control = first_of(&fd_control);
  const __u32 from = skb->ingress_ifindex;
  /* What comes out of the lines was decided about on its way in. */
  if (control && from && (from == control->tap_ifindex || from == control->wire_ifindex))
    return FD_NEXT;
  return classify(skb, FD_EGRESS);
}

SEC("tc")
int fd_ingress(struct __sk_buff* skb) {
  if (is_own_copy(skb) || !device_of(skb->ifindex, FD_INGRESS)) return FD_NEXT;
  return classify(skb, FD_INGRESS);
}

SEC("tc")
int fd_return(struct __sk_buff* skb) { return give_back(skb); }

/* A packet of the wire, on its way from where it was taken to where it was to go. */
SEC("tc")
int fd_wire(struct __sk_buff* skb) {
  const struct fd_control* control = first_of(&fd_control);
  struct on_wire wire = {};
  if (!control || !open_wire(skb, &wire)) return drop_unreturned();
  struct passage passage = {.now = bpf_ktime_get_ns(),
                            .deliver_at_ns = wire.deliver_at_ns,
                            .packets = 1,
                            .bytes = skb->len - wire.stamp_bytes,
                            .direction = wire.direction};
  if (!passage.deliver_at_ns) passage.deliver_at_ns = passage.now;
  const __u64 rules = wire.rules & control->active;
  if (!rules || passage.now >= control->lease_until_ns) return leave_wire(skb, &wire);
  /* What was held back before (dns) still is; time spent on the way here counts. */
  if (is_lost(control, rules, &passage)) return FD_DROP;
  const __u64 corrupting = rules & control->effect[FD_CORRUPT];
  if (corrupting) corrupt(skb, &passage, wire.stamp_bytes, corrupting);
  if (is_dropped_or_timed(control, rules, &passage)) return FD_DROP;
  if (passage.deliver_at_ns <= passage.now && !passage.copies) return leave_wire(skb, &wire);
  return hold_on_wire(skb, &wire, control->tap_ifindex, &passage,
                      rules & (delaying_rules(control) | control->effect[FD_DNS]));
}
