// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/host/descriptor.h"
#include "agent/traffic/netlink.h"

namespace firedrill::agent {

/// The start of the names of our devices; the owner's pid follows.
inline constexpr char kTapPrefix[] = "fdtap";

/// A private device that the kernel removes when its descriptor goes. What is sent to it is read
/// from the descriptor, behind a virtio_net_hdr: with offloads super-packets (TSO) whole, without
/// them as the wire's packets, their checksums final; what is written arrives on it.
struct Tap {
  /// Up, without addresses, ARP, IPv6 or a queueing discipline. UNIMPLEMENTED: no /dev/net/tun.
  static absl::StatusOr<Tap> Create(Netlink& netlink, bool offloads = true);

  Descriptor fd;  ///< Non-blocking.
  NetworkDevice device;
};

}  // namespace firedrill::agent
