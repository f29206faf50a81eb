// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <nlohmann/json.hpp>

#include "controller/grafana/annotator.h"
#include "proto/support/time.h"
#include "tests/lib/http_peer.h"
#include "tests/lib/process.h"
#include "tests/lib/time.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::HttpAnswer;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr char kAdded[] = R"({"message":"Annotation added","id":17})";

std::string JsonAnswer(const std::string& body) {
  return HttpAnswer(200, "application/json", body);
}

// A Grafana that answers as it is told, with a run to tell it of.
class GrafanaAnnotatorTest : public testing::Test {
 protected:
  GrafanaAnnotatorTest() {
    token_ = folder_.Write("token", "glsa_secret\n");
    run_ = std::make_shared<v1::Run>();
    run_->set_id("20261122-1");
    run_->mutable_experiment()->set_name("cache-loss");
    v1::Injection& injection = *run_->add_injections();
    injection.set_id("20261122-1.1");
    injection.set_host("cache1");
    injection.set_state(v1::INJECTION_STATE_ACTIVE);
    injection.mutable_fault()->mutable_packet_loss()->set_percent(33);
    *injection.mutable_applied_at() = ToProto(begin_ - milliseconds(40));
    *injection.mutable_first_impact_at() = ToProto(begin_);
  }
  ~GrafanaAnnotatorTest() override { hang_ = false; }

  void Start() {
    GrafanaOptions options;
    options.url = peer_.url() + "/";
    options.token_file = token_;
    options.look_every = milliseconds(10);
    options.deadline = deadline_;
    options.first_wait = milliseconds(20);
    options.most = most_;
    auto annotator = GrafanaAnnotator::Create(
        options,
        [this] {
          std::lock_guard lock(mutex_);
          return std::vector<std::shared_ptr<const v1::Run>>{std::make_shared<v1::Run>(*run_)};
        },
        clock_);
    ASSERT_TRUE(annotator.ok()) << annotator.status();
    annotator_ = *std::move(annotator);
  }
  void End() {
    std::lock_guard lock(mutex_);
    v1::Injection& injection = *run_->mutable_injections(0);
    injection.set_state(v1::INJECTION_STATE_ENDED);
    *injection.mutable_ended_at() = ToProto(begin_ + seconds(60));
  }
  // What the peer says to the nth request, from zero on; by default Grafana's own words.
  void Answers(std::function<std::string(int, const std::string&)> answers) {
    std::lock_guard lock(mutex_);
    answers_ = std::move(answers);
  }
  std::vector<std::string> Requests() {
    std::lock_guard lock(mutex_);
    return requests_;
  }
  bool WaitRequests(std::size_t count) {
    return test::WaitFor([&] { return Requests().size() >= count; }, seconds(10));
  }
  bool WaitFigures(const std::function<bool(const AnnotationFigures&)>& done) {
    return test::WaitFor([&] { return done(annotator_->figures()); }, seconds(10));
  }
  static nlohmann::json Body(const std::string& request) {
    return nlohmann::json::parse(test::BodyOf(request));
  }

  // Ahead, so that this controller has begun what it tells, however busy the machine is.
  const SystemTime begin_ = Clock::Real().System() + std::chrono::minutes(5);
  const std::int64_t begin_ms_ =
      std::chrono::duration_cast<milliseconds>(begin_.time_since_epoch()).count();
  Nanoseconds deadline_ = seconds(20);  // far: no answer is given up because a machine is busy
  test::ClockAhead clock_;
  std::size_t most_ = 1000;
  test::TemporaryFolder folder_;
  std::string token_;
  std::mutex mutex_;
  std::shared_ptr<v1::Run> run_;
  std::vector<std::string> requests_;
  std::function<std::string(int, const std::string&)> answers_ = [](int, const std::string&) {
    return JsonAnswer(kAdded);
  };
  std::atomic<bool> hang_{false};
  test::HttpPeer peer_{[this](const std::string& request) {
    std::function<std::string(int, const std::string&)> answers;
    int number = 0;
    {
      std::lock_guard lock(mutex_);
      number = static_cast<int>(requests_.size());
      requests_.push_back(request);
      answers = answers_;
    }
    while (hang_) test::Pause(milliseconds(5));
    return answers(number, request);
  }};
  std::unique_ptr<GrafanaAnnotator> annotator_;
};

