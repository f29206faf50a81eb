// SPDX-License-Identifier: Apache-2.0
#include "tests/lib/http_peer.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <stdexcept>

namespace firedrill::test {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

bool Readable(int descriptor, int timeout_ms) {
  pollfd wanted{descriptor, POLLIN, 0};
  return poll(&wanted, 1, timeout_ms) > 0;
}

bool Complete(const std::string& request) {
  const std::size_t head = request.find("\r\n\r\n");
  if (head == std::string::npos) return false;
  const std::size_t length = request.find("Content-Length: ");
  const std::size_t body =
      length < head ? std::strtoul(request.c_str() + length + 16, nullptr, 10) : 0;
  return request.size() >= head + 4 + body;
}

void SendAll(int descriptor, const std::string& text) {
  std::size_t sent = 0;
  while (sent < text.size()) {
    const ssize_t count = send(descriptor, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) return;
    sent += static_cast<std::size_t>(count);
  }
}

}  // namespace

HttpPeer::HttpPeer(Handler handler, Then then) : handler_(std::move(handler)), then_(then) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener_, 64) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("listen on 127.0.0.1");
  }
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Serve(); });
}

HttpPeer::~HttpPeer() {
  stopping_ = true;
  thread_.join();
  close(listener_);
}

void HttpPeer::Serve() {
  while (!stopping_) {
    if (!Readable(listener_, 20)) continue;
    const int descriptor = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (descriptor < 0) continue;
    std::string request;
    char buffer[16384];
    while (!stopping_ && !Complete(request) && Readable(descriptor, 2000)) {
      const ssize_t count = recv(descriptor, buffer, sizeof(buffer), 0);
      if (count <= 0) break;
      request.append(buffer, static_cast<std::size_t>(count));
    }
    if (Complete(request)) SendAll(descriptor, handler_(request));
    while (then_ == Then::kStay && !stopping_ && !Readable(descriptor, 20)) {
    }
    close(descriptor);
  }
}

std::string HttpAnswer(int status, const std::string& content_type, const std::string& body) {
  return fmt::format(
      "HTTP/1.1 {} x\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
      status, content_type, body.size(), body);
}

absl::StatusOr<std::string> Exchange(int port, const std::string& text, Nanoseconds deadline) {
  const SteadyTime end = Clock::Real().Steady() + deadline;
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  if (connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    const int error = errno;
    close(descriptor);
    return absl::ErrnoToStatus(error, fmt::format("connect to port {}", port));
  }
  SendAll(descriptor, text);
  std::string answer;
  char buffer[16384];
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::Real().Steady());
    if (left.count() <= 0 || !Readable(descriptor, static_cast<int>(left.count()))) {
      close(descriptor);
      return absl::DeadlineExceededError("the peer keeps the connection open: " + answer);
    }
    const ssize_t count = recv(descriptor, buffer, sizeof(buffer), 0);
    if (count <= 0) break;
    answer.append(buffer, static_cast<std::size_t>(count));
  }
  close(descriptor);
  return answer;
}

absl::StatusOr<std::string> HttpGet(int port, const std::string& path, Nanoseconds deadline) {
  return Exchange(
      port,
      fmt::format("GET {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", path, port),
      deadline);
}

std::string BodyOf(const std::string& answer) {
  const std::size_t head = answer.find("\r\n\r\n");
  return head == std::string::npos ? "" : answer.substr(head + 4);
}

}  // namespace firedrill::test
