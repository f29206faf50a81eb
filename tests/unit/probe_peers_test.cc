// SPDX-License-Identifier: Apache-2.0
// A Prometheus that misbehaves: what it does must cost no more than the deadline and never look
// like an answer.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netdb.h>

#include <atomic>
#include <cstring>
#include <mutex>

#include "controller/probe/prometheus.h"
#include "controller/probe/route_watch.h"
#include "tests/lib/http_peer.h"
#include "tests/lib/process.h"
#include "tests/lib/time.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::HttpAnswer;
using testing::HasSubstr;

constexpr char kSlowName[] = "slow-to-resolve.invalid";
constexpr char kTime[] =
    R"({"status":"success","data":{"resultType":"scalar","result":[1800000000.5,"1800000000.5"]}})";
constexpr char kEmpty[] = R"({"status":"success","data":{"resultType":"vector","result":[]}})";

ProbeQuestion Question() {
  ProbeQuestion question;
  question.since = Clock::Real().System();
  question.indicators = {"up", "sum(up)"};
  question.alerts = {{"Slow", {}}};
  question.stop_conditions = {"sum(up) == 0"};
  return question;
}

PrometheusOptions OptionsFor(const std::string& url) {
  PrometheusOptions options;
  options.url = url;
  options.deadline = seconds(20);  // far, for a busy machine
  return options;
}

ProbeAnswer AskOnce(const PrometheusOptions& options) {
  const auto probe = PrometheusProbe::Create(options);
  EXPECT_TRUE(probe.ok()) << probe.status();
  return (*probe)->Ask(Question());
}

void ExpectAll(const ProbeAnswer& answer, absl::StatusCode code) {
  EXPECT_EQ(answer.status.code(), code) << answer.status;
  for (const auto& part : answer.indicators) EXPECT_EQ(part.status.code(), code) << part.status;
  for (const auto& part : answer.alerts) EXPECT_EQ(part.status.code(), code) << part.status;
  for (const auto& part : answer.stop_conditions) {
    EXPECT_EQ(part.status.code(), code) << part.status;
    EXPECT_FALSE(part.holds);
  }
}

TEST(ProbePeersTest, NobodyThereIsUnavailableWithinTheDeadline) {
  const SteadyTime begin = Clock::Real().Steady();
  const ProbeAnswer answer =
      AskOnce(OptionsFor("http://127.0.0.1:" + std::to_string(test::FreePort())));
  ExpectAll(answer, absl::StatusCode::kUnavailable);
  EXPECT_LT(Clock::Real().Steady() - begin, seconds(20));
}

TEST(ProbePeersTest, GarbageIsNoAnswer) {
  for (const std::string& garbage :
       {std::string("SSH-2.0-OpenSSH_9.2\r\n"), std::string("\0\1\2\3", 4), std::string()}) {
    test::HttpPeer peer([&](const std::string&) { return garbage; });
    ExpectAll(AskOnce(OptionsFor(peer.url())), absl::StatusCode::kUnavailable);
  }
  for (const char* body : {"<html>hello</html>", "{\"status\":\"success\"}", "", "[[[["}) {
    test::HttpPeer peer(
        [&](const std::string&) { return HttpAnswer(200, "application/json", body); });
    ExpectAll(AskOnce(OptionsFor(peer.url())), absl::StatusCode::kDataLoss);
  }
}

TEST(ProbePeersTest, LongAnswersAreCut) {
  test::HttpPeer peer([](const std::string&) {
    return HttpAnswer(200, "application/json", std::string(1 << 20, ' '));
  });
  PrometheusOptions options = OptionsFor(peer.url());
  options.answer_bytes = 64 << 10;
  const ProbeAnswer answer = AskOnce(options);
  ExpectAll(answer, absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(answer.status.message()), HasSubstr("65536 bytes"));
}

