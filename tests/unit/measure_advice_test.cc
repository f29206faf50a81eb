// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "controller/measure/advice.h"
#include "tests/unit/measure_evidence.h"

namespace firedrill::controller {
namespace {

Nanoseconds S(double seconds) { return Nanoseconds(std::llround(seconds * 1e9)); }

class AdviceTest : public testing::Test {
 protected:
  AdviceTest() {
    result_.mutable_expected()->set_alert("ShopSlow");
    evidence_.rule.emplace();
    evidence_.rule->expression = "shop_latency_seconds > 0.3";
    evidence_.rule->evaluation_interval = S(15);
    evidence_.rule->pending_for = S(30);
    evidence_.rule->scrape_interval = S(15);
    evidence_.route.emplace();
    evidence_.route->receiver = "page";
    evidence_.route->delivers = true;
  }

  void Detected(double seconds, double condition) {
    *result_.mutable_time_to_detect()->mutable_value() = ToProto(S(seconds));
    v1::Stage& stage = *result_.add_stages();
    stage.set_kind(v1::STAGE_KIND_CONDITION);
    *stage.mutable_value() = ToProto(S(condition));
  }

  // Of a kind; a failure if there are several.
  std::optional<v1::Advice> Find(v1::AdviceKind kind) const {
    std::optional<v1::Advice> found;
    for (const v1::Advice& advice : AdviseOn(result_, evidence_)) {
      if (advice.kind() != kind) continue;
      EXPECT_FALSE(found) << advice.message();
      EXPECT_EQ(advice.subject(), "ShopSlow");
      found = advice;
    }
    return found;
  }