TEST_F(GrafanaAnnotatorTest, WritesTheBeginAndLaterTheEnd) {
  Start();
  ASSERT_TRUE(WaitRequests(1));
  End();
  ASSERT_TRUE(WaitRequests(2));
  const std::vector<std::string> requests = Requests();
  EXPECT_THAT(requests[0], StartsWith("POST /api/annotations HTTP/1.1\r\n"));
  EXPECT_THAT(requests[0], HasSubstr("Authorization: Bearer glsa_secret\r\n"));
  EXPECT_THAT(requests[0], HasSubstr("Content-Type: application/json\r\n"));
  const nlohmann::json begin = Body(requests[0]);
  EXPECT_EQ(begin["time"], begin_ms_) << "the first impact, not the apply";
  EXPECT_FALSE(begin.contains("timeEnd"));
  EXPECT_THAT(begin["tags"].get<std::vector<std::string>>(),
              ElementsAre("firedrill", "experiment:cache-loss", "fault:packet_loss", "host:cache1",
                          "injection:20261122-1.1"));
  EXPECT_THAT(begin["text"].get<std::string>(), HasSubstr("33 %"));
  EXPECT_THAT(begin["text"].get<std::string>(), HasSubstr("on cache1"));
  EXPECT_THAT(requests[1], StartsWith("PATCH /api/annotations/17 HTTP/1.1\r\n"));
  EXPECT_EQ(Body(requests[1]), nlohmann::json({{"timeEnd", begin_ms_ + 60'000}}));
  annotator_->Stop();
  EXPECT_EQ(Requests().size(), 2U) << "and no more";
  EXPECT_EQ(annotator_->figures().written, 1U);
  EXPECT_EQ(annotator_->figures().waiting, 0U);
}

TEST_F(GrafanaAnnotatorTest, WhatIsOverWhenItIsSeenIsWrittenOnce) {
  End();
  v1::Run finished = *run_;
  run_->clear_injections();  // it never was among the live ones
  Start();
  annotator_->RunFinished(finished);
  ASSERT_TRUE(WaitRequests(1));
  annotator_->RunFinished(finished);
  annotator_->Stop();
  ASSERT_EQ(Requests().size(), 1U);
  EXPECT_EQ(Body(Requests()[0])["timeEnd"], begin_ms_ + 60'000);
}

TEST_F(GrafanaAnnotatorTest, NothingIsWrittenBeforeTheFaultHasBegun) {
  run_->mutable_injections(0)->clear_applied_at();
  run_->mutable_injections(0)->clear_first_impact_at();
  Start();
  annotator_->Stop();
  EXPECT_TRUE(Requests().empty());
}

TEST_F(GrafanaAnnotatorTest, TriesAgainAfter500And401WithTheTokenThatIsThereThen) {
  Answers([this](int number, const std::string&) {
    if (number == 0) return HttpAnswer(500, "text/plain", "database is locked");
    if (number == 1) {
      folder_.Write("token", "glsa_new");
      return HttpAnswer(401, "application/json", R"({"message":"Invalid API key"})");
    }
    return JsonAnswer(number == 2 ? "[]" : kAdded);
  });
  Start();
  ASSERT_TRUE(WaitFigures([](const AnnotationFigures& f) { return f.written == 1; }));
  const std::vector<std::string> requests = Requests();
  EXPECT_EQ(annotator_->figures().failed, 2U);
  EXPECT_EQ(annotator_->figures().dropped, 0U);
  EXPECT_THAT(requests[0], HasSubstr("Bearer glsa_secret"));
  EXPECT_THAT(requests.back(), HasSubstr("Bearer glsa_new"));
}

TEST_F(GrafanaAnnotatorTest, ARequestThatIsRefusedForGoodIsGivenUp) {
  Answers([](int, const std::string&) { return HttpAnswer(400, "application/json", "{}"); });
  Start();
  ASSERT_TRUE(WaitFigures([](const AnnotationFigures& f) { return f.dropped == 1; }));
  annotator_->Stop();
  EXPECT_EQ(Requests().size(), 1U);
}

TEST_F(GrafanaAnnotatorTest, AfterALostAnswerItLooksBeforeItWritesAgain) {
  Answers([](int number, const std::string& request) {
    if (number == 0) return std::string();  // it was taken, and the connection broke
    if (request.rfind("GET", 0) == 0) return JsonAnswer(R"([{"id":23,"time":1}])");
    return JsonAnswer(kAdded);
  });
  Start();
  ASSERT_TRUE(WaitRequests(2));
  EXPECT_THAT(Requests()[1], StartsWith("GET /api/annotations?limit=1&tags=firedrill&"
                                        "tags=injection%3A20261122-1.1 HTTP/1.1\r\n"));
  End();
  ASSERT_TRUE(WaitRequests(3));
  EXPECT_THAT(Requests()[2], StartsWith("PATCH /api/annotations/23 HTTP/1.1\r\n"));
}

TEST_F(GrafanaAnnotatorTest, AnAnswerThatIsNestedTooDeeplyIsNotGrafanas) {
  Answers([](int number, const std::string& request) {
    if (number == 0) {
      return JsonAnswer(R"({"id":17,"of":)" + std::string(100, '[') + std::string(100, ']') + "}");
    }
    return JsonAnswer(request.rfind("GET", 0) == 0 ? "[]" : kAdded);
  });
  Start();
  ASSERT_TRUE(WaitFigures([](const AnnotationFigures& f) { return f.written == 1; }));
  EXPECT_EQ(annotator_->figures().failed, 1U);
}

TEST_F(GrafanaAnnotatorTest, ARestartedControllerGoesOnWithItsAnnotation) {
  *run_->mutable_injections(0)->mutable_first_impact_at() = ToProto(begin_ - std::chrono::hours(1));
  Answers([](int, const std::string& request) {
    return JsonAnswer(request.rfind("GET", 0) == 0 ? R"([{"id":23}])" : kAdded);
  });
  Start();
  End();
  ASSERT_TRUE(WaitRequests(2));
  annotator_->Stop();
  EXPECT_THAT(Requests(),
              ElementsAre(StartsWith("GET "), StartsWith("PATCH /api/annotations/23 ")));
}

TEST_F(GrafanaAnnotatorTest, AHangingGrafanaHoldsNobodyUp) {
  hang_ = true;
  deadline_ = std::chrono::minutes(1);
  Start();
  ASSERT_TRUE(WaitRequests(1));
  annotator_->RunFinished(*run_);
  EXPECT_EQ(annotator_->figures().failed, 0U) << "the first request still waits";
}

TEST_F(GrafanaAnnotatorTest, AHangingGrafanaIsLeftAtTheEnd) {
  hang_ = true;
  deadline_ = milliseconds(300);
  Start();
  const SteadyTime before = Clock::Real().Steady();
  ASSERT_TRUE(
      WaitFigures([](const AnnotationFigures& f) { return f.failed >= 1 && f.waiting == 1; }));
  annotator_->Stop();
  EXPECT_LT(Clock::Real().Steady() - before, seconds(6)) << "its end waits for a bounded time";
}

TEST_F(GrafanaAnnotatorTest, GivesUpInTheEnd) {
  Answers([](int, const std::string&) { return HttpAnswer(503, "text/plain", ""); });
  Start();
  ASSERT_TRUE(WaitFigures([](const AnnotationFigures& f) { return f.failed >= 2; }));
  EXPECT_EQ(annotator_->figures().dropped, 0U);
  clock_.Advance(std::chrono::minutes(11));
  EXPECT_TRUE(WaitFigures([](const AnnotationFigures& f) { return f.dropped == 1; }));
}

TEST_F(GrafanaAnnotatorTest, WhatWaitsIsBounded) {
  most_ = 2;
  for (int i = 2; i <= 4; ++i) {
    v1::Injection more = run_->injections(0);
    more.set_id("20261122-1." + std::to_string(i));
    *run_->add_injections() = more;
  }
  Answers([](int, const std::string&) { return HttpAnswer(503, "text/plain", ""); });
  Start();
  ASSERT_TRUE(WaitFigures([](const AnnotationFigures& f) { return f.dropped >= 2; }));
  EXPECT_LE(annotator_->figures().waiting, 2U);
}

TEST_F(GrafanaAnnotatorTest, RefusesWhatIsNoUrlAndATokenThatIsNotThere) {
  const auto error = [](const std::string& url, const std::string& token) {
    GrafanaOptions options;
    options.url = url;
    options.token_file = token;
    return std::string(GrafanaAnnotator::Create(options, nullptr).status().message());
  };
  EXPECT_THAT(error("grafana:3000", token_), HasSubstr("http://"));
  EXPECT_THAT(error("http://grafana:3000", folder_.path() + "/none"), HasSubstr("cannot be read"));
  EXPECT_THAT(error("http://grafana:3000", folder_.Write("empty", "\n")),
              HasSubstr("the file is empty"));
}

}  // namespace
}  // namespace firedrill::controller