TEST(ProbePeersTest, SilenceAndDrippingCostOnlyTheDeadline) {
  for (const char* begin_of_answer : {"", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"}) {
    test::HttpPeer peer([&](const std::string&) { return std::string(begin_of_answer); },
                        test::HttpPeer::Then::kStay);
    PrometheusOptions options = OptionsFor(peer.url());
    options.deadline = milliseconds(200);
    options.retries = 0;
    const auto ask = [&] { ExpectAll(AskOnce(options), absl::StatusCode::kDeadlineExceeded); };
    EXPECT_LT(test::Quickest(ask, milliseconds(550)), milliseconds(550));
  }
}

// This program's getaddrinfo() is slow for one name: see below.
TEST(ProbePeersTest, ANameThatIsNotResolvedCostsOnlyTheDeadline) {
  PrometheusOptions options = OptionsFor("http://" + std::string(kSlowName) + ":9090");
  options.deadline = milliseconds(200);
  const auto ask = [&] { ExpectAll(AskOnce(options), absl::StatusCode::kDeadlineExceeded); };
  EXPECT_LT(test::Quickest(ask, seconds(1)), seconds(1));
}

TEST(ProbePeersTest, RedirectsAreNotFollowed) {
  std::atomic<int> visits{0};
  test::HttpPeer target([&](const std::string&) {
    ++visits;
    return HttpAnswer(200, "application/json", kTime);
  });
  test::HttpPeer peer([&](const std::string&) {
    return "HTTP/1.1 307 x\r\nLocation: " + target.url() +
           "/api/v1/query\r\nContent-Length: 0\r\n\r\n";
  });
  ExpectAll(AskOnce(OptionsFor(peer.url())), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(visits, 0);
}

TEST(ProbePeersTest, BusyIsTriedAgainAndDeniedIsNot) {
  std::atomic<int> visits{0};
  test::HttpPeer busy([&](const std::string&) {
    return ++visits <= 2 ? HttpAnswer(503, "text/plain", "busy")
                         : HttpAnswer(200, "application/json", kTime);
  });
  EXPECT_TRUE(AskOnce(OptionsFor(busy.url())).status.ok());
  EXPECT_GE(visits, 3);
  visits = 0;
  test::HttpPeer always_busy([&](const std::string&) {
    ++visits;
    return HttpAnswer(503, "text/plain", "overloaded");
  });
  const ProbeAnswer answer = AskOnce(OptionsFor(always_busy.url()));
  ExpectAll(answer, absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(answer.status.message()), HasSubstr("HTTP 503: overloaded"));
  EXPECT_EQ(visits, 3);
  visits = 0;
  test::HttpPeer denying([&](const std::string&) {
    ++visits;
    return HttpAnswer(403, "text/plain", "no");
  });
  ExpectAll(AskOnce(OptionsFor(denying.url())), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(visits, 1);
}

TEST(ProbePeersTest, OnePartsFailureDoesNotSpoilTheOthers) {
  test::HttpPeer peer([](const std::string& request) {
    if (request.find("query=time") != std::string::npos) {
      return HttpAnswer(200, "application/json", kTime);
    }
    if (request.find("ALERTS") != std::string::npos) {
      return HttpAnswer(400, "application/json",
                        R"({"status":"error","errorType":"bad_data","error":"invalid label"})");
    }
    return HttpAnswer(200, "application/json", kEmpty);
  });
  const ProbeAnswer answer = AskOnce(OptionsFor(peer.url()));
  EXPECT_TRUE(answer.status.ok()) << answer.status;
  EXPECT_EQ(answer.alerts[0].status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(answer.alerts[0].status.message()), HasSubstr("invalid label"));
  EXPECT_EQ(answer.indicators[0].status.code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(answer.stop_conditions[0].status.ok());
}

// Thanos answers in part, and says so.
TEST(ProbePeersTest, WarningsAndUnknownBlindnessAreSaid) {
  std::mutex mutex;
  std::string up = kEmpty;
  test::HttpPeer peer([&](const std::string& request) {
    std::lock_guard<std::mutex> lock(mutex);
    if (request.find("query=time") != std::string::npos) {
      return HttpAnswer(200, "application/json", kTime);
    }
    if (request.find("query=max%28timestamp%28up%29%29") != std::string::npos) {
      return HttpAnswer(200, "application/json", up);
    }
    if (request.find("ALERTS") != std::string::npos) {
      return HttpAnswer(
          200, "application/json",
          R"({"status":"success","warnings":["no \"store\"\n"],"data":{"resultType":"matrix","result":[{"metric":{"alertname":"Slow","alertstate":"firing"},"values":[[1,"1"],[1799999999,"1"],[1900000000,"1"]]}]}})");
    }
    return HttpAnswer(200, "application/json", kEmpty);
  });
  ProbeQuestion question = Question();
  // Its clock is not ours, which the question is told in.
  question.since = Clock::Real().System() - seconds(60);
  PrometheusOptions options = OptionsFor(peer.url());
  const auto ask = [&] {
    const auto probe = PrometheusProbe::Create(options);
    EXPECT_TRUE(probe.ok()) << probe.status();
    return (*probe)->Ask(question);
  };
  const auto answer_up = [&](const std::string& text) {
    std::lock_guard<std::mutex> lock(mutex);
    up = text;
  };
  EXPECT_THAT(ask().blind_unknown, HasSubstr("does not tell how often it scrapes"));
  options.scrape_interval = seconds(1);
  const ProbeAnswer answer = ask();
  EXPECT_EQ(answer.blind_unknown, "Prometheus has no series up");
  ASSERT_EQ(answer.caveats.size(), 1u);
  EXPECT_THAT(answer.caveats[0],
              testing::StartsWith("alert Slow: Prometheus warns \"no \\\"store"));
  ASSERT_EQ(answer.alerts[0].series.size(), 1u);
  EXPECT_EQ(answer.alerts[0].series[0].samples.size(), 1u) << "of the time that was asked for";
  answer_up(R"({"status":"error","errorType":"execution","error":"too many samples"})");
  EXPECT_THAT(ask().blind_unknown, HasSubstr("too many samples"));
  answer_up(
      R"({"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1800000000,"1800000000"]]}]}})");
  EXPECT_EQ(ask().blind_unknown, "");
}

