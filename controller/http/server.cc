// SPDX-License-Identifier: Apache-2.0
// One connection is one object that keeps itself alive by the handlers that wait for it:
// accept → (TLS handshake) → read → answer → write → read … → close. Only this file sees Boost.
#include "controller/http/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <exception>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

#include "controller/http/router.h"

namespace firedrill::controller {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using Tcp = boost::asio::ip::tcp;
using ErrorCode = boost::system::error_code;
using PlainStream = beast::tcp_stream;
using TlsStream = beast::ssl_stream<beast::tcp_stream>;

std::string Text(beast::string_view text) { return {text.data(), text.size()}; }

// Counts open connections; the cap is a promise to the rest of the controller.
struct Shared {
  Shared(HttpOptions given, std::vector<Route> routes)
      : options(std::move(given)), router(std::move(routes), options.token_file) {}
  const HttpOptions options;
  const Router router;
  std::atomic<int> connections{0};
};

template <typename Stream>
class Connection : public std::enable_shared_from_this<Connection<Stream>> {
 public:
  template <typename... Arguments>
  Connection(Shared& shared, Arguments&&... arguments)
      : shared_(shared), stream_(std::forward<Arguments>(arguments)...) {
    ErrorCode ignored;
    const Tcp::endpoint peer = beast::get_lowest_layer(stream_).socket().remote_endpoint(ignored);
    peer_ = fmt::format("{}:{}", peer.address().to_string(), peer.port());
  }
  ~Connection() { --shared_.connections; }

  void Begin() {
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      Expire();
      stream_.async_handshake(asio::ssl::stream_base::server,
                              [self = this->shared_from_this()](ErrorCode error) {
                                if (!error) self->Read();
                              });
    } else {
      asio::dispatch(stream_.get_executor(), [self = this->shared_from_this()] { self->Read(); });
    }
  }

 private:
  void Expire() { beast::get_lowest_layer(stream_).expires_after(shared_.options.deadline); }

  // The deadline stands for the whole request: a peer that drips bytes does not move it.
  void Read() {
    parser_.emplace();
    parser_->body_limit(shared_.options.body_bytes);
    parser_->header_limit(static_cast<std::uint32_t>(shared_.options.header_bytes));
    Expire();
    http::async_read(
        stream_, buffer_, *parser_,
        [self = this->shared_from_this()](ErrorCode error, std::size_t) { self->Answer(error); });
  }

  void Answer(ErrorCode error) {
    if (error == http::error::end_of_stream) return Close();
    RoutedResponse answer;
    bool last = true;
    bool head = false;
    if (error == http::error::body_limit) {
      answer.status = 413;
      answer.body = fmt::format("the body is longer than {} bytes\n", shared_.options.body_bytes);
    } else if (error == http::error::header_limit) {
      answer.status = 431;
      answer.body = fmt::format("the head is longer than {} bytes\n", shared_.options.header_bytes);
    } else if (error.category() == http::make_error_code(http::error::bad_method).category()) {
      answer.status = 400;
      answer.body = fmt::format("this is not HTTP: {}\n", error.message());
    } else if (error) {
      return Close();  // the peer is gone, or too slow
    } else {
      const auto& message = parser_->get();
      last = !message.keep_alive();
      head = message.method() == http::verb::head;
      answer = shared_.router.Answer(RequestOf(message), Text(message[http::field::authorization]));
    }
    Write(answer, last, head);
  }

  HttpRequest RequestOf(const http::request<http::string_body>& message) const {
    HttpRequest request;
    request.method = Text(message.method_string());
    const std::string target = Text(message.target());
    const std::size_t mark = target.find('?');
    request.path = target.substr(0, mark);
    if (mark != std::string::npos) request.query = target.substr(mark + 1);
    request.content_type = Text(message[http::field::content_type]);
    request.body = message.body();
    request.pagerduty_signature = Text(message["X-PagerDuty-Signature"]);
    request.peer = peer_;
    request.received = Clock::Real().System();
    return request;
  }