  v1::AlertResult result_;
  AlertEvidence evidence_;
};

TEST_F(AdviceTest, SaysNothingOfARuleThatIsWell) {
  for (const v1::Advice& advice : AdviseOn(result_, evidence_)) ADD_FAILURE() << advice.message();
}

TEST_F(AdviceTest, SaysNothingWithoutRuleAndRoute) {
  evidence_ = AlertEvidence();
  EXPECT_TRUE(AdviseOn(result_, evidence_).empty());
}

TEST_F(AdviceTest, ForThatIsNoMultipleOfTheEvaluationInterval) {
  evidence_.rule->pending_for = S(32);
  const auto advice = Find(v1::ADVICE_KIND_FOR_NOT_A_MULTIPLE);
  ASSERT_TRUE(advice);
  EXPECT_EQ(advice->message(),
            "for: 32s with an evaluation interval of 15s fires only after 45s, 13s later than it "
            "says: for: 30s would fire 15s sooner, an interval that divides 32s 13s sooner, and "
            "for: 45s would say what happens");
  EXPECT_EQ(FromProto(advice->gain()), S(13));
  evidence_.rule->evaluation_interval = S(0);  // not known
  EXPECT_FALSE(Find(v1::ADVICE_KIND_FOR_NOT_A_MULTIPLE));
}

TEST_F(AdviceTest, RangeWithoutRoomForTwoScrapes) {
  evidence_.rule->window = S(30);
  EXPECT_FALSE(Find(v1::ADVICE_KIND_SCRAPE_OVER_LOOK_BACK));
  evidence_.rule->window = S(29);
  const auto advice = Find(v1::ADVICE_KIND_SCRAPE_OVER_LOOK_BACK);
  ASSERT_TRUE(advice);
  EXPECT_NE(advice->message().find("looks back over 29s, but what it reads is scraped every 15s"),
            std::string::npos)
      << advice->message();
  EXPECT_NE(advice->message().find("A range of 1m"), std::string::npos) << advice->message();
  EXPECT_FALSE(advice->has_gain());
}

TEST_F(AdviceTest, SamplesThatAreStaleBeforeTheNextOne) {
  evidence_.rule->scrape_interval = S(299);
  EXPECT_FALSE(Find(v1::ADVICE_KIND_SCRAPE_OVER_LOOK_BACK));
  evidence_.rule->scrape_interval = S(300);
  const auto advice = Find(v1::ADVICE_KIND_SCRAPE_OVER_LOOK_BACK);
  ASSERT_TRUE(advice);
  EXPECT_NE(advice->message().find("scraped every 5m, but a sample is stale after 5m"),
            std::string::npos)
      << advice->message();
  evidence_.rule->scrape_interval.reset();
  EXPECT_FALSE(Find(v1::ADVICE_KIND_SCRAPE_OVER_LOOK_BACK));
}

TEST_F(AdviceTest, RatioOrRateThatVanishes) {
  const std::string ratio =
      "sum(rate(errors_total{job=\"shop\"}[1m])) / sum(rate(requests_total[1m])) > 0.01";
  struct {
    std::string expression;
    const char* says;  // null: nothing
  } const cases[] = {
      {ratio, "a ratio of errors_total{job=\"shop\"}, requests_total"},
      {"rate(errors_total[5m]) > 1", "a rate of errors_total"},
      {"increase(errors_total[5m]) > 1", "`or absent(errors_total)`"},
      {"errors / on(job) group_left requests > 0.1", "a ratio of errors, requests"},
      {ratio + " or absent(requests_total)", nullptr},
      {ratio + " or absent_over_time(requests_total[5m])", nullptr},
      {"bytes / 1024 > 3", nullptr},
      {"bytes / (1024 * 1024) > 3", nullptr},
      {"up == 0", nullptr},
      {"absent(up)", nullptr},
  };
  for (const auto& one : cases) {
    evidence_.rule->expression = one.expression;
    const auto advice = Find(v1::ADVICE_KIND_NO_ABSENT);
    ASSERT_EQ(advice.has_value(), one.says != nullptr) << one.expression;
    if (!advice) continue;
    EXPECT_NE(advice->message().find(one.says), std::string::npos) << advice->message();
  }
  evidence_.rule->expression = ratio;
  evidence_.rule->absent_in = {"ShopGone"};
  EXPECT_FALSE(Find(v1::ADVICE_KIND_NO_ABSENT)) << "another rule looks after it";
}

TEST_F(AdviceTest, AlertThatNobodyGets) {
  evidence_.route->delivers = false;
  auto advice = Find(v1::ADVICE_KIND_NO_RECEIVER);
  ASSERT_TRUE(advice);
  EXPECT_EQ(advice->message(),
            "Alertmanager's route leads to the receiver page, which has no way out: nobody is "
            "told of it");
  evidence_.route->receiver.clear();
  advice = Find(v1::ADVICE_KIND_NO_RECEIVER);
  ASSERT_TRUE(advice);
  EXPECT_NE(advice->message().find("to no Alertmanager"), std::string::npos);
  evidence_.route.reset();
  EXPECT_FALSE(Find(v1::ADVICE_KIND_NO_RECEIVER)) << "what is not known is not advised on";
}

TEST_F(AdviceTest, WindowThatIsMostOfTheTimeToDetect) {
  evidence_.rule->window = S(300);
  Detected(120, 90);
  const auto advice = Find(v1::ADVICE_KIND_WINDOW);
  ASSERT_TRUE(advice);
  EXPECT_EQ(FromProto(advice->gain()), S(45)) << "by half a window, half of the condition";
  EXPECT_EQ(advice->message(),
            "1m30s of the 2m to detect passed until its window of 5m had filled far enough with "
            "the fault. A window of 2m30s needs about 45s less where a share of errors is steady, "
            "and is noisier");
}

TEST_F(AdviceTest, WindowIsNotBlamedForWhatTheSystemTook) {
  evidence_.rule->window = S(300);
  Detected(500, 400);
  EXPECT_FALSE(Find(v1::ADVICE_KIND_WINDOW)) << "longer than the window can last";
  result_.clear_stages();
  Detected(120, 60);
  EXPECT_FALSE(Find(v1::ADVICE_KIND_WINDOW)) << "not most of the time";
}

TEST_F(AdviceTest, WindowIsNotMadeShorterThanFourScrapes) {
  evidence_.rule->window = S(80);
  Detected(60, 40);
  const auto advice = Find(v1::ADVICE_KIND_WINDOW);
  ASSERT_TRUE(advice);
  EXPECT_NE(advice->message().find("A window of 1m needs about 10s less"), std::string::npos)
      << advice->message();
  evidence_.rule->window = S(60);
  EXPECT_FALSE(Find(v1::ADVICE_KIND_WINDOW));
}

}  // namespace
}  // namespace firedrill::controller
