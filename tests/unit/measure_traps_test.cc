// SPDX-License-Identifier: Apache-2.0
// The traps of docs/measuring.md: what alerts seem to do and do not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controller/measure/episodes.h"
#include "tests/unit/measure_world.h"

namespace firedrill::controller {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

TEST(EpisodesTest, ARestartedPrometheusLeavesAHoleInAnAlertThatGoesOnFiring) {
  World world = Told({Episode(4, 6, 11), Episode(20, 20)});
  EXPECT_EQ(Measured(world).alerts(0).episodes(), 2u) << "it was looked at, and did not fire";
  world.blind = {{At(10.2), At(19.4)}};
  const v1::Run run = Measured(world);
  EXPECT_EQ(run.alerts(0).episodes(), 1u);
  EXPECT_THAT(MarksAt(run, v1::MARK_KIND_ALERT_FIRING), testing::ElementsAre(6));
  EXPECT_TRUE(MarksAt(run, v1::MARK_KIND_ALERT_RESOLVED).empty());
}

TEST(EpisodesTest, ARestartLosesAShortForButNotTheAlertThatFired) {
  World world = Told({Episode(4, 6, 11), Episode(20, 22)});
  world.blind = {{At(10.2), At(19.4)}};
  const v1::Run run = Measured(world);
  EXPECT_EQ(run.alerts(0).episodes(), 1u);
  EXPECT_THAT(MarksAt(run, v1::MARK_KIND_ALERT_PENDING), testing::ElementsAre(4));
  EXPECT_THAT(MarksAt(run, v1::MARK_KIND_ALERT_FIRING), testing::ElementsAre(6));
}

TEST(EpisodesTest, ARestartedPrometheusDoesNotSayFiringOfItsPast) {
  World world = Told({Episode(4, 6, 11)});
  world.blind = {{At(10.2), At(19.4)}};
  const v1::Run run = Measured(world);
  ASSERT_THAT(MarksAt(run, v1::MARK_KIND_ALERT_RESOLVED), testing::SizeIs(1));
  for (const v1::Mark& mark : run.marks()) {
    if (mark.kind() != v1::MARK_KIND_ALERT_RESOLVED) continue;
    const double off = Seconds(FromProto(mark.uncertainty()));
    EXPECT_NEAR(After(mark.at()) - off, 11, 0.003) << "the first evaluation that did not happen";
    EXPECT_NEAR(After(mark.at()) + off, 20.4, 0.003) << "the first one that did";
  }
}

TEST(EpisodesTest, AResolvedNoticeWhilePrometheusIsBlindIsNoResolution) {
  World world = Told({Episode(4, 6, 11)});
  world.blind = {{At(10.2), At(30)}};
  AlertNotice resolved = Notice(6, 25, /*firing=*/false);
  resolved.ends_at = At(14);
  const v1::Run run = Measured(world, {Notice(6, 6.4), resolved});
  EXPECT_EQ(run.detection(), v1::DETECTION_OUTCOME_DETECTED);
  EXPECT_TRUE(MarksAt(run, v1::MARK_KIND_ALERT_RESOLVED).empty());
  EXPECT_EQ(run.evidence().alerts(0).notifications_size(), 2) << "kept all the same";
}

TEST(EpisodesTest, AnUnansweredLastQuestionResolvesNothing) {
  v1::Run run = RunOf(WithAlert());
  std::vector<v1::Series> samples;
  EvidenceRecord record(run);
  const World world = Told({Episode(4, 6, 11)});
  record.Take(world.Ask(At(-30), At(11)), At(-30), samples);
  ProbeAnswer lost = world.Ask(At(-30), At(11));
  lost.status = lost.alerts[0].status = absl::UnavailableError("connection refused");
  record.Take(lost, At(0), samples);
  record.Measure(At(30), /*final=*/true);
  EXPECT_EQ(run.detection(), v1::DETECTION_OUTCOME_DETECTED);
  EXPECT_TRUE(MarksAt(run, v1::MARK_KIND_ALERT_RESOLVED).empty());
  EXPECT_EQ(run.evidence().alerts(0).unknown(), "connection refused");
}

TEST(EpisodesTest, AnIndicatorThatVanishesResolvesItsAlertButNotTheOutage) {
  World world = Told({Episode(4, 6, 12)});
  world.indicator = Samples(-30, std::string(31, '+') + "----------");  // until 10 s
  const v1::Run run = Measured(world);
  EXPECT_THAT(MarksAt(run, v1::MARK_KIND_ALERT_RESOLVED), testing::ElementsAre(12));
  EXPECT_EQ(run.recovery(), v1::RECOVERY_OUTCOME_UNKNOWN);
  EXPECT_THAT(run.indicators(0).explanation(), HasSubstr("its last sample is 20s old"));
  EXPECT_FALSE(run.has_time_to_recover());
}

TEST(EpisodesTest, AnAlertOfOneSampleIsOne) {
  const v1::Run run = Measured(Told({Episode(7, 7, 8)}));
  EXPECT_EQ(run.detection(), v1::DETECTION_OUTCOME_DETECTED);
  EXPECT_EQ(run.alerts(0).episodes(), 1u);
  EXPECT_EQ(Length(run.time_to_detect()), 7);
  EXPECT_THAT(MarksAt(run, v1::MARK_KIND_ALERT_RESOLVED), testing::ElementsAre(8));
}

TEST(EpisodesTest, AFlappingAlertHasMoreEpisodesThanWebhooks) {
  const World world = Told({Episode(4, 6, 8), Episode(11, 13, 15), Episode(18, 20, 22)});
  const v1::Run run = Measured(world, {Notice(6, 6.4), Notice(6, 24, /*firing=*/false)});
  EXPECT_EQ(run.alerts(0).episodes(), 3u);
  EXPECT_EQ(Length(run.time_to_detect()), 6);
  EXPECT_EQ(Length(run.time_to_notify()), 6.4);
}

TEST(EpisodesTest, TheSecondAlertOfAGroupIsNotifiedLate) {
  v1::Experiment experiment = WithAlert();
  experiment.add_detection()->set_alert("ShopDown");
  World world = Told({Episode(4, 6)});
  world.alerts.push_back(AlertsOf({Episode(7, 9)}));
  for (AlertSeries& series : world.alerts[1]) series.labels["alertname"] = "ShopDown";
  AlertNotice second = Notice(9, 28);
  second.alert = second.labels["alertname"] = "ShopDown";
  second.fingerprint = "g";
  const v1::Run run = Measured(world, {Notice(6, 6.4), second}, experiment);
  EXPECT_EQ(Length(run.alerts(0).time_to_notify()), 6.4);
  EXPECT_EQ(Length(run.alerts(1).time_to_notify()), 28);
  EXPECT_EQ(Length(run.time_to_notify()), 6.4) << "the earliest";
  EXPECT_EQ(run.time_to_notify().subject(), "ShopSlow");
}

TEST(EpisodesTest, ARepeatedNotificationIsNone) {
  v1::Run run = RunOf(WithAlert());
  std::vector<v1::Series> samples;
  std::vector<AlertNotice> repeated = {Notice(6, 6.4), Notice(6, 16.4)};
  {
    EvidenceRecord record(run);
    record.Take(Told({Episode(4, 6)}).Ask(At(-30), At(20)), At(-30), samples);
    EXPECT_TRUE(record.Take(repeated));
  }
  EvidenceRecord restarted(run);
  EXPECT_FALSE(restarted.Take({Notice(6, 26.4)})) << "also after a restart";
  restarted.Measure(At(30), /*final=*/true);
  EXPECT_EQ(run.evidence().alerts(0).notifications_size(), 1);
  EXPECT_EQ(Length(run.time_to_notify()), 6.4);
  EXPECT_EQ(run.alerts(0).episodes(), 1u);
}

AlertNotice OfInstance(const std::string& instance) {
  AlertNotice notice = Notice(6, 6.4);
  notice.labels["instance"] = notice.fingerprint = instance;
  return notice;
}

TEST(EpisodesTest, AnotherLabelsValueIsAnotherAlertThoughItFiredAtTheSameTick) {
  World world = Told({Episode(4, 6, 20)});
  for (AlertSeries& series : world.alerts[0]) series.labels["instance"] = "a";
  EXPECT_EQ(Measured(world, {OfInstance("a"), OfInstance("b")}).alerts(0).episodes(), 2u);
  EXPECT_EQ(Measured(world, {OfInstance("b")}).alerts(0).episodes(), 1u)
      << "for all that is known its value was replaced on the way";
}

TEST(EpisodesTest, AnAlertThatIsNotKeptIsNotTakenForOneThatIs) {
  World world = Told({});
  world.alerts.assign(1, {});
  for (int i = 0; i < 33; ++i) {
    for (AlertSeries series : AlertsOf({Episode(4, 6, 20)})) {
      series.labels["instance"] = std::to_string(i);
      world.alerts[0].push_back(series);
    }
  }
  EXPECT_EQ(Measured(world).alerts(0).episodes(), 32u);
  EXPECT_EQ(Measured(world, {OfInstance("32")}).alerts(0).episodes(), 33u);
}

TEST(EpisodesTest, TheTickIsTheSamplesStampAndTheQueryOffset) {
  World world = Told({Episode(4, 6, 20)});
  world.rule.query_offset = seconds(3);
  for (AlertSeries& series : world.alerts[0]) {
    for (RawSample& sample : series.samples) sample.at -= seconds(3);
  }
  const v1::Run run = Measured(world, {Notice(6, 6.4)});
  EXPECT_THAT(MarksAt(run, v1::MARK_KIND_ALERT_PENDING), testing::ElementsAre(4));
  EXPECT_THAT(MarksAt(run, v1::MARK_KIND_ALERT_FIRING), testing::ElementsAre(6));
  EXPECT_THAT(MarksAt(run, v1::MARK_KIND_ALERT_RESOLVED), testing::ElementsAre(20));
  EXPECT_TRUE(run.caveats().empty()) << "webhook and samples agree";
}

TEST(EpisodesTest, SourcesThatDisagreeAreSaid) {
  const World world = Told({Episode(4, 6)});
  EXPECT_TRUE(Measured(world, {Notice(6.02, 6.4)}).caveats().empty()) << "within their ±";
  const v1::Run run = Measured(world, {Notice(4, 6.4)});
  ASSERT_EQ(run.caveats_size(), 1);
  EXPECT_EQ(run.caveats(0),
            "alert ShopSlow: the webhook says it began to fire at 2027-01-15T08:00:04.000Z, the "
            "samples 2027-01-15T08:00:06.000Z");
  EXPECT_EQ(Length(run.time_to_detect()), 6) << "the sample counts";
  v1::Run again = run;
  ASSERT_TRUE(MeasureAgain(again).ok());
  EXPECT_EQ(again.caveats_size(), 1) << "said once";
}

TEST(EpisodesTest, AWebhookCountsUntilTheSampleIsThere) {
  v1::Run run = RunOf(WithAlert());
  std::vector<v1::Series> samples;
  EvidenceRecord record(run);
  const World world = Told({Episode(4, 6.01)});
  record.Take(world.Ask(At(-30), At(6)), At(-30), samples);
  record.Take({Notice(6, 6.005)});
  record.Measure(At(6.005), /*final=*/false);
  EXPECT_THAT(MarksAt(run, v1::MARK_KIND_ALERT_FIRING), testing::ElementsAre(6));
  record.Take(world.Ask(At(-30), At(7)), At(-30), samples);
  record.Measure(At(7), /*final=*/false);
  EXPECT_THAT(MarksAt(run, v1::MARK_KIND_ALERT_FIRING), testing::ElementsAre(6.01));
  EXPECT_EQ(run.alerts(0).episodes(), 1u);
  EXPECT_EQ(Length(run.time_to_notify()), 6.01) << "not before its cause";
  EXPECT_GE(Uncertainty(run.time_to_notify()), 0.005);
}

TEST(EpisodesTest, AnEvaluationThatDidNotTakePlaceDoesNotSplitWhatIsMeasured) {
  World world = Told({Episode(4, 6, 20)});
  std::vector<RawSample>& firing = world.alerts[0][1].samples;
  firing.erase(firing.begin() + 4);
  EXPECT_EQ(Measured(world).alerts(0).episodes(), 1u);
}

TEST(EpisodesTest, SeriesInAnyOrderAreEpisodesInTheOrderOfTime) {
  std::vector<AlertSeries> series = AlertsOf({Episode(8, 8), Episode(9, 9)});
  std::swap(series[1], series[3]);
  EpisodeContext context;
  context.interval = seconds(1);
  context.now = At(30);
  const std::vector<AlertEpisode> episodes = EpisodesOf(series, context);
  ASSERT_EQ(episodes.size(), 2u);
  EXPECT_EQ(episodes[0].firing_at, At(8));
  EXPECT_EQ(episodes[0].labels.count("instance"), 0u);
  EXPECT_EQ(episodes[1].firing_at, At(9));
  EXPECT_FALSE(episodes[1].resolved_at) << "it fires now";
}

TEST(EpisodesTest, TheIntervalIsTheRulesOrElseTheSamples) {
  const std::vector<AlertSeries> series = AlertsOf({Episode(4, 6, 9)});
  AlertRule rule;
  rule.evaluation_interval = seconds(4);
  EXPECT_EQ(EvaluationInterval(rule, series), seconds(4));
  EXPECT_EQ(EvaluationInterval(std::nullopt, series), seconds(1));
  EXPECT_EQ(EvaluationInterval(std::nullopt, {}), seconds(15));
}

}  // namespace
}  // namespace firedrill::controller