TEST(ProbePeersTest, ARouteThatCouldNotBeToldIsSoonAskedForAgain) {
  std::atomic<int> visits{0};
  test::HttpPeer peer([&](const std::string&) {
    return ++visits == 1 ? HttpAnswer(403, "text/plain", "not yet")
                         : HttpAnswer(200, "application/json",
                                      R"({"status":"success","data":{"activeAlertmanagers":[]}})");
  });
  test::ClockAhead clock;
  RouteWatch watch(clock);
  FetchOptions options;
  options.url = peer.url();
  watch.Refresh(options);
  ASSERT_TRUE(test::WaitFor([&] { return visits == 1; }, seconds(10)));
  EXPECT_EQ(watch.Known(), nullptr);
  clock.Advance(seconds(6));
  EXPECT_TRUE(test::WaitFor(
      [&] {
        watch.Refresh(options);
        return watch.Known() != nullptr;
      },
      seconds(10)));
}

TEST(ProbePeersTest, AnAlertmanagerThatIsGoneIsForgottenAndThenSeldomAskedFor) {
  std::atomic<int> visits{0};
  std::atomic<bool> gone{false};
  std::string url;
  test::HttpPeer peer([&](const std::string& request) {
    if (request.find("/api/v2/status") != std::string::npos) {
      return HttpAnswer(
          200, "application/json",
          R"({"config":{"original":"route: {receiver: a}\nreceivers: [{name: a}]\n"}})");
    }
    ++visits;
    return HttpAnswer(200, "application/json",
                      R"({"status":"success","data":{"activeAlertmanagers":[)" +
                          (gone ? "" : R"({"url":")" + url + R"(/api/v2/alerts"})") + "]}}");
  });
  url = peer.url();
  test::ClockAhead clock;
  RouteWatch watch(clock);
  FetchOptions options;
  options.url = url;
  const auto later = [&](Nanoseconds time) {
    clock.Advance(time);
    watch.Refresh(options);
  };
  later(seconds(0));
  ASSERT_TRUE(test::WaitFor([&] { return watch.Known() != nullptr; }, seconds(10)));
  EXPECT_EQ(watch.Known()->size(), 1u);
  gone = true;
  const int known = visits;
  later(seconds(61));
  ASSERT_TRUE(test::WaitFor(
      [&] {
        later(seconds(6));
        return watch.Known()->empty();
      },
      seconds(10)));
  EXPECT_GE(visits, known + 3) << "it may have been started anew";
  const int forgotten = visits + 1;  // one question may be under way
  for (int i = 0; i < 9; ++i) {
    later(seconds(6));
    test::Pause(milliseconds(20));
  }
  EXPECT_LE(visits, forgotten);
  gone = false;
  EXPECT_TRUE(test::WaitFor(
      [&] {
        later(seconds(61));
        return !watch.Known()->empty();
      },
      seconds(10)));
}

