// SPDX-License-Identifier: Apache-2.0
#include "tests/host/lib/packets.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <numeric>
#include <set>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace firedrill::testing {
namespace {

using agent::Descriptor;

[[noreturn]] void Fail(const std::string& action) {
  throw std::system_error(errno, std::generic_category(), action);
}

std::int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

sockaddr_storage ToAddress(const std::string& text, int port) {
  sockaddr_storage storage{};
  auto* ipv4 = reinterpret_cast<sockaddr_in*>(&storage);
  auto* ipv6 = reinterpret_cast<sockaddr_in6*>(&storage);
  if (inet_pton(AF_INET, text.c_str(), &ipv4->sin_addr) == 1) {
    ipv4->sin_family = AF_INET;
    ipv4->sin_port = htons(static_cast<std::uint16_t>(port));
  } else if (inet_pton(AF_INET6, text.c_str(), &ipv6->sin6_addr) == 1) {
    ipv6->sin6_family = AF_INET6;
    ipv6->sin6_port = htons(static_cast<std::uint16_t>(port));
  } else {
    throw std::runtime_error("not an address: " + text);
  }
  return storage;
}

socklen_t SizeOf(const sockaddr_storage& address) {
  return address.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
}

const sockaddr* Generic(const sockaddr_storage& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

bool Readable(int fd, int wait_ms) {
  pollfd polled{fd, POLLIN, 0};
  return poll(&polled, 1, wait_ms) > 0;
}

struct Datagram {
  std::uint32_t number;
  std::uint32_t run;
  std::int64_t sent_ns;
};

Descriptor Listen(const NetNamespace& space, const sockaddr_storage& address) {
  Descriptor listener;
  RunIn(space, [&] {
    listener = Descriptor(socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int yes = 1;
    setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(listener.get(), Generic(address), SizeOf(address)) < 0 ||
        listen(listener.get(), 8) < 0)
      Fail("listen");
  });
  return listener;
}

void SetTimeout(int fd, int milliseconds) {
  const timeval limit{.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

}  // namespace

UdpSocket::UdpSocket(const NetNamespace& space, const std::string& address, int port)
    : address_(ToAddress(address, port)) {
  RunIn(space, [&] {
    fd_ = Descriptor(socket(address_.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    Bind(address);
  });
}

UdpSocket::UdpSocket(Descriptor socket, const std::string& address, int port)
    : fd_(std::move(socket)), address_(ToAddress(address, port)) {
  Bind(address);
}

void UdpSocket::Bind(const std::string& address) {
  const int buffer = 16 << 20;
  setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
  setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer));
  // Without it UDP keeps to itself that the device took a packet for lost (ENOBUFS).
  const int yes = 1;
  const bool ipv4 = address_.ss_family == AF_INET;
  setsockopt(fd_.get(), ipv4 ? int{IPPROTO_IP} : int{IPPROTO_IPV6},
             ipv4 ? IP_RECVERR : IPV6_RECVERR, &yes, sizeof(yes));
  socklen_t size = sizeof(address_);
  if (bind(fd_.get(), Generic(address_), SizeOf(address_)) < 0) Fail("bind " + address);
  getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address_), &size);
}

int UdpSocket::Drain(int wait_ms) const {
  int count = 0;
  char byte = 0;
  while (Readable(fd(), wait_ms)) count += recv(fd(), &byte, 1, 0) >= 0 ? 1 : 0;
  return count;
}

TaggedSocket::TaggedSocket(const NetNamespace& space, const std::string& device) {
  RunIn(space, [&] {
    fd_ = Descriptor(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)));
    device_index_ = static_cast<int>(if_nametoindex(device.c_str()));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = device_index_;
    const int yes = 1;
    setsockopt(fd_.get(), SOL_PACKET, PACKET_AUXDATA, &yes, sizeof(yes));
    if (bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0)
      Fail("bind to " + device);
  });
}

