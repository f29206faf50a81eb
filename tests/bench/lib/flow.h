// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "tests/host/lib/netns.h"

namespace firedrill::bench {

/// What became of numbered datagrams.
struct UdpFlow {
  long sent = 0;
  long send_errors = 0;  ///< Calls of send that failed.
  long arrived = 0;
  double seconds = 0;  ///< From the first sent to the last.
  std::vector<double>
      delay_us;  ///< Of each that arrived: the kernel's receive time - the send time.
  double lost_percent() const {
    return sent == 0 ? 0 : 100.0 * static_cast<double>(sent - arrived) / static_cast<double>(sent);
  }
};

/// Where datagrams are sent, and where they are received: somebody between may pass them on.
struct UdpWay {
  std::string send_to, receive_at;  ///< IPv4
  int send_port = 0, receive_port = 0;
};

/// Sends `count` datagrams of 64 bytes from `from` into `to`, evenly, `per_second` of them (0: as
/// fast as can be without overrunning the receiver), and waits for the last `wait_ms`.
UdpFlow SendUdp(const testing::NetNamespace& from, const testing::NetNamespace& to,
                const UdpWay& way, long count, double per_second, int wait_ms);

/// Gbit/s of payload that one TCP connection brings from `from` to `address` in `to` during
/// `seconds`, after `warm_up_seconds`.
double TcpGbits(const testing::NetNamespace& from, const testing::NetNamespace& to,
                const std::string& address, double warm_up_seconds, double seconds);

}  // namespace firedrill::bench
