// SPDX-License-Identifier: Apache-2.0
// Detection and recovery of pasts whose truth is known, told by a real Prometheus: every instant
// within 20 ms of the analytic answer and within the ± that is claimed, every waterfall adding up,
// every measurement the same when it is computed again from what is stored.
//
// Scrapes are at 1.2 s + n · 5 s, evaluations at 3.4 s + n · 5 s, the impact at 100 s, the end at
// 140 s and `for` is 12 s, unless a test says otherwise. So what breaks with the impact is scraped
// at 101.2 s, evaluated at 103.4 s and fires at 118.4 s.
#include <gmock/gmock.h>

#include <algorithm>

#include "proto/support/time.h"
#include "tests/system/past_fixture.h"

namespace firedrill::controller {
namespace {

using testing::HasSubstr;

TEST_F(PastTest, OrdinaryDetectionAndItsStages) {
  WatchShop(BadBetween(100'000, 140'000));
  Notify("ShopDown", 118'400, 118'900);
  Ask();
  Measure();

  ExpectMark(v1::MARK_KIND_SLO_BREACHED, 101'200);
  ExpectMark(v1::MARK_KIND_ALERT_PENDING, 103'400);
  ExpectMark(v1::MARK_KIND_ALERT_FIRING, 118'400);
  ExpectMark(v1::MARK_KIND_NOTIFIED, 118'900);
  ExpectMark(v1::MARK_KIND_ALERT_RESOLVED, 143'400);
  ExpectMark(v1::MARK_KIND_RECOVERED, 141'200);
  EXPECT_EQ(run_.detection(), v1::DETECTION_OUTCOME_DETECTED);
  EXPECT_EQ(run_.recovery(), v1::RECOVERY_OUTCOME_AFTER_END);
  const v1::AlertResult& alert = run_.alerts(0);
  EXPECT_NEAR(Stage(alert, v1::STAGE_KIND_SCRAPE), 1'200, 20);
  EXPECT_NEAR(Stage(alert, v1::STAGE_KIND_CONDITION), 0, 20);
  EXPECT_NEAR(Stage(alert, v1::STAGE_KIND_EVALUATION), 2'200, 20);
  EXPECT_NEAR(Stage(alert, v1::STAGE_KIND_FOR), 12'000, 1);
  EXPECT_NEAR(Stage(alert, v1::STAGE_KIND_ROUNDING), 3'000, 1);
  EXPECT_NEAR(Stage(alert, v1::STAGE_KIND_DELAY), 0, 20);
  EXPECT_NEAR(Stage(alert, v1::STAGE_KIND_DELIVERY), 500, 20);
  EXPECT_EQ(alert.episodes(), 1u);
  EXPECT_NEAR(Ms(run_.indicators(0).time_to_recover_from_end().value()), 1'200, 20);
}

TEST_F(PastTest, RecoversByItselfWhileTheFaultIsOn) {
  WatchShop(BadBetween(100'000, 120'000));
  Ask();
  Measure();
  ExpectMark(v1::MARK_KIND_ALERT_FIRING, 118'400);
  ExpectMark(v1::MARK_KIND_RECOVERED, 121'200);
  EXPECT_EQ(run_.recovery(), v1::RECOVERY_OUTCOME_SELF_RECOVERED);
}

TEST_F(PastTest, AlertThatFiredBeforeTheImpactSaysNothing) {
  WatchShop(BadBetween(60'000, 140'000));
  Ask();
  Measure();
  EXPECT_EQ(run_.detection(), v1::DETECTION_OUTCOME_ALREADY_FIRING);
  EXPECT_FALSE(run_.has_time_to_detect());
  EXPECT_EQ(run_.alerts(0).stages_size(), 0);
  EXPECT_EQ(run_.recovery(), v1::RECOVERY_OUTCOME_UNKNOWN);
  EXPECT_THAT(run_.indicators(0).explanation(), HasSubstr("before the impact"));
}

TEST_F(PastTest, AlertOfOneSample) {
  scenario_.pending_for = 0;
  WatchShop(BadBetween(100'000, 104'000));
  Ask();
  Measure();
  ExpectMark(v1::MARK_KIND_ALERT_FIRING, 103'400);
  ExpectMark(v1::MARK_KIND_ALERT_RESOLVED, 108'400);
  EXPECT_EQ(Marks(v1::MARK_KIND_ALERT_PENDING), 0);
  EXPECT_EQ(run_.detection(), v1::DETECTION_OUTCOME_DETECTED);
  EXPECT_NEAR(Stage(run_.alerts(0), v1::STAGE_KIND_SCRAPE), 1'200, 20);
  EXPECT_NEAR(Stage(run_.alerts(0), v1::STAGE_KIND_EVALUATION), 2'200, 20);
  ExpectMark(v1::MARK_KIND_RECOVERED, 106'200);
}

TEST_F(PastTest, NeverDetectedIsCensored) {
  const auto well = BadBetween(100'000, 140'000);
  scenario_.expression = "shop_ok == 2";
  ScrapeShop(well);
  Alert("ShopDown", [](std::int64_t) { return false; });
  Expect("shop_ok", 1);
  Detect("ShopDown");
  Ask();
  Measure();
  EXPECT_EQ(run_.detection(), v1::DETECTION_OUTCOME_MISSED);
  ASSERT_TRUE(run_.has_time_to_detect());
  EXPECT_TRUE(run_.time_to_detect().censored());
  EXPECT_NEAR(Ms(run_.time_to_detect().value()), 80'000, 1);
  EXPECT_EQ(Marks(v1::MARK_KIND_ALERT_FIRING), 0);
  EXPECT_EQ(run_.alerts(0).stages_size(), 0);
}

TEST_F(PastTest, RecoveredBeforeItWasDetected) {
  // Twelve scrapes in the window: two bad ones make it true, from 106.2 s on.
  scenario_.expression = "avg_over_time(shop_ok[60s]) < 0.9";
  const auto well = BadBetween(100'000, 110'000);
  ScrapeShop(well);
  Alert("ShopSlow", [&](std::int64_t at) {
    int bad = 0;
    for (std::int64_t scrape = ScrapeBefore(at); scrape >= at - 60'000; scrape -= 5'000) {
      bad += well(scrape) ? 0 : 1;
    }
    return bad >= 2;
  });
  Expect("shop_ok", 1);
  Detect("ShopSlow");
  Ask();
  Measure();
  ExpectMark(v1::MARK_KIND_RECOVERED, 111'200);
  ExpectMark(v1::MARK_KIND_ALERT_PENDING, 108'400);
  ExpectMark(v1::MARK_KIND_ALERT_FIRING, 123'400);
  EXPECT_EQ(run_.detection(), v1::DETECTION_OUTCOME_DETECTED);
  EXPECT_EQ(run_.recovery(), v1::RECOVERY_OUTCOME_SELF_RECOVERED);
  EXPECT_NEAR(Stage(run_.alerts(0), v1::STAGE_KIND_SCRAPE), 1'200, 20);
  EXPECT_NEAR(Stage(run_.alerts(0), v1::STAGE_KIND_CONDITION), 5'000, 20);
  EXPECT_NEAR(Stage(run_.alerts(0), v1::STAGE_KIND_EVALUATION), 2'200, 20);
}

TEST_F(PastTest, FlappingSendsFewerWebhooksThanItHasEpisodes) {
  scenario_.pending_for = 0;
  const auto well = [](std::int64_t at) {
    return !((at >= 100'000 && at < 105'000) || (at >= 115'000 && at < 120'000) ||
             (at >= 130'000 && at < 135'000));
  };
  WatchShop(well);
  Notify("ShopDown", 103'400, 103'450);
  Notify("ShopDown", 133'400, 133'450);
  Ask();
  Measure();
  EXPECT_EQ(run_.alerts(0).episodes(), 3u);
  EXPECT_EQ(Marks(v1::MARK_KIND_ALERT_FIRING), 3);
  ExpectMark(v1::MARK_KIND_ALERT_FIRING, 103'400);
  ExpectMark(v1::MARK_KIND_NOTIFIED, 103'450);
  EXPECT_NEAR(Ms(run_.time_to_detect().value()), 3'400, 20);
  ExpectMark(v1::MARK_KIND_RECOVERED, 136'200);
}

TEST_F(PastTest, SeveralAlertsAndAnUnrelatedOne) {
  const auto well = BadBetween(100'000, 140'000);
  ScrapeShop(well);
  const auto down = [&](std::int64_t at) { return !well(ScrapeBefore(at)); };
  Alert("ShopDown", down);
  scenario_.evaluation_phase = 4'400;
  Alert("ShopSlow", down);
  Alert("DiskFull", [](std::int64_t at) { return at > 30'000 && at < 160'000; });
  Expect("shop_ok", 1);
  Detect("ShopSlow");
  Detect("ShopDown");
  Ask();
  Measure();
  EXPECT_EQ(run_.detection(), v1::DETECTION_OUTCOME_DETECTED);
  EXPECT_NEAR(Ms(run_.time_to_detect().value()), 18'400, 20);
  EXPECT_NEAR(Ms(run_.alerts(0).time_to_detect().value()), 19'400, 20);
  EXPECT_NEAR(Ms(run_.alerts(1).time_to_detect().value()), 18'400, 20);
  for (const v1::Mark& mark : run_.marks()) EXPECT_NE(mark.subject(), "DiskFull");
}

class SkewTest : public PastTest, public testing::WithParamInterface<std::int64_t> {};

TEST_P(SkewTest, PrometheusClockIsOffAndTheInstantsAreOurs) {
  const auto well = BadBetween(100'000, 140'000);
  ScrapeShop(well);
  Alert("ShopDown", [&](std::int64_t at) { return !well(ScrapeBefore(at)); });
  Expect("shop_ok", 1);
  Expect("sum(shop_ok)", 1);
  Detect("ShopDown");
  Ask(GetParam());
  EXPECT_NEAR(Seconds(answer_.clock_offset) * 1000, static_cast<double>(-GetParam()), 50);
  Measure();
  ExpectMark(v1::MARK_KIND_SLO_BREACHED, 101'200);
  ExpectMark(v1::MARK_KIND_ALERT_FIRING, 118'400);
  ExpectMark(v1::MARK_KIND_RECOVERED, 141'200);
  EXPECT_NEAR(Ms(run_.time_to_detect().value()), 18'400, 20);
  EXPECT_NEAR(Stage(run_.alerts(0), v1::STAGE_KIND_SCRAPE), 1'200, 20);
  EXPECT_NEAR(Stage(run_.alerts(0), v1::STAGE_KIND_EVALUATION), 2'200, 20);
}

INSTANTIATE_TEST_SUITE_P(Skew, SkewTest, testing::Values(30'000, -30'000),
                         [](const auto& skew) { return skew.param > 0 ? "Ahead" : "Behind"; });

TEST_F(PastTest, ScrapeIntervalOverTheLookBackIsTold) {
  // Each sample is seen for five minutes of the 400 s until the next: the alert comes and goes.
  scenario_.length = 3'650'000;
  scenario_.scrape = 400'000;
  scenario_.evaluation = 60'000;
  scenario_.pending_for = 0;
  scenario_.impact = 1'500'000;
  scenario_.ended = 2'800'000;
  const auto well = BadBetween(1'500'000, 2'800'000);
  ScrapeShop(well);
  Alert("ShopDown", [&](std::int64_t at) {
    return at - ScrapeBefore(at) < 300'000 && !well(ScrapeBefore(at));
  });
  Expect("shop_ok", 1);
  Detect("ShopDown");
  Ask();
  Measure();
  ExpectMark(v1::MARK_KIND_ALERT_FIRING, 1'623'400);
  ExpectMark(v1::MARK_KIND_RECOVERED, 2'801'200);
  // Of its three stretches two are one evaluation apart, which is not told from a missed one.
  EXPECT_EQ(run_.alerts(0).episodes(), 2u);
  EXPECT_NEAR(Stage(run_.alerts(0), v1::STAGE_KIND_SCRAPE), 101'200, 20);
  EXPECT_NEAR(Stage(run_.alerts(0), v1::STAGE_KIND_EVALUATION), 22'200, 20);
  bool told = false;
  for (const v1::Advice& advice : run_.advice()) {
    told = told || advice.kind() == v1::ADVICE_KIND_SCRAPE_OVER_LOOK_BACK;
  }
  EXPECT_TRUE(told) << run_.DebugString();
}

constexpr char kGood[] =
    "1 - sum(rate(shop_requests_total{code=\"500\"}[5m])) / sum(rate(shop_requests_total[5m]))";

TEST_F(PastTest, FiveMinuteWindowIsAStageAndDoesNotBlurRecovery) {
  // Half of the requests fail. Over 5 min more than a tenth of them have failed once more than 59 s
  // of failures are among the 295 s between the window's first and last scrape: at 461.2 s.
  scenario_.length = 1'050'000;
  scenario_.impact = 400'000;
  scenario_.ended = 700'000;
  scenario_.expression =
      "sum(rate(shop_requests_total{code=\"500\"}[5m])) / sum(rate(shop_requests_total[5m])) > 0.1";
  ScrapeRequests([](std::int64_t at) { return at >= 400'000 && at < 700'000 ? 0.5 : 0.0; });
  Alert("ShopErrors", [&](std::int64_t at) {
    const auto failing = [](std::int64_t until) {
      return 0.5 * static_cast<double>(std::clamp<std::int64_t>(until, 400'000, 700'000) - 400'000);
    };
    const std::int64_t last = ScrapeBefore(at);
    const std::int64_t first = ScrapeBefore(at - 300'000) + scenario_.scrape;
    return at >= 310'000 &&
           (failing(last) - failing(first)) / static_cast<double>(last - first) > 0.1;
  });
  v1::Indicator& sharp = Expect(kGood, 0.99);
  sharp.set_name("from scrape to scrape");
  sharp.set_reading(v1::INDICATOR_READING_PER_SCRAPE);
  Expect(kGood, 0.99).set_name("as written");
  Detect("ShopErrors");
  Ask();
  Measure();
  ExpectMark(v1::MARK_KIND_ALERT_PENDING, 463'400);
  ExpectMark(v1::MARK_KIND_ALERT_FIRING, 478'400);
  const v1::AlertResult& alert = run_.alerts(0);
  EXPECT_NEAR(Stage(alert, v1::STAGE_KIND_SCRAPE), 1'200, 20);
  EXPECT_NEAR(Stage(alert, v1::STAGE_KIND_CONDITION), 60'000, 20);
  EXPECT_NEAR(Stage(alert, v1::STAGE_KIND_EVALUATION), 2'200, 20);
  EXPECT_NEAR(Ms(run_.indicators(0).time_to_recover_from_end().value()), 6'200, 20);
  EXPECT_NEAR(Ms(run_.indicators(0).time_to_breach().value()), 1'200, 20);
  // Less than a hundredth of the window's requests have failed once 5.9 s of failures are left.
  EXPECT_NEAR(Ms(run_.indicators(1).time_to_recover_from_end().value()), 291'200, 20);
  EXPECT_THAT(run_.indicators(1).explanation(), HasSubstr("5m"));
}

TEST_F(PastTest, CounterResetIsNeitherAFailureNorARecovery) {
  ScrapeRequests([](std::int64_t at) { return at >= 100'000 && at < 140'000 ? 0.5 : 0.0; },
                 {60'000, 120'000});
  v1::Indicator& indicator = Expect(kGood, 0.99);
  indicator.set_reading(v1::INDICATOR_READING_PER_SCRAPE);
  Ask();
  Measure();
  ExpectMark(v1::MARK_KIND_SLO_BREACHED, 101'200);
  ExpectMark(v1::MARK_KIND_RECOVERED, 146'200);
  EXPECT_EQ(run_.recovery(), v1::RECOVERY_OUTCOME_AFTER_END);
  EXPECT_NEAR(run_.indicators(0).lowest(), 0.5, 0.001);
}

}  // namespace
}  // namespace firedrill::controller