namespace {

struct [[gnu::packed]] TaggedFrame {
  std::uint8_t destination[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  std::uint8_t source[6] = {2, 0, 0, 0, 0, 1};
  std::uint16_t tag_protocol = htons(ETH_P_8021Q);
  std::uint16_t tag = 0;
  std::uint16_t ethertype = htons(ETH_P_IP);
  std::uint8_t ip[20] = {
      0x45, 0, 0, 20 + 8 + sizeof(Datagram), 0, 0, 0, 0, 64, IPPROTO_UDP, 0, 0, 10, 74, 0, 1, 10,
      74,   0, 2};
  std::uint8_t udp[8] = {0x1b, 0x59, 0x1b, 0x59, 0, 8 + sizeof(Datagram), 0, 0};
  Datagram datagram{};
};

constexpr std::size_t kUntaggedPayloadAt = offsetof(TaggedFrame, datagram) - 4;

}  // namespace

std::uint32_t TaggedSocket::SendTagged(int tag) const {
  static std::uint32_t sent = 0;
  TaggedFrame frame;
  frame.tag = htons(static_cast<std::uint16_t>(tag));
  frame.datagram = {++sent, 0x7a66, NowNs()};
  if (send(fd_.get(), &frame, sizeof(frame), 0) < 0) Fail("send a tagged frame");
  return sent;
}

std::optional<TaggedSocket::Arrival> TaggedSocket::AwaitTag(std::uint32_t number,
                                                            int wait_ms) const {
  while (Readable(fd_.get(), wait_ms)) {
    std::array<char, 2048> frame{};
    alignas(cmsghdr) std::array<char, 256> control{};
    iovec part{frame.data(), frame.size()};
    sockaddr_ll sender{};
    msghdr message{};
    message.msg_name = &sender;
    message.msg_namelen = sizeof(sender);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    if (recvmsg(fd_.get(), &message, 0) < 0 || sender.sll_pkttype == PACKET_OUTGOING) continue;
    Datagram datagram{};
    std::memcpy(&datagram, frame.data() + kUntaggedPayloadAt, sizeof(datagram));
    const cmsghdr* head = CMSG_FIRSTHDR(&message);
    if (datagram.number != number || datagram.run != 0x7a66 || head == nullptr) continue;
    tpacket_auxdata data{};
    std::memcpy(&data, CMSG_DATA(head), sizeof(data));
    return Arrival{(data.tp_status & TP_STATUS_VLAN_VALID) != 0 ? data.tp_vlan_tci : -1,
                   static_cast<double>(NowNs() - datagram.sent_ns) / 1e6};
  }
  return std::nullopt;
}

double Delivery::Quantile(double share) const {
  if (delays_ms.empty()) return NAN;
  std::vector<double> sorted = delays_ms;
  std::sort(sorted.begin(), sorted.end());
  return sorted[std::min(sorted.size() - 1,
                         static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
}

double Delivery::MeanDelay() const {
  return std::accumulate(delays_ms.begin(), delays_ms.end(), 0.0) /
         static_cast<double>(delays_ms.size());
}

std::vector<std::optional<double>> Delivery::DelaysByNumber() const {
  std::vector<std::optional<double>> delays(static_cast<std::size_t>(sent));
  for (std::size_t at = 0; at < numbers.size(); ++at) delays.at(numbers[at]) = delays_ms[at];
  return delays;
}

long UdpChecksumErrors(const NetNamespace& space, bool ipv6) {
  long errors = -1;
  RunIn(space, [&] {
    std::ifstream file(ipv6 ? "/proc/thread-self/net/snmp6" : "/proc/thread-self/net/snmp");
    if (ipv6) {
      std::string name;
      long value = 0;
      while (file >> name >> value) errors = name == "Udp6InCsumErrors" ? value : errors;
      return;
    }
    // Two lines that begin with "Udp:": of names, and of their values.
    std::string names, values;
    while (std::getline(file, names) && std::getline(file, values)) {
      if (!names.starts_with("Udp:")) continue;
      std::istringstream name_words(names), value_words(values);
      std::string name, value;
      while (name_words >> name && value_words >> value) {
        if (name == "InCsumErrors") errors = std::stol(value);
      }
    }
  });
  if (errors < 0) throw std::runtime_error("the kernel counts no checksum errors");
  return errors;
}

void SendSegments(const UdpSocket& from, const UdpSocket& to, int segments, int size) {
  constexpr int kUdpSegment = 103;  // UDP_SEGMENT of linux/udp.h
  if (setsockopt(from.fd(), IPPROTO_UDP, kUdpSegment, &size, sizeof(size)) < 0)
    Fail("set UDP_SEGMENT");
  const std::vector<char> buffer(static_cast<std::size_t>(segments * size), 's');
  if (sendto(from.fd(), buffer.data(), buffer.size(), 0, Generic(to.address()),
             SizeOf(to.address())) < 0)
    Fail("send segments");
  const int none = 0;
  setsockopt(from.fd(), IPPROTO_UDP, kUdpSegment, &none, sizeof(none));
}

namespace {

// How far the wall clock, by which the kernel stamps what arrives, is ahead of the steady one.
// Asked for each packet: wall clocks are stepped.
std::int64_t WallAhead() {
  std::int64_t ahead = 0, best = INT64_MAX;
  for (int attempt = 0; attempt < 5; ++attempt) {
    const std::int64_t before = NowNs();
    timespec wall{};
    clock_gettime(CLOCK_REALTIME, &wall);
    const std::int64_t after = NowNs();
    if (after - before >= best) continue;
    best = after - before;
    ahead = wall.tv_sec * 1'000'000'000 + wall.tv_nsec - (before + after) / 2;
  }
  return ahead;
}

// Receives a datagram; when it came, by the steady clock: as the kernel has stamped it, so that a
// busy machine, on which the caller waits for a processor, does not look like a late packet.
std::optional<std::int64_t> Receive(int fd, std::int64_t wall_ahead, Datagram& datagram) {
  alignas(cmsghdr) std::array<char, 256> control{};
  iovec part{&datagram, sizeof(datagram)};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (recvmsg(fd, &message, 0) < 0) return std::nullopt;
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr;
       head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_TIMESTAMPNS) continue;
    timespec stamp{};
    std::memcpy(&stamp, CMSG_DATA(head), sizeof(stamp));
    return stamp.tv_sec * 1'000'000'000 + stamp.tv_nsec - wall_ahead;
  }
  return NowNs();
}

}  // namespace

Delivery Send(const UdpSocket& from, const UdpSocket& to, int count, int wait_ms, int burst,
              int gap_us, int size) {
  static std::uint32_t runs = 0;
  const std::uint32_t run = ++runs;
  Delivery delivery;
  std::set<std::uint32_t> seen;
  std::uint32_t highest = 0;
  const std::int64_t start = NowNs();
  std::vector<char> buffer(static_cast<std::size_t>(std::max<int>(size, sizeof(Datagram))));
  const auto receive = [&](int wait) {
    while (Readable(to.fd(), wait)) {
      Datagram datagram{};
      const std::optional<std::int64_t> came = Receive(to.fd(), WallAhead(), datagram);
      if (!came || datagram.run != run) continue;
      if (!seen.insert(datagram.number).second) {
        ++delivery.duplicates;
        continue;
      }
      if (datagram.number < highest) delivery.in_order = false;
      highest = std::max(highest, datagram.number);
      delivery.numbers.push_back(datagram.number);
      delivery.span_ms = static_cast<double>(*came - start) / 1e6;
      delivery.delays_ms.push_back(static_cast<double>(*came - datagram.sent_ns) / 1e6);
    }
  };
  for (int number = 0; number < count; ++number) {
    const Datagram datagram{static_cast<std::uint32_t>(number), run, NowNs()};
    std::memcpy(buffer.data(), &datagram, sizeof(datagram));
    const ssize_t sent = sendto(from.fd(), buffer.data(), buffer.size(), 0, Generic(to.address()),
                                SizeOf(to.address()));
    delivery.worst_send_ms =
        std::max(delivery.worst_send_ms, static_cast<double>(NowNs() - datagram.sent_ns) / 1e6);
    ++delivery.sent;
    if (sent < 0) ++delivery.send_errors;
    if ((number + 1) % burst != 0) continue;
    const std::int64_t next = NowNs() + gap_us * 1000;
    do {
      receive(0);
      const std::int64_t left_ms = (next - NowNs()) / 1'000'000;
      if (left_ms > 0) receive(static_cast<int>(std::min<std::int64_t>(left_ms, 1)));
    } while (NowNs() < next);
  }
  delivery.sending_ms = static_cast<double>(NowNs() - start) / 1e6;
  receive(wait_ms);
  delivery.arrived = static_cast<int>(seen.size());
  return delivery;
}

double Tolerance(double probability, int count) {
  return 5 * std::sqrt(probability * (1 - probability) / count) + 1.0 / count;
}

int Ping(const std::string& address, int count, int wait_ms) {
  const sockaddr_storage to = ToAddress(address, 0);
  const bool ipv4 = to.ss_family == AF_INET;
  const Descriptor fd(socket(to.ss_family, SOCK_RAW | SOCK_CLOEXEC,
                             ipv4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6}));
  if (!fd.valid()) Fail("open an ICMP socket");
  int answers = 0;
  for (int number = 0; number < count; ++number) {
    std::uint8_t request[8] = {};
    request[0] = ipv4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
    request[5] = 0x7d;
    request[7] = static_cast<std::uint8_t>(number);
    if (ipv4) {  // The kernel fills in ICMPv6's checksum only.
      std::uint32_t sum = 0;
      for (int at = 0; at < 8; at += 2)
        sum += static_cast<std::uint32_t>(request[at] << 8 | request[at + 1]);
      const std::uint32_t checksum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
      request[2] = static_cast<std::uint8_t>(checksum >> 8);
      request[3] = static_cast<std::uint8_t>(checksum);
    }
    sendto(fd.get(), request, sizeof(request), 0, Generic(to), SizeOf(to));
    const std::int64_t until = NowNs() + wait_ms * 1'000'000ll;
    const auto left_ms = [&] {  // 0 once it is over: what is there by then counts
      return static_cast<int>(std::max<std::int64_t>(until - NowNs(), 0) / 1'000'000);
    };
    while (Readable(fd.get(), left_ms())) {
      std::uint8_t answer[256] = {};
      if (recv(fd.get(), answer, sizeof(answer), 0) < 8) continue;
      const std::uint8_t* icmp = ipv4 ? answer + (answer[0] & 15) * 4 : answer;
      if (icmp[0] != (ipv4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY) || icmp[5] != 0x7d) continue;
      if (icmp[7] != static_cast<std::uint8_t>(number)) continue;
      ++answers;
      break;
    }
  }
  return answers;
}