  void Write(const RoutedResponse& answer, bool last, bool head) {
    response_.emplace(static_cast<http::status>(answer.status), 11);
    response_->set(http::field::content_type, answer.content_type);
    if (answer.status == 401) response_->set(http::field::www_authenticate, "Bearer");
    if (!answer.allow.empty()) response_->set(http::field::allow, answer.allow);
    response_->keep_alive(!last);
    if (head) {
      response_->content_length(answer.body.size());
    } else {
      response_->body() = answer.body;
      response_->prepare_payload();
    }
    serializer_.emplace(*response_);
    Expire();
    const auto written = [self = this->shared_from_this(), last](ErrorCode error, std::size_t) {
      if (error || last) return self->Close();
      self->Read();
    };
    if (head) {
      http::async_write_header(stream_, *serializer_, written);
    } else {
      http::async_write(stream_, *serializer_, written);
    }
  }

  // Half of a polite close: what the peer still sends is not waited for.
  void Close() {
    ErrorCode ignored;
    beast::get_lowest_layer(stream_).socket().shutdown(Tcp::socket::shutdown_send, ignored);
  }

  Shared& shared_;
  Stream stream_;
  std::string peer_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> response_;
  std::optional<http::response_serializer<http::string_body>> serializer_;
};

class Server : public HttpServer {
 public:
  Server(HttpOptions options, std::vector<Route> routes)
      : shared_(std::move(options), std::move(routes)),
        acceptor_(asio::make_strand(context_)),
        retry_(context_) {}

  ~Server() override {
    context_.stop();
    for (std::thread& thread : threads_) thread.join();
  }

  int port() const override { return port_; }

  absl::Status Listen() {
    const HttpOptions& options = shared_.options;
    if (options.certificate_file.empty() != options.key_file.empty()) {
      return absl::InvalidArgumentError("HTTPS needs both files, certificate and key");
    }
    ErrorCode error;
    if (!options.certificate_file.empty()) {
      tls_.emplace(asio::ssl::context::tls_server);
      tls_->set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1);
      tls_->use_certificate_chain_file(options.certificate_file, error);
      if (!error) tls_->use_private_key_file(options.key_file, asio::ssl::context::pem, error);
      if (error) {
        return absl::InvalidArgumentError(
            fmt::format("HTTPS with certificate '{}' and key '{}': {}", options.certificate_file,
                        options.key_file, error.message()));
      }
    }
    const asio::ip::address address = asio::ip::make_address(options.address, error);
    if (error || options.port < 0 || options.port > 65535) {
      return absl::InvalidArgumentError(
          fmt::format("cannot listen on '{}' port {}: give an IP address and a port up to 65535",
                      options.address, options.port));
    }
    const Tcp::endpoint endpoint(address, static_cast<std::uint16_t>(options.port));
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
      return absl::UnavailableError(fmt::format("listen for HTTP on {}:{}: {}", options.address,
                                                options.port, error.message()));
    }
    port_ = acceptor_.local_endpoint(error).port();
    Accept();
    for (int i = 0; i < std::max(1, options.threads); ++i) {
      threads_.emplace_back([this] { context_.run(); });
    }
    return absl::OkStatus();
  }

 private:
  void Accept() {
    acceptor_.async_accept(
        asio::make_strand(context_), [this](ErrorCode error, Tcp::socket socket) {
          if (error == asio::error::operation_aborted) return;
          if (error) return AcceptLater();
          if (++shared_.connections > shared_.options.connections) {
            --shared_.connections;
            ErrorCode ignored;
            socket.close(ignored);
          } else if (tls_) {
            std::make_shared<Connection<TlsStream>>(shared_, std::move(socket), *tls_)->Begin();
          } else {
            std::make_shared<Connection<PlainStream>>(shared_, std::move(socket))->Begin();
          }
          Accept();
        });
  }

  // Out of descriptors, say: trying again at once would only turn in circles.
  void AcceptLater() {
    retry_.expires_after(std::chrono::milliseconds(100));
    retry_.async_wait([this](ErrorCode error) {
      if (!error) Accept();
    });
  }

  Shared shared_;  // outlives the connections, which context_ owns
  asio::io_context context_;
  Tcp::acceptor acceptor_;
  asio::steady_timer retry_;
  std::optional<asio::ssl::context> tls_;
  std::vector<std::thread> threads_;
  int port_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(HttpOptions options,
                                                              std::vector<Route> routes) {
  auto server = std::make_unique<Server>(std::move(options), std::move(routes));
  if (const absl::Status status = server->Listen(); !status.ok()) return status;
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace firedrill::controller
