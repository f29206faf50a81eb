// SPDX-License-Identifier: Apache-2.0
// A rule replayed over a real Prometheus' past of which the truth is known: how often, and for how
// long, its expression held is written into blocks before it starts.
#include "controller/replay/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/support/time.h"
#include "tests/lib/history.h"
#include "tests/lib/prometheus.h"

namespace firedrill::controller {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kScrape = 15'000;
constexpr std::int64_t kScrapePhase = 4'000;
constexpr std::int64_t kEvaluation = 15'000;
constexpr std::int64_t kEvaluationPhase = 6'700;
constexpr std::int64_t kHour = 3'600'000;

// Six hours in which shop_ok was 0 for so many scrapes at once. Each evaluation sees the scrape
// that was 2.7 s before it, so n scrapes are n evaluations.
class PastReplayTest : public testing::Test {
 protected:
  void Write(const std::vector<int>& lengths) {
    const std::int64_t now =
        std::chrono::duration_cast<milliseconds>(Clock::Real().System().time_since_epoch()).count();
    to_ms_ = now / kScrape * kScrape + kScrapePhase - 2 * kScrape;
    from_ms_ = to_ms_ - 6 * kHour;
    std::size_t next = 0;
    int left = 0;
    int pause = 40;  // scrapes that are well
    for (std::int64_t at = from_ms_; at <= to_ms_; at += kScrape) {
      if (left == 0 && pause == 0 && next < lengths.size()) left = lengths[next++];
      const bool blind = at >= blind_from_ms_ && at < blind_to_ms_;
      if (!blind) {
        history_.Add("up{job=\"shop\",instance=\"a\"}", at, 1);
        history_.Add("shop_ok{job=\"shop\",instance=\"a\"}", at, left > 0 ? 0 : 1);
        history_.Add("shop_ok{job=\"shop\",instance=\"b\"}", at, 1);
      }
      if (left > 0) {
        if (--left == 0) pause = 30;
      } else if (pause > 0) {
        --pause;
      }
    }
    ASSERT_EQ(next, lengths.size()) << "the past is too short for these";
  }

  void Start() {
    auto started = test::Prometheus::StartWithPast(
        "global: {scrape_interval: 15s, evaluation_interval: 15s}\n", "", history_.OpenMetrics());
    ASSERT_TRUE(started.ok()) << started.status();
    prometheus_ = *std::move(started);
    PrometheusOptions options;
    options.url = prometheus_->url();
    past_ = PrometheusPast::Create(options).value();
  }

  static RulePastQuestion Question(Nanoseconds look_back) {
    RulePastQuestion question;
    question.expression = "shop_ok == 0";
    question.evaluation_interval = milliseconds(kEvaluation);
    question.evaluated_at_ms = kEvaluationPhase;
    question.look_back = look_back;
    return question;
  }

  static std::uint32_t Pages(const RulePast& past, int pending_for) {
    v1::AlertRule rule;
    *rule.mutable_evaluation_interval() = ToProto(milliseconds(kEvaluation));
    return PagesOf(past, rule, seconds(pending_for));
  }

