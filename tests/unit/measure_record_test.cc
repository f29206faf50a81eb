// SPDX-License-Identifier: Apache-2.0
// What is kept of a run is enough to measure it again, whatever was seen and lost on the way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controller/measure/evidence.h"
#include "tests/unit/measure_world.h"

namespace firedrill::controller {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

// A window that is told longer once may have blurred samples that are kept.
TEST(EvidenceRecordTest, TheLongestWindowIsKept) {
  v1::Run run = RunOf(WithAlert());
  std::vector<v1::Series> samples;
  EvidenceRecord record(run);
  ProbeAnswer answer = Told({}).Ask(At(-30), At(0));
  for (const int window : {10, 30, 20, 0}) {
    answer.indicators[0].window = seconds(window);
    record.Take(answer, At(-30), samples);
  }
  EXPECT_EQ(record.evidence().indicators[0].window, seconds(30));
  EXPECT_EQ(FromProto(run.evidence().indicators(0).window()), seconds(30));
}

// The world's alert with one more set of labels.
void AddSet(World& world, const AlertEpisode& episode) {
  AlertEpisode one = episode;
  one.labels["host"] = std::to_string(world.alerts[0].size());
  for (const AlertSeries& series : AlertsOf({one})) world.alerts[0].push_back(series);
}

TEST(EvidenceRecordTest, SeriesThatAreNotKeptAreACaveat) {
  World world = Told({});
  for (std::size_t i = 0; i < kMostAlertSets; ++i) AddSet(world, Episode(4, 6));
  EXPECT_TRUE(Measured(world).caveats().empty());
  AddSet(world, Episode(7, 9));
  v1::Run run = Measured(world);
  EXPECT_EQ(run.evidence().alerts(0).series_size(), static_cast<int>(2 * kMostAlertSets))
      << "pending and firing of each set";
  ASSERT_EQ(run.caveats_size(), 1);
  EXPECT_EQ(run.caveats(0),
            "alert ShopSlow had over 32 sets of labels in ALERTS: not all of them were kept");
  EXPECT_EQ(run.alerts(0).outcome(), v1::DETECTION_OUTCOME_DETECTED);
  const std::string before = Bytes(run);
  ASSERT_TRUE(MeasureAgain(run).ok());
  EXPECT_EQ(Bytes(run), before);
}

TEST(EvidenceRecordTest, WhatIsPendingTakesNoRoomFromWhatFires) {
  World world = Told({});
  for (std::size_t i = 0; i < 2 * kMostAlertSets; ++i) AddSet(world, Episode(1, -2000));
  AddSet(world, Episode(4, 6));
  const v1::Run at_once = Measured(world);
  EXPECT_EQ(at_once.alerts(0).outcome(), v1::DETECTION_OUTCOME_DETECTED)
      << at_once.alerts(0).explanation();
  EXPECT_DOUBLE_EQ(Length(at_once.time_to_detect()), 6);
  EXPECT_EQ(at_once.evidence().alerts(0).series_size(), static_cast<int>(kMostAlertSets + 2));
  // Likewise if the table was full before.
  v1::Run run = RunOf(WithAlert());
  std::vector<v1::Series> samples;
  EvidenceRecord record(run);
  record.Take(world.Ask(At(-30), At(5)), At(-30), samples);
  record.Take(world.Ask(At(-30), At(30)), At(-30), samples);
  record.Measure(At(30), /*final=*/true);
  EXPECT_EQ(run.alerts(0).outcome(), v1::DETECTION_OUTCOME_DETECTED);
  EXPECT_DOUBLE_EQ(Length(run.time_to_detect()), 6);
}

TEST(EvidenceRecordTest, WhereSeriesWereLeftOutSilenceIsNotKnown) {
  World world = Told({});
  for (std::size_t i = 0; i <= kMostAlertSets; ++i) AddSet(world, Episode(1, -2000));
  const v1::Run run = Measured(world);
  EXPECT_EQ(run.alerts(0).outcome(), v1::DETECTION_OUTCOME_UNKNOWN);
  EXPECT_THAT(run.alerts(0).explanation(), HasSubstr("more series than are kept"));
  EXPECT_FALSE(run.has_time_to_detect()) << "a bound that may be wrong is none";
  v1::Experiment silent = WithAlert();
  silent.mutable_detection(0)->set_expect(v1::EXPECTATION_SILENT);
  EXPECT_EQ(Measured(world, {}, silent).alerts(0).outcome(), v1::DETECTION_OUTCOME_UNKNOWN);
}

// A run that was cut short is measured again as one.
TEST(EvidenceRecordTest, ThatARunWasCutShortIsKept) {
  v1::Run run = RunOf(WithAlert());
  std::vector<v1::Series> samples;
  EvidenceRecord record(run);
  record.Take(Told({}).Ask(At(-30), At(3)), At(-30), samples);
  record.Measure(At(3), /*final=*/true, /*cut_short=*/true);
  EXPECT_TRUE(run.evidence().cut_short());
  EXPECT_EQ(run.detection(), v1::DETECTION_OUTCOME_UNKNOWN);
  const std::string before = Bytes(run);
  ASSERT_TRUE(MeasureAgain(run).ok());
  EXPECT_EQ(Bytes(run), before);
}

// `continue` sends an alert to several receivers, each with its own grouping; one of them is ours.
TEST(EvidenceRecordTest, GroupingIsThatOfTheRouteToOurReceiver) {
  ProbeAnswer answer = Told({Episode(6, 6)}).Ask(At(-30), At(20));
  const auto route = [](const char* receiver, int wait) {
    AlertRoute one;
    one.receiver = receiver;
    one.group_wait = seconds(wait);
    one.delivers = true;
    return one;
  };
  answer.alerts[0].routes = {route("chat", 1), route("drill", 9), route("drill", 5)};
  answer.alerts[0].route = answer.alerts[0].routes[0];
  AlertNotice notice = Notice(6, 11.2);
  notice.receiver = "drill";
  std::vector<v1::Series> samples;
  v1::Run before = RunOf(WithAlert());
  EvidenceRecord early(before);
  early.Take(answer, At(-30), samples);
  EXPECT_EQ(before.evidence().alerts(0).route().receiver(), "chat") << "nothing has told yet";
  early.Take({notice});
  EXPECT_EQ(before.evidence().alerts(0).route().receiver(), "drill");
  EXPECT_EQ(FromProto(before.evidence().alerts(0).route().group_wait()), seconds(5));
  v1::Run after = RunOf(WithAlert());
  EvidenceRecord late(after);
  late.Take({notice});
  late.Take(answer, At(-30), samples);
  late.Measure(At(30), /*final=*/true);
  EXPECT_EQ(after.evidence().alerts(0).route().receiver(), "drill");
  const auto& stages = after.alerts(0).stages();
  const auto grouping = std::find_if(stages.begin(), stages.end(), [](const v1::Stage& stage) {
    return stage.kind() == v1::STAGE_KIND_GROUPING;
  });
  ASSERT_NE(grouping, stages.end());
  EXPECT_EQ(FromProto(grouping->value()), seconds(5));
  notice.receiver = "elsewhere";
  v1::Run unknown = RunOf(WithAlert());
  EvidenceRecord other(unknown);
  other.Take({notice});
  other.Take(answer, At(-30), samples);
  EXPECT_EQ(unknown.evidence().alerts(0).route().receiver(), "chat");
}

TEST(RecordTest, WhereBlindnessIsUnknownKnownTimesStayAndSilenceIsUnknown) {
  v1::Experiment experiment = WithAlert();
  experiment.mutable_detection(0)->set_expect(v1::EXPECTATION_SILENT);
  v1::Run run = RunOf(experiment);
  std::vector<v1::Series> samples;
  EvidenceRecord record(run);
  World world = Told({});
  world.blind = {{At(-20), At(-15)}};
  record.Take(world.Ask(At(-30), At(8)), At(-30), samples);
  ProbeAnswer answer = world.Ask(At(-30), At(30));
  answer.blind.clear();
  answer.blind_unknown = "Prometheus has no series up";
  record.Take(answer, At(-30), samples);
  EXPECT_EQ(run.evidence().blind_size(), 1);
  record.Measure(At(30), /*final=*/true);
  EXPECT_EQ(run.alerts(0).outcome(), v1::DETECTION_OUTCOME_UNKNOWN);
  EXPECT_THAT(run.alerts(0).explanation(), testing::HasSubstr("has no series up"));
  v1::Run again = run;
  ASSERT_TRUE(MeasureAgain(again).ok());
  EXPECT_EQ(again.alerts(0).outcome(), v1::DETECTION_OUTCOME_UNKNOWN);
  record.Take(world.Ask(At(-30), At(31)), At(-30), samples);
  record.Measure(At(31), /*final=*/true);
  EXPECT_EQ(run.alerts(0).outcome(), v1::DETECTION_OUTCOME_SILENT) << "it is known after all";
}

TEST(RecordTest, HoldsBlindTimesUntilTheyHaveAnEnd) {
  v1::Run run = RunOf(WithAlert());
  std::vector<v1::Series> samples;
  EvidenceRecord record(run);
  World world = Told({});
  world.blind = {{At(5), At(1000)}};
  for (const double at : {8, 9, 12})
    record.Take(world.Ask(At(at - 6), At(at)), At(at - 6), samples);
  ASSERT_EQ(run.evidence().blind_size(), 1);
  EXPECT_EQ(After(run.evidence().blind(0).to()), 12);
  world.blind = {{At(5), At(11.5)}, {At(20), At(24)}};
  record.Take(world.Ask(At(8), At(14)), At(8), samples);
  record.Take(world.Ask(At(19), At(26)), At(19), samples);
  ASSERT_EQ(run.evidence().blind_size(), 2);
  EXPECT_EQ(After(run.evidence().blind(0).from()), 5);
  EXPECT_EQ(After(run.evidence().blind(0).to()), 11.5);
  EXPECT_EQ(After(run.evidence().blind(1).to()), 24);
}

TEST(RecordTest, IsBounded) {
  v1::Run run = RunOf(WithAlert());
  std::vector<v1::Series> samples;
  EvidenceRecord record(run);
  World world;
  world.indicator = Samples(0, "+");
  world.alerts.emplace_back();
  std::vector<AlertNotice> notices;
  for (int i = 0; i < 1000; ++i) {
    AlertSeries series{{{"instance", std::to_string(i)}}, true, {{At(10 + (i % 7)), 1}}};
    world.alerts[0].push_back(series);
    notices.push_back(Notice(6, 7));
    notices.back().fingerprint = std::to_string(i);
  }
  record.Take(world.Ask(At(0), At(20)), At(0), samples);
  record.Take(notices);
  ASSERT_EQ(run.evidence().alerts(0).series_size(), 32);
  for (const v1::Series& series : run.series()) {
    if (series.name() == "success") continue;
    EXPECT_EQ(After(series.samples(0).at()), 10) << "those that began first";
  }
  EXPECT_EQ(run.evidence().alerts(0).notifications_size(), 200);
  EXPECT_LT(run.evidence().ByteSizeLong(), 40'000u);
}

TEST(RecordTest, ARunOfAnOlderVersionIsNotMeasuredAgain) {
  v1::Run run = RunOf(WithAlert());
  run.set_detection(v1::DETECTION_OUTCOME_DETECTED);
  const std::string before = Bytes(run);
  const absl::Status status = MeasureAgain(run);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("an older version of Firedrill"));
  EXPECT_EQ(Bytes(run), before);
}

// No indicator can bear such a name: reader_test.cc.
TEST(RecordTest, AlertsSeriesHaveNamesOfTheirOwn) {
  EXPECT_EQ(AlertSeriesName(1, 2), "ALERTS/1/2");
  EXPECT_EQ(TruthSeriesName(1), "ALERTS/1/rule");
}

}  // namespace
}  // namespace firedrill::controller