TEST(ProbePeersTest, SecretsAreSentAndReadAgain) {
  const test::TemporaryFolder folder;
  std::mutex mutex;
  std::string head;
  test::HttpPeer peer([&](const std::string& request) {
    std::lock_guard<std::mutex> lock(mutex);
    head = request;
    return HttpAnswer(200, "application/json", kTime);
  });
  const auto sent = [&] {
    std::lock_guard<std::mutex> lock(mutex);
    return head;
  };
  PrometheusOptions options = OptionsFor(peer.url() + "/prefix/");
  options.bearer_token_file = folder.Write("token", "first\n");
  const auto probe = PrometheusProbe::Create(options);
  ASSERT_TRUE(probe.ok()) << probe.status();
  (*probe)->Ask({});
  EXPECT_THAT(sent(), HasSubstr("Authorization: Bearer first\r\n"));
  EXPECT_THAT(sent(), HasSubstr(" /prefix/api/v1/"));
  folder.Write("token", "second\n");
  (*probe)->Ask({});
  EXPECT_THAT(sent(), HasSubstr("Authorization: Bearer second\r\n"));
  folder.Write("token", "");
  EXPECT_EQ((*probe)->Ask({}).status.code(), absl::StatusCode::kInvalidArgument);

  options.bearer_token_file.clear();
  options.user = "probe";
  options.password_file = folder.Write("password", "secret\n");
  EXPECT_TRUE(AskOnce(options).status.ok());
  EXPECT_THAT(sent(), HasSubstr("Authorization: Basic cHJvYmU6c2VjcmV0\r\n"));
}

TEST(ProbePeersTest, OptionsAreChecked) {
  const auto code = [](const PrometheusOptions& options) {
    return PrometheusProbe::Create(options).status().code();
  };
  for (const char* url : {"", "localhost:9090", "ftp://host", "http://", "http://u:p@host",
                          "http://host/?a=b", "http://host/#a", "file:///etc/passwd"}) {
    EXPECT_EQ(code(OptionsFor(url)), absl::StatusCode::kInvalidArgument) << url;
  }
  PrometheusOptions options = OptionsFor("https://host:9090/prefix");
  EXPECT_EQ(code(options), absl::StatusCode::kOk);
  options.bearer_token_file = "/nonexistent";
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  options = OptionsFor("https://host");
  options.certificate_file = "/dev/null";
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  options = OptionsFor("https://host");
  options.ca_file = "/nonexistent";
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  options = OptionsFor("https://host");
  options.user = "u";
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace firedrill::controller

// Stands before the C library's, also for libcurl: a name server that does not answer.
extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints,
                           addrinfo** found) {
  using Real = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
  if (node != nullptr && std::strcmp(node, firedrill::controller::kSlowName) == 0) {
    firedrill::test::Pause(std::chrono::seconds(3));
    return EAI_AGAIN;
  }
  static const auto real = reinterpret_cast<Real>(dlsym(RTLD_NEXT, "getaddrinfo"));
  return real(node, service, hints, found);
}
