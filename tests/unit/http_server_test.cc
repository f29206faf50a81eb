// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <thread>
#include <vector>

#include "controller/http/server.h"
#include "tests/lib/http_peer.h"
#include "tests/lib/process.h"
#include "tests/lib/time.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Exchange;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// A connection on which nothing is said.
int Dial(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  return fd;
}

class HttpServerTest : public testing::Test {
 protected:
  void Start(HttpOptions options = {}) {
    auto server = HttpServer::Start(
        options,
        {{"GET", "/page",
          [](const HttpRequest& request) {
            return HttpResponse{200, "text/plain", "page " + request.query + " " + request.method};
          }},
         {"POST", "/hook",
          [this](const HttpRequest& request) {
            received_ += request.body.size();
            return HttpResponse{204, "text/plain", ""};
          }},
         {"POST", "/secret",
          [](const HttpRequest&) {
            return HttpResponse{200, "text/plain", "in"};
          },
          true},
         {"GET", "/throw",
          [](const HttpRequest&) -> HttpResponse { throw std::runtime_error("handler broke"); }}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  std::string Send(const std::string& text) {
    const auto answer = Exchange(server_->port(), text);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? *answer : "";
  }

  // A request that asks to close afterwards.
  std::string Request(const std::string& line, const std::string& headers = "",
                      const std::string& body = "") {
    return Send(
        fmt::format("{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}{}\r\n{}", line, headers,
                    body.empty() ? "" : fmt::format("Content-Length: {}\r\n", body.size()), body));
  }

  bool WaitPage() {
    return test::WaitFor(
        [this] {
          const auto answer = test::HttpGet(server_->port(), "/page");
          return answer.ok() && answer->rfind("HTTP/1.1 200", 0) == 0;
        },
        seconds(10));
  }

  std::unique_ptr<HttpServer> server_;
  std::atomic<std::size_t> received_{0};
};

TEST_F(HttpServerTest, AnswersItsRoutes) {
  Start();
  EXPECT_GT(server_->port(), 0);
  const std::string page = Request("GET /page?a=b");
  EXPECT_THAT(page, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(page, HasSubstr("\r\n\r\npage a=b GET"));
  EXPECT_THAT(Request("POST /hook", "", "12345"), StartsWith("HTTP/1.1 204"));
  EXPECT_EQ(received_, 5u);
  const std::string head = Request("HEAD /page");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(head, HasSubstr("Content-Length: 9"));
  EXPECT_TRUE(test::BodyOf(head).empty());
}

TEST_F(HttpServerTest, RefusesWhatIsInNoRoute) {
  Start();
  EXPECT_THAT(Request("GET /nowhere"), StartsWith("HTTP/1.1 404"));
  const std::string wrong = Request("DELETE /page");
  EXPECT_THAT(wrong, StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(wrong, HasSubstr("Allow: GET, HEAD\r\n"));
  const std::string thrown = Request("GET /throw");
  EXPECT_THAT(thrown, StartsWith("HTTP/1.1 500"));
  EXPECT_THAT(thrown, HasSubstr("handler broke"));
  EXPECT_THAT(Send("\x16\x03\x01 not http at all\r\n\r\n"), StartsWith("HTTP/1.1 400"));
}

TEST_F(HttpServerTest, KeepsAConnectionForTheNextRequest) {
  Start();
  const std::string two = Send(
      "GET /page?1 HTTP/1.1\r\nHost: x\r\n\r\n"
      "GET /page?2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(two, HasSubstr("page 1 GET"));
  EXPECT_THAT(two, HasSubstr("page 2 GET"));
}

TEST_F(HttpServerTest, LongBodiesAndHeadsAreCut) {
  HttpOptions options;
  options.body_bytes = 1000;
  options.header_bytes = 1000;
  Start(options);
  EXPECT_THAT(Request("POST /hook", "", std::string(1000, 'x')), StartsWith("HTTP/1.1 204"));
  EXPECT_THAT(Request("POST /hook", "", std::string(1001, 'x')), StartsWith("HTTP/1.1 413"));
  // A chunked body does not say how long it will be.
  const std::string chunk = "200\r\n" + std::string(0x200, 'x') + "\r\n";
  EXPECT_THAT(Send("POST /hook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk +
                   chunk + "0\r\n\r\n"),
              StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(Request("GET /page", "X: " + std::string(2000, 'x') + "\r\n"),
              StartsWith("HTTP/1.1 431"));
  EXPECT_EQ(received_, 1000u);
}

TEST_F(HttpServerTest, SlowPeersAreLetGo) {
  HttpOptions options;
  options.deadline = milliseconds(150);
  Start(options);
  for (const char* begin : {"", "POST /hook HTTP/1.1\r\nHost: x\r\nContent-Le",
                            "POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nabc"}) {
    const auto wait_for_end = [&] {
      const auto answer = Exchange(server_->port(), begin);
      ASSERT_TRUE(answer.ok()) << answer.status();  // closed by the server
      EXPECT_TRUE(answer->empty()) << *answer;
    };
    EXPECT_LT(test::Quickest(wait_for_end, seconds(2)), seconds(2));
  }
  EXPECT_TRUE(WaitPage()) << "on a busy machine we are too slow ourselves now and then";
}

TEST_F(HttpServerTest, MoreConnectionsThanTheCapAreClosedAtOnce) {
  HttpOptions options;
  options.connections = 2;
  Start(options);
  // Connections are taken in the order in which they were made.
  const int idle[] = {Dial(server_->port()), Dial(server_->port())};
  const auto refused = test::HttpGet(server_->port(), "/page");
  EXPECT_TRUE(!refused.ok() || refused->empty());
  for (const int fd : idle) close(fd);
  EXPECT_TRUE(WaitPage()) << "there is room again";
}

TEST_F(HttpServerTest, AtTheCapIdlePeersAreLetGoAndThereIsRoomAgain) {
  HttpOptions options;
  options.connections = 2;
  options.deadline = milliseconds(150);
  Start(options);
  const SteadyTime begin = Clock::Real().Steady();
  const int idle[] = {Dial(server_->port()), Dial(server_->port())};
  for (const int fd : idle) {
    const timeval patience{10, 0};
    ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    char byte = 0;
    EXPECT_EQ(recv(fd, &byte, 1, 0), 0) << "closed by the server";
    EXPECT_GE(Clock::Real().Steady() - begin, options.deadline) << "taken, and not refused";
  }
  EXPECT_TRUE(WaitPage());
  for (const int fd : idle) close(fd);
}

TEST_F(HttpServerTest, AWebhooksTokenIsAskedForAndCanBeRotated) {
  const test::TemporaryFolder folder;
  HttpOptions options;
  options.token_file = folder.Write("token", "right\n");
  Start(options);
  const std::string denied = Request("POST /secret");
  EXPECT_THAT(denied, StartsWith("HTTP/1.1 401"));
  EXPECT_THAT(denied, HasSubstr("WWW-Authenticate: Bearer"));
  for (const char* wrong : {"wrong", "righ", "rightx", "", "right "}) {
    EXPECT_THAT(Request("POST /secret", fmt::format("Authorization: Bearer x{}\r\n", wrong)),
                StartsWith("HTTP/1.1 401"));
  }
  EXPECT_THAT(Request("POST /secret", "Authorization: Basic right\r\n"),
              StartsWith("HTTP/1.1 401"));
  EXPECT_THAT(Request("POST /secret", "Authorization: bearer right\r\n"),
              StartsWith("HTTP/1.1 200"));
  folder.Write("token", "other\n");
  EXPECT_THAT(Request("POST /secret", "Authorization: Bearer right\r\n"),
              StartsWith("HTTP/1.1 401"));
  EXPECT_THAT(Request("POST /secret", "Authorization: Bearer other\r\n"),
              StartsWith("HTTP/1.1 200"));
  folder.Write("token", "");
  EXPECT_THAT(Request("POST /secret", "Authorization: Bearer \r\n"), StartsWith("HTTP/1.1 500"));
  EXPECT_THAT(Request("GET /page"), StartsWith("HTTP/1.1 200"));  // the others want none
}

TEST_F(HttpServerTest, ServesTlsAndNothingElseThen) {
  const test::TemporaryFolder folder;
  HttpOptions options;
  options.certificate_file = folder.path() + "/cert.pem";
  options.key_file = folder.path() + "/key.pem";
  const auto made = test::RunToEnd({"/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                                    "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
                                    "-addext", "subjectAltName=DNS:localhost", "-days", "1",
                                    "-keyout", options.key_file, "-out", options.certificate_file});
  ASSERT_TRUE(made.ok() && made->exit_status == 0) << made->output;
  Start(options);
  const auto page = test::RunToEnd({"/usr/bin/curl", "--silent", "--show-error", "--noproxy", "*",
                                    "--cacert", options.certificate_file,
                                    fmt::format("https://localhost:{}/page", server_->port())});
  ASSERT_TRUE(page.ok());
  EXPECT_EQ(page->output, "page  GET");
  EXPECT_THAT(Send("GET /page HTTP/1.1\r\nHost: x\r\n\r\n"), Not(HasSubstr("page")));
}

TEST_F(HttpServerTest, StopsWithConnectionsOpen) {
  Start();
  const int open = Dial(server_->port());  // taken before the next one
  EXPECT_THAT(Request("GET /page"), StartsWith("HTTP/1.1 200"));
  server_.reset();
  char byte = 0;
  EXPECT_LE(recv(open, &byte, 1, 0), 0);  // closed, not waited for
  close(open);
}

TEST(HttpServerStartTest, SaysWhyItCannotStart) {
  const auto start = [](const HttpOptions& options) {
    return HttpServer::Start(options, {}).status();
  };
  HttpOptions options;
  const auto first = HttpServer::Start(options, {});
  ASSERT_TRUE(first.ok());
  options.port = (*first)->port();
  EXPECT_EQ(start(options).code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(start(options).message()), HasSubstr("Address already in use"));
  options = {};
  options.address = "localhost";
  EXPECT_EQ(start(options).code(), absl::StatusCode::kInvalidArgument);
  options = {};
  options.certificate_file = "/nonexistent";
  EXPECT_EQ(start(options).code(), absl::StatusCode::kInvalidArgument);
  options.key_file = "/nonexistent";
  EXPECT_THAT(std::string(start(options).message()), HasSubstr("/nonexistent"));
}

}  // namespace
}  // namespace firedrill::controller
