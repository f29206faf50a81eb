// SPDX-License-Identifier: Apache-2.0
// Pasts in which something happened to the monitoring itself; see past_test.cc for the instants.
#include <gmock/gmock.h>

#include "tests/system/past_fixture.h"

namespace firedrill::controller {
namespace {

using testing::HasSubstr;

TEST_F(PastTest, SlowScrapeIsStampedBeforeTheImpactThatItShows) {
  // Scrapes at 99.8 s and so on, which took half a second: the one before the impact shows it.
  scenario_.scrape_phase = 4'800;
  WatchShop(BadBetween(99'800, 140'000));
  Ask();
  Measure();
  const v1::Mark breached = Mark(v1::MARK_KIND_SLO_BREACHED);
  EXPECT_NEAR(Ms(breached.at()), 100'000, 20);
  EXPECT_GE(Ms(breached.uncertainty()), 200);
  ExpectMark(v1::MARK_KIND_ALERT_FIRING, 118'400);
  EXPECT_EQ(Stage(run_.alerts(0), v1::STAGE_KIND_SCRAPE), 0);
  EXPECT_NEAR(Stage(run_.alerts(0), v1::STAGE_KIND_EVALUATION), 3'400, 20);
}

TEST_F(PastTest, RestartedPrometheusLeavesAHoleInOneEpisode) {
  scenario_.length = 240'000;
  scenario_.ended = 190'000;
  scenario_.blind = {{120'000, 150'000}};
  WatchShop(BadBetween(100'000, 190'000));
  Ask();
  Measure();
  EXPECT_EQ(run_.alerts(0).episodes(), 1u);
  EXPECT_EQ(Marks(v1::MARK_KIND_ALERT_FIRING), 1);
  EXPECT_EQ(Marks(v1::MARK_KIND_ALERT_RESOLVED), 1);
  ExpectMark(v1::MARK_KIND_ALERT_FIRING, 118'400);
  ExpectMark(v1::MARK_KIND_ALERT_RESOLVED, 193'400);
}

TEST_F(PastTest, RestartedPrometheusLosesAShortFor) {
  scenario_.length = 240'000;
  scenario_.ended = 190'000;
  scenario_.blind = {{105'000, 130'000}};
  WatchShop(BadBetween(100'000, 190'000));
  Ask();
  Measure();
  EXPECT_EQ(run_.alerts(0).episodes(), 1u);
  ExpectMark(v1::MARK_KIND_ALERT_PENDING, 103'400);
  ExpectMark(v1::MARK_KIND_ALERT_FIRING, 148'400);
  EXPECT_NEAR(Stage(run_.alerts(0), v1::STAGE_KIND_DELAY), 30'000, 20);
}

TEST_F(PastTest, IndicatorThatVanishesHasNotRecoveredThoughItsAlertResolves) {
  scenario_.vanishes = 125'000;
  scenario_.expression = "max_over_time(shop_ok[10s]) == 0";
  const auto well = BadBetween(100'000, 180'000);
  ScrapeShop(well);
  // Two bad scrapes fill the window; it is empty from 10 s after the last on, at 131.2 s.
  Alert("ShopDown", [](std::int64_t at) { return at >= 106'200 && at < 131'200; });
  Expect("shop_ok", 1);
  Detect("ShopDown");
  Ask();
  Measure();
  EXPECT_EQ(run_.detection(), v1::DETECTION_OUTCOME_DETECTED);
  EXPECT_EQ(Marks(v1::MARK_KIND_ALERT_RESOLVED), 1);
  EXPECT_EQ(Marks(v1::MARK_KIND_RECOVERED), 0);
  EXPECT_EQ(run_.recovery(), v1::RECOVERY_OUTCOME_UNKNOWN);
  EXPECT_THAT(run_.indicators(0).explanation(), HasSubstr("not known"));
}

TEST_F(PastTest, ResolvedByADyingPrometheusIsNoResolution) {
  // It dies at 125 s; minutes later its Alertmanager says "resolved" of its own accord.
  scenario_.blind = {{125'000, 180'000}};
  WatchShop(BadBetween(100'000, 180'000));
  Notify("ShopDown", 118'400, 118'450);
  Notify("ShopDown", 118'400, 170'000, /*firing=*/false);
  Ask();
  Measure();
  ExpectMark(v1::MARK_KIND_ALERT_FIRING, 118'400);
  EXPECT_EQ(Marks(v1::MARK_KIND_ALERT_RESOLVED), 0);
  EXPECT_EQ(Marks(v1::MARK_KIND_RECOVERED), 0);
}

TEST_F(PastTest, FalseAlarmOfARunWithoutAFault) {
  scenario_.pending_for = 0;
  ScrapeShop([](std::int64_t) { return true; });
  scenario_.expression = "shop_ok > 1";
  Alert("ShopDown", [](std::int64_t at) { return at >= 111'000 && at < 116'000; });
  Expect("shop_ok", 1);
  Detect("ShopDown");
  v1::Step& step = *run_.mutable_experiment()->add_method();
  step.set_name("watch");
  step.mutable_fault()->mutable_none();
  Ask();
  Measure();
  EXPECT_EQ(run_.detection(), v1::DETECTION_OUTCOME_FALSE_ALARM);
  EXPECT_EQ(run_.false_alarms(), 1u);
  EXPECT_EQ(run_.recovery(), v1::RECOVERY_OUTCOME_ABSORBED);
}

TEST_F(PastTest, ControllerThatStartsAgainKnowsTheSame) {
  WatchShop(BadBetween(100'000, 140'000));
  Notify("ShopDown", 118'400, 118'900);
  Ask();
  v1::Run resumed;
  ASSERT_TRUE(resumed.ParseFromString(run_.SerializeAsString()));
  Measure();
  // It asks for the same once more, a little later.
  EvidenceRecord record(resumed);
  std::vector<v1::Series> fresh;
  record.Take(answer_, At(0), fresh);
  EXPECT_TRUE(fresh.empty());
  record.Measure(At(scenario_.length), /*final=*/true);
  EXPECT_EQ(resumed.DebugString(), run_.DebugString());
}

}  // namespace
}  // namespace firedrill::controller
