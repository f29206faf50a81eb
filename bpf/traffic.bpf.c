/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Classifiers that lose or delay the packets of chosen rules. fd_egress and fd_ingress stand on the
 * user's devices, fd_return on the delay line. They only ever touch a packet while their owner's
 * lease runs: without it all of them let everything pass.
 */
#include "bpf/hold.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define FD_NOWHERE 0x7ffffff /* no device has this index: dropped, and the sender sees success */

static __always_inline int classify(struct __sk_buff* skb, enum fd_direction direction) {
  const struct fd_hook hook = {.ifindex = skb->ifindex, .direction = direction};
  const struct fd_device* device = bpf_map_lookup_elem(&fd_devices, &hook);
  const struct fd_control* control = first_of(&fd_control);
  if (!device || !control) return FD_NEXT;
  const __u64 now = bpf_ktime_get_ns();
  __u64 rules = device->rules & control->active;
  if (!rules || now >= control->lease_until_ns) return FD_NEXT;
  struct packet packet = {};
  if (!read_packet(skb, device->header_bytes, &packet)) return FD_NEXT;
  rules = matching_rules(control, rules, &packet, direction);
  if (!rules || is_protected(&packet)) return FD_NEXT;
  const __u64 losing = control->losing;
  if (is_lost(skb, rules & losing, now)) return bpf_redirect(FD_NOWHERE, 0);
  const __u64 delay = delay_of(skb, rules & ~losing, now);
  if (!delay) return FD_NEXT;
  return hold(skb, device, control->tap_ifindex, &packet, direction, rules & ~losing, now + delay);
}

SEC("tc")
int fd_egress(struct __sk_buff* skb) {
  const struct fd_control* control = first_of(&fd_control);
  /* What comes out of the delay line was decided about on its way in. */
  if (control && control->tap_ifindex && skb->ingress_ifindex == control->tap_ifindex)
    return FD_NEXT;
  return classify(skb, FD_EGRESS);
}

SEC("tc")
int fd_ingress(struct __sk_buff* skb) {
  if (skb->tc_index == FD_RETURNED) {
    skb->tc_index = 0;
    return FD_NEXT;
  }
  return classify(skb, FD_INGRESS);
}

SEC("tc")
int fd_return(struct __sk_buff* skb) { return give_back(skb); }
