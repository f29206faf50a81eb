// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/host/descriptor.h"
#include "tests/host/lib/netns.h"

namespace firedrill::testing {

/// A bound UDP socket in `space`; port 0: any.
class UdpSocket {
 public:
  UdpSocket(const NetNamespace& space, const std::string& address, int port = 0);
  /// Binds `socket`, of the right family, in the namespace in which it was made.
  UdpSocket(agent::Descriptor socket, const std::string& address, int port = 0);
  const sockaddr_storage& address() const { return address_; }
  int fd() const { return fd_.get(); }
  /// The number of datagrams that came until `wait_ms` passed without any.
  int Drain(int wait_ms) const;

 private:
  void Bind(const std::string& address);

  agent::Descriptor fd_;
  sockaddr_storage address_{};
};

/// Sends and receives UDP packets in Ethernet frames with an IEEE 802.1Q tag.
class TaggedSocket {
 public:
  TaggedSocket(const NetNamespace& space, const std::string& device);
  struct Arrival {
    int tag = 0;
    double delay_ms = 0;
  };
  /// Broadcasts a frame; the number that is in it.
  std::uint32_t SendTagged(int tag) const;
  /// The frame with this number; none if it did not come in time.
  std::optional<Arrival> AwaitTag(std::uint32_t number, int wait_ms) const;

 private:
  agent::Descriptor fd_;
  int device_index_ = 0;
};

/// What became of numbered datagrams.
struct Delivery {
  int sent = 0;
  int send_errors = 0;
  int arrived = 0;  ///< Each number once.
  int duplicates = 0;
  bool in_order = true;
  std::vector<double> delays_ms;       ///< Of each that arrived, in the order of arrival.
  double sending_ms = 0;               ///< From the first that was sent to the last.
  double worst_send_ms = 0;            ///< The longest that a send took: part of that one's delay.
  double span_ms = 0;                  ///< From the first that was sent to the last arrival.
  std::vector<std::uint32_t> numbers;  ///< Of each that arrived, in the same order; from 0.
  /// The share that did not arrive.
  double LostShare() const { return sent == 0 ? 0 : 1.0 - static_cast<double>(arrived) / sent; }
  /// The delay that a share of the arrived did not exceed.
  double Quantile(double share) const;
  double MeanDelay() const;
  /// Of each number that was sent; none if it did not arrive.
  std::vector<std::optional<double>> DelaysByNumber() const;
};

/// Sends `count` datagrams of `size` bytes in bursts of `burst`, with `gap_us` after each burst,
/// and receives until `wait_ms` passed without any.
Delivery Send(const UdpSocket& from, const UdpSocket& to, int count, int wait_ms = 50,
              int burst = 50, int gap_us = 0, int size = 64);

/// How far a share of `count` trials may be from `probability`: five standard deviations (a false
/// alarm in 1.7 million), and one trial.
double Tolerance(double probability, int count);

/// Answers to `count` echo requests by ICMP, or ICMPv6, from the calling thread's namespace.
int Ping(const std::string& address, int count, int wait_ms = 100);

/// The kernel's counter of datagrams that `space` received with a wrong checksum.
long UdpChecksumErrors(const NetNamespace& space, bool ipv6);

/// Sends `segments` datagrams of `size` bytes as one super-packet (UDP_SEGMENT).
void SendSegments(const UdpSocket& from, const UdpSocket& to, int segments, int size);

/// Whether a TCP connection from the calling thread's namespace to an echo server in `space` comes
/// up within the time and gives back what it is told.
struct TcpResult {
  bool connected = false;
  double connect_ms = 0;
  double megabit_per_second = 0;
  std::uint32_t retransmits = 0;
};
/// Opens a connection to a listener in `space` and pushes `bytes` through it.
TcpResult PushTcp(const NetNamespace& space, const std::string& address, int port,
                  std::size_t bytes, int timeout_ms);

}  // namespace firedrill::testing
