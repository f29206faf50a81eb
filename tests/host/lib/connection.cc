// SPDX-License-Identifier: Apache-2.0
#include "tests/host/lib/connection.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstdint>
#include <stdexcept>

namespace firedrill::testing {
namespace {

using agent::Descriptor;

sockaddr_in Ipv4(const std::string& address, int port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  inet_pton(AF_INET, address.c_str(), &to.sin_addr);
  return to;
}

}  // namespace

bool Connection::Delivers(const Descriptor& from, const Descriptor& to) {
  constexpr int kSoonMs = 120;
  if (send(from.get(), "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1) return false;
  pollfd readable{to.get(), POLLIN, 0};
  char byte = 0;
  return poll(&readable, 1, kSoonMs) == 1 && recv(to.get(), &byte, 1, MSG_DONTWAIT) == 1;
}

Descriptor TcpSocket() { return Descriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

void ListenOn(const Descriptor& socket, const std::string& address, int port) {
  const sockaddr_in here = Ipv4(address, port);
  const int yes = 1;
  setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&here), sizeof(here)) < 0 ||
      listen(socket.get(), 8) < 0) {
    throw std::runtime_error("listen on " + address);
  }
}

bool ConnectTo(const Descriptor& socket, const std::string& address, int port, int wait_ms) {
  const sockaddr_in to = Ipv4(address, port);
  fcntl(socket.get(), F_SETFL, O_NONBLOCK);
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0) return true;
  pollfd writable{socket.get(), POLLOUT, 0};
  return poll(&writable, 1, wait_ms) == 1 && (writable.revents & POLLERR) == 0;
}

Descriptor AcceptFrom(const Descriptor& listener) {
  constexpr int kMostMs = 1000;
  pollfd readable{listener.get(), POLLIN, 0};
  if (poll(&readable, 1, kMostMs) != 1) return Descriptor();
  return Descriptor(accept(listener.get(), nullptr, nullptr));
}

}  // namespace firedrill::testing