  test::History history_;
  std::int64_t from_ms_ = 0;
  std::int64_t to_ms_ = 0;
  std::int64_t blind_from_ms_ = 0;
  std::int64_t blind_to_ms_ = 0;
  std::unique_ptr<test::Prometheus> prometheus_;
  std::unique_ptr<PrometheusPast> past_;
};

TEST_F(PastReplayTest, CountsThePagesThatEachForWouldHaveCost) {
  // Lasting 0, 15, 30, 45, 60 and 135 s from their first to their last evaluation.
  Write({1, 2, 2, 3, 1, 4, 5, 10});
  Start();
  const absl::StatusOr<RulePast> past = past_->Read(Question(hours(6)), nullptr);
  ASSERT_TRUE(past.ok()) << past.status();
  ASSERT_EQ(past->series.size(), 1U);
  EXPECT_EQ(past->step_ms, kEvaluation);
  EXPECT_FALSE(past->clipped);
  EXPECT_THAT(past->holes_unknown, IsEmpty());
  EXPECT_THAT(past->holes, IsEmpty());
  for (const Stretch& stretch : past->series.begin()->second) {
    EXPECT_EQ((stretch.first_ms - kEvaluationPhase) % kEvaluation, 0);
  }
  EXPECT_EQ(Pages(*past, 0), 8U);
  EXPECT_EQ(Pages(*past, 1), 6U);
  EXPECT_EQ(Pages(*past, 15), 6U);
  EXPECT_EQ(Pages(*past, 16), 4U);
  EXPECT_EQ(Pages(*past, 45), 3U);
  EXPECT_EQ(Pages(*past, 60), 2U);
  EXPECT_EQ(Pages(*past, 135), 1U);
  EXPECT_EQ(Pages(*past, 136), 0U);
}

// The evaluations of an interval of 1 s need several queries: a stretch goes on from one to the
// next.
TEST_F(PastReplayTest, AStretchGoesOnOverTheEdgeOfAQuery) {
  Write({1, 700, 1});  // nearly three hours: over 11,000 s
  Start();
  RulePastQuestion question = Question(hours(6));
  question.evaluation_interval = seconds(1);
  question.evaluated_at_ms = 300;
  const absl::StatusOr<RulePast> past = past_->Read(question, nullptr);
  ASSERT_TRUE(past.ok()) << past.status();
  ASSERT_EQ(past->series.size(), 1U);
  ASSERT_EQ(past->series.begin()->second.size(), 3U);
  const Stretch& longest = past->series.begin()->second[1];
  EXPECT_EQ(longest.last_ms - longest.first_ms, 700 * kScrape - 1000);
}

// A rule with a query offset sees the same, later.
TEST_F(PastReplayTest, ARuleThatIsEvaluatedOverThePastIsMovedByThat) {
  Write({4});
  Start();
  RulePastQuestion question = Question(hours(6));
  const absl::StatusOr<RulePast> without = past_->Read(question, nullptr);
  question.query_offset = minutes(1);
  const absl::StatusOr<RulePast> with = past_->Read(question, nullptr);
  ASSERT_TRUE(without.ok() && with.ok()) << with.status();
  EXPECT_EQ(with->series.begin()->second[0].first_ms,
            without->series.begin()->second[0].first_ms + 60'000);
}

TEST_F(PastReplayTest, TellsHolesAndHowFarThePastReaches) {
  const std::int64_t now =
      std::chrono::duration_cast<milliseconds>(Clock::Real().System().time_since_epoch()).count();
  blind_from_ms_ = now - 3 * kHour;
  blind_to_ms_ = now - 2 * kHour;
  Write({2});
  Start();
  const absl::StatusOr<RulePast> past = past_->Read(Question(hours(24)), nullptr);
  ASSERT_TRUE(past.ok()) << past.status();
  EXPECT_TRUE(past->clipped);
  EXPECT_NEAR(static_cast<double>(past->from_ms), static_cast<double>(from_ms_), 60'000);
  ASSERT_EQ(past->holes.size(), 1U);
  EXPECT_NEAR(static_cast<double>(past->holes[0].from_ms), static_cast<double>(blind_from_ms_),
              60'000);
  EXPECT_NEAR(static_cast<double>(past->holes[0].to_ms), static_cast<double>(blind_to_ms_), 60'000);
}

TEST_F(PastReplayTest, ARunsAlertIsReplayedWithItsOwnRule) {
  Write({3, 3, 8});
  Start();
  // The third one was the run's: it fired a minute after it had become true.
  const absl::StatusOr<RulePast> whole = past_->Read(Question(hours(6)), nullptr);
  ASSERT_TRUE(whole.ok()) << whole.status();
  const Stretch& own = whole->series.begin()->second.at(2);
  const auto at = [](std::int64_t ms) { return ToProto(SystemTime(milliseconds(ms))); };
  v1::Run run;
  run.set_id("run1");
  run.mutable_experiment()->add_detection()->set_alert("ShopDown");
  v1::Mark& impact = *run.add_marks();
  impact.set_kind(v1::MARK_KIND_FIRST_IMPACT);
  *impact.mutable_at() = at(own.first_ms - 9'000);
  *run.add_alerts()->mutable_time_to_detect()->mutable_value() = ToProto(seconds(69));
  v1::AlertEvidence& evidence = *run.mutable_evidence()->add_alerts();
  v1::AlertRule& rule = *evidence.mutable_rule();
  rule.set_expression("shop_ok == 0");
  *rule.mutable_evaluation_interval() = ToProto(seconds(15));
  *rule.mutable_pending_for() = ToProto(seconds(60));
  v1::Series& series = *run.add_series();
  series.set_name("ShopDown.pending");
  evidence.add_series()->set_series("ShopDown.pending");
  for (std::int64_t ms = own.first_ms; ms <= own.last_ms; ms += kEvaluation) {
    v1::Sample& sample = *series.add_samples();
    *sample.mutable_at() = at(ms);
    sample.set_value(1);
  }
  v1::ReplayRuleRequest request;
  *request.mutable_look_back() = ToProto(hours(6));
  *request.add_pending_for() = ToProto(seconds(20));
  const absl::StatusOr<ReplayPlan> plan = PlanReplay(run, request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(*plan->question.evaluated_at_ms % kEvaluation, kEvaluationPhase);
  const absl::StatusOr<RulePast> past = past_->Read(plan->question, nullptr);
  ASSERT_TRUE(past.ok()) << past.status();
  const v1::ReplayRuleResponse response = Replay(run, *plan, *past);
  ASSERT_EQ(response.replayed_size(), 2);
  EXPECT_EQ(response.replayed(0).pages(), 1U);
  EXPECT_EQ(FromProto(response.replayed(0).time_to_detect()), seconds(69));
  EXPECT_EQ(response.replayed(1).pages(), 3U);  // 20 s end at the third evaluation, as 30 s do
  EXPECT_EQ(FromProto(response.replayed(1).time_to_detect()), seconds(39));
  EXPECT_EQ(FromProto(response.replayed(1).gain()), seconds(30));
  EXPECT_THAT(response.caveats(), IsEmpty());
}

TEST_F(PastReplayTest, SaysWhatPrometheusSaysAndStopsWhenNobodyWaits) {
  Write({1});
  Start();
  RulePastQuestion question = Question(hours(1));
  question.expression = "shop_ok ==";
  EXPECT_THAT(past_->Read(question, nullptr).status().ToString(), HasSubstr("parse error"));
  EXPECT_EQ(past_->Read(Question(hours(1)), [] { return true; }).status().code(),
            absl::StatusCode::kCancelled);
  // A month at every second is more than is asked of a Prometheus: every fourth.
  question = Question(hours(31 * 24));
  question.evaluation_interval = seconds(1);
  const absl::StatusOr<RulePast> past = past_->Read(question, nullptr);
  ASSERT_TRUE(past.ok()) << past.status();
  EXPECT_EQ(past->step_ms, 4'000);
}

}  // namespace
}  // namespace firedrill::controller
