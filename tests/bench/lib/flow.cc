// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/lib/flow.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <thread>

#include "agent/host/descriptor.h"
#include "tests/bench/lib/scene.h"

namespace firedrill::bench {
namespace {

using agent::Descriptor;

constexpr int kBatch = 64;
constexpr std::size_t kDatagram = 64;
constexpr int kBuffer = 64 << 20;

double Now(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

sockaddr_in Address(const std::string& address, int port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  inet_pton(AF_INET, address.c_str(), &to.sin_addr);
  return to;
}

Descriptor Socket(const testing::NetNamespace& space, int type, const std::string& bind_to,
                  int port, int& bound_port) {
  Descriptor fd;
  testing::RunIn(space, [&] { fd = Descriptor(socket(AF_INET, type | SOCK_CLOEXEC, 0)); });
  if (!fd.valid()) Die("socket");
  for (const int option : {SO_RCVBUFFORCE, SO_SNDBUFFORCE}) {
    if (type == SOCK_DGRAM) setsockopt(fd.get(), SOL_SOCKET, option, &kBuffer, sizeof(kBuffer));
  }
  sockaddr_in at = Address(bind_to, port);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof(at)) != 0) Die("bind " + bind_to);
  socklen_t size = sizeof(at);
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &size);
  bound_port = ntohs(at.sin_port);
  return fd;
}

struct Stamp {
  double sent_at = 0;
  std::uint64_t number = 0;
};

// Receives until `done` and nothing came for `wait_ms`.
void Receive(int fd, const std::atomic<bool>& done, int wait_ms, UdpFlow& flow,
             std::atomic<long>& arrived) {
  std::vector<std::array<char, kDatagram>> bytes(kBatch);
  std::vector<std::array<char, 128>> control(kBatch);
  std::vector<mmsghdr> messages(kBatch);
  std::vector<iovec> parts(kBatch);
  while (true) {
    pollfd polled{fd, POLLIN, 0};
    if (poll(&polled, 1, wait_ms) == 0) {
      if (done) return;
      continue;
    }
    for (std::size_t i = 0; i < kBatch; ++i) {
      parts[i] = {bytes[i].data(), bytes[i].size()};
      messages[i] = {};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
      messages[i].msg_hdr.msg_control = control[i].data();
      messages[i].msg_hdr.msg_controllen = control[i].size();
    }
    const int got = recvmmsg(fd, messages.data(), kBatch, MSG_DONTWAIT, nullptr);
    for (int i = 0; i < got; ++i) {
      msghdr& header = messages[static_cast<std::size_t>(i)].msg_hdr;
      Stamp stamp;
      std::memcpy(&stamp, bytes[static_cast<std::size_t>(i)].data(), sizeof(stamp));
      ++arrived;
      for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr;
           part = CMSG_NXTHDR(&header, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_TIMESTAMPNS) continue;
        timespec at{};
        std::memcpy(&at, CMSG_DATA(part), sizeof(at));
        const double arrived =
            static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) / 1e9;
        flow.delay_us.push_back((arrived - stamp.sent_at) * 1e6);
      }
    }
  }
}

}  // namespace

UdpFlow SendUdp(const testing::NetNamespace& from, const testing::NetNamespace& to,
                const UdpWay& way, long count, double per_second, int wait_ms) {
  UdpFlow flow;
  flow.delay_us.reserve(static_cast<std::size_t>(count));
  int to_port = 0, unused = 0;
  const Descriptor receiver = Socket(to, SOCK_DGRAM, way.receive_at, way.receive_port, to_port);
  const int on = 1;
  setsockopt(receiver.get(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
  const Descriptor sender = Socket(from, SOCK_DGRAM, "0.0.0.0", 0, unused);
  const sockaddr_in destination = Address(way.send_to, way.send_port);
  if (connect(sender.get(), reinterpret_cast<const sockaddr*>(&destination), sizeof(destination)) !=
      0) {
    Die("connect to " + way.send_to);
  }
  std::atomic<bool> done{false};
  std::atomic<long> arrived{0};
  std::thread reader([&] { Receive(receiver.get(), done, wait_ms, flow, arrived); });
  const double start = Now(CLOCK_MONOTONIC);
  char bytes[kDatagram] = {};
  for (long i = 0; i < count; ++i) {
    if (per_second > 0) {
      const double due = start + static_cast<double>(i) / per_second;
      double ahead = due - Now(CLOCK_MONOTONIC);
      // Sleeps for most of it, then spins: the spacing is part of the measurement.
      if (ahead > 200e-6) usleep(static_cast<useconds_t>((ahead - 100e-6) * 1e6));
      while (Now(CLOCK_MONOTONIC) < due) {
      }
    } else if (i % kBatch == 0) {
      // The receiver's buffer is the limit, not the network.
      for (long seen = -1; i - arrived > 50'000 && seen != arrived;) {
        seen = arrived;
        usleep(1000);
      }
    }
    const Stamp stamp{Now(CLOCK_REALTIME), static_cast<std::uint64_t>(i)};
    std::memcpy(bytes, &stamp, sizeof(stamp));
    if (send(sender.get(), bytes, sizeof(bytes), 0) < 0) ++flow.send_errors;
    ++flow.sent;
  }
  flow.seconds = Now(CLOCK_MONOTONIC) - start;
  done = true;
  reader.join();
  flow.arrived = arrived;
  return flow;
}

double TcpGbits(const testing::NetNamespace& from, const testing::NetNamespace& to,
                const std::string& address, double warm_up_seconds, double seconds) {
  int port = 0, unused = 0;
  const Descriptor listener = Socket(to, SOCK_STREAM, address, 0, port);
  if (listen(listener.get(), 1) != 0) Die("listen");
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    const Descriptor fd = Socket(from, SOCK_STREAM, "0.0.0.0", 0, unused);
    const sockaddr_in destination = Address(address, port);
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&destination), sizeof(destination)) !=
        0) {
      Die("connect to " + address);
    }
    const timeval patience{.tv_sec = 1, .tv_usec = 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    const std::vector<char> bytes(256 << 10);
    while (!stop && send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) != 0) {
    }
  });
  const Descriptor fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  std::vector<char> bytes(1 << 20);
  const double start = Now(CLOCK_MONOTONIC), from_time = start + warm_up_seconds;
  double counted = 0, now = start;
  while (now < from_time + seconds) {
    pollfd polled{fd.get(), POLLIN, 0};
    const ssize_t got = poll(&polled, 1, 100) > 0 ? read(fd.get(), bytes.data(), bytes.size()) : 0;
    now = Now(CLOCK_MONOTONIC);
    if (got > 0 && now >= from_time) counted += static_cast<double>(got);
  }
  stop = true;
  shutdown(fd.get(), SHUT_RDWR);
  sender.join();
  return counted * 8 / seconds / 1e9;
}

}  // namespace firedrill::bench