TcpResult PushTcp(const NetNamespace& space, const std::string& address, int port,
                  std::size_t bytes, int timeout_ms) {
  const sockaddr_storage to = ToAddress(address, port);
  const Descriptor listener = Listen(space, to);
  SetTimeout(listener.get(), timeout_ms);
  std::thread server([&] {
    const Descriptor peer(accept(listener.get(), nullptr, nullptr));
    if (!peer.valid()) return;
    SetTimeout(peer.get(), timeout_ms);
    std::vector<char> buffer(256 << 10);
    std::size_t received = 0;
    while (received < bytes) {
      const ssize_t size = recv(peer.get(), buffer.data(), buffer.size(), 0);
      if (size <= 0) return;
      received += static_cast<std::size_t>(size);
    }
    const char done = 1;
    send(peer.get(), &done, 1, MSG_NOSIGNAL);
  });
  TcpResult result;
  const Descriptor client(socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  SetTimeout(client.get(), timeout_ms);
  const std::int64_t start = NowNs();
  result.connected = connect(client.get(), Generic(to), SizeOf(to)) == 0;
  result.connect_ms = static_cast<double>(NowNs() - start) / 1e6;
  const std::vector<char> buffer(256 << 10, 'x');
  std::size_t sent = 0;
  while (result.connected && sent < bytes) {
    const ssize_t size =
        send(client.get(), buffer.data(), std::min(buffer.size(), bytes - sent), MSG_NOSIGNAL);
    if (size <= 0) break;
    sent += static_cast<std::size_t>(size);
  }
  char done = 0;
  if (result.connected && sent == bytes && recv(client.get(), &done, 1, 0) == 1) {
    result.megabit_per_second =
        static_cast<double>(bytes) * 8e3 / static_cast<double>(NowNs() - start);
  }
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (getsockopt(client.get(), IPPROTO_TCP, TCP_INFO, &info, &size) == 0)
    result.retransmits = info.tcpi_total_retrans;
  shutdown(client.get(), SHUT_RDWR);
  server.join();
  return result;
}

}  // namespace firedrill::testing
