// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "proto/support/clock.h"

// Both ends of HTTP on plain sockets, so that a test can behave as badly as it likes.
namespace firedrill::test {

/// Answers each connection to a port of 127.0.0.1 with what the handler makes of the request. One
/// connection at a time.
class HttpPeer {
 public:
  /// The whole text of the answer, head included: see HttpAnswer. `request` is the head and, as far
  /// as Content-Length says, the body.
  using Handler = std::function<std::string(const std::string& request)>;
  /// After its answer it closes the connection, or waits until the other end does.
  enum class Then { kClose, kStay };
  explicit HttpPeer(Handler handler, Then then = Then::kClose);
  ~HttpPeer();
  HttpPeer(const HttpPeer&) = delete;
  HttpPeer& operator=(const HttpPeer&) = delete;
  int port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

 private:
  void Serve();
  Handler handler_;
  const Then then_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

std::string HttpAnswer(int status, const std::string& content_type, const std::string& body);

/// Connects, sends `text` as it is, and reads until the other end closes or `deadline` is over.
absl::StatusOr<std::string> Exchange(int port, const std::string& text,
                                     Nanoseconds deadline = std::chrono::seconds(5));

/// The whole answer to a GET, its head included.
absl::StatusOr<std::string> HttpGet(int port, const std::string& path,
                                    Nanoseconds deadline = std::chrono::seconds(5));

/// The part after the head.
std::string BodyOf(const std::string& answer);

}  // namespace firedrill::test
