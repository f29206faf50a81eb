// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

struct HttpRequest {
  std::string method;  ///< GET, POST
  std::string path;    ///< Without the query.
  std::string query;   ///< What follows the `?`, not decoded.
  std::string content_type;
  std::string body;
  std::string pagerduty_signature;  ///< The header X-PagerDuty-Signature, as it came.
  std::string peer;                 ///< 127.0.0.1:41234
  SystemTime received;              ///< When the request was complete.
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

/// One line of the server's table. HEAD is answered by the GET route. Handlers run on the server's
/// threads, several at a time; what they throw becomes a 500.
struct Route {
  std::string method;
  std::string path;
  std::function<HttpResponse(const HttpRequest&)> handler;
  bool token = false;  ///< Wants `Authorization: Bearer` with the content of token_file.
};

struct HttpOptions {
  std::string address = "127.0.0.1";
  int port = 0;                  ///< 0: the kernel chooses, see HttpServer::port().
  std::string certificate_file;  ///< PEM chain; with key_file: TLS only. Read at the start.
  std::string key_file;
  std::string token_file;              ///< Read again at each request, so it can be rotated.
  std::size_t body_bytes = 1 << 20;    ///< A longer one is answered by 413.
  std::size_t header_bytes = 8 << 10;  ///< Longer ones are answered by 431.
  int connections = 256;               ///< More at a time are closed at once.
  Nanoseconds deadline = std::chrono::seconds(10);  ///< For a whole request, and for its answer.
  int threads = 2;
};

/// A small HTTP/1.1 server for /metrics, /healthz and webhooks. Not for large bodies.
class HttpServer {
 public:
  /// Binds, listens and starts. UNAVAILABLE: cannot bind; INVALID_ARGUMENT: options or certificate.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(HttpOptions options,
                                                           std::vector<Route> routes);
  virtual ~HttpServer() = default;  ///< Closes every connection; waits for running handlers.
  virtual int port() const = 0;
};

}  // namespace firedrill::controller
