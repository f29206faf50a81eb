// SPDX-License-Identifier: Apache-2.0
// What is kept of a run is enough to measure it again, whatever was seen and lost on the way.
#include <gmock/gmock.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "controller/measure/episodes.h"
#include "controller/measure/evidence.h"
#include "controller/measure/record.h"
#include "tests/unit/measure_evidence.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

// Maps have no order of their own.
std::string Bytes(const v1::Run& run) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    run.SerializeToCodedStream(&coded);
  }
  return bytes;
}

// The store's samples: by name and instant, the last one written counts.
class Shelf {
 public:
  void Put(const std::vector<v1::Series>& all) {
    for (const v1::Series& series : all) {
      for (const v1::Sample& sample : series.samples()) {
        samples_[series.name()][FromProto(sample.at())] = sample.value();
      }
    }
  }
  v1::Run Load(v1::Run run) const {
    run.clear_series();
    for (const auto& [name, samples] : samples_) {
      v1::Series& series = *run.add_series();
      series.set_name(name);
      for (const auto& [at, value] : samples) *series.add_samples() = ToMessage({at, value});
    }
    return run;
  }

 private:
  std::map<std::string, std::map<SystemTime, double>> samples_;
};

v1::Run RunOf(const v1::Experiment& experiment, double impact_uncertainty = 0.002) {
  v1::Run run;
  run.set_id("r1");
  *run.mutable_experiment() = experiment;
  v1::Injection& injection = *run.add_injections();
  injection.set_state(v1::INJECTION_STATE_ENDED);
  *injection.mutable_duration() = ToProto(seconds(20));
  const auto mark = [&run](v1::MarkKind kind, double at, double uncertainty) {
    v1::Mark& one = *run.add_marks();
    one.set_kind(kind);
    *one.mutable_at() = ToProto(At(at));
    *one.mutable_uncertainty() = ToProto(Nanoseconds(std::llround(uncertainty * 1e9)));
  };
  mark(v1::MARK_KIND_FIRST_IMPACT, 0, impact_uncertainty);
  mark(v1::MARK_KIND_ENDED, 20, impact_uncertainty);
  return run;
}

v1::Experiment WithAlert() {
  v1::Experiment experiment = OneIndicator();
  experiment.add_detection()->set_alert("ShopSlow");
  return experiment;
}

// What a Prometheus knows, asked at `at` about what came since `since`.
struct World {
  std::vector<std::vector<AlertSeries>> alerts;
  std::vector<RawSample> indicator;
  std::vector<TimeSpan> blind;
  AlertRule rule = EverySecond();
  Nanoseconds uncertainty = milliseconds(2);
  Nanoseconds off{0};  // how far this alignment is off

  std::vector<RawSample> Cut(const std::vector<RawSample>& samples, SystemTime since,
                             SystemTime at) const {
    std::vector<RawSample> cut;
    for (const RawSample& sample : samples) {
      if (sample.at >= since && sample.at <= at) cut.push_back({sample.at + off, sample.value});
    }
    return cut;
  }
  ProbeAnswer Ask(SystemTime since, SystemTime at) const {
    ProbeAnswer answer;
    answer.asked_at = at;
    answer.clock_uncertainty = uncertainty;
    for (const TimeSpan& span : blind) {
      if (span.to >= since && span.from <= at) {
        answer.blind.push_back({span.from + off, std::min(span.to, at) + off});
      }
    }
    ProbeAnswer::Indicator& told = answer.indicators.emplace_back();
    told.samples = Cut(indicator, since, at);
    told.interval = seconds(1);
    told.uncertainty = uncertainty;
    for (const std::vector<AlertSeries>& all : alerts) {
      ProbeAnswer::Alert& alert = answer.alerts.emplace_back();
      alert.rule = rule;
      for (const AlertSeries& series : all) {
        AlertSeries cut{series.labels, series.firing, Cut(series.samples, since, at)};
        if (!cut.samples.empty()) alert.series.push_back(cut);
      }
    }
    return answer;
  }
};

// Everything that `world` knows, told at once, measured at the end of the watch.
v1::Run Measured(const World& world, const std::vector<AlertNotice>& notices = {},
                 const v1::Experiment& experiment = WithAlert()) {
  v1::Run run = RunOf(experiment);
  std::vector<v1::Series> samples;
  EvidenceRecord record(run);
  record.Take(world.Ask(At(-30), At(30)), At(-30), samples);
  record.Take(notices);
  record.Measure(At(30), /*final=*/true);
  return run;
}

std::vector<double> MarksAt(const v1::Run& run, v1::MarkKind kind) {
  std::vector<double> at;
  for (const v1::Mark& mark : run.marks()) {
    if (mark.kind() == kind) at.push_back(After(mark.at()));
  }
  return at;
}

World Told(const std::vector<AlertEpisode>& episodes) {
  World world;
  world.alerts = {AlertsOf(episodes)};
  world.indicator = Samples(-30, std::string(60, '+'));
  return world;
}

// The traps of docs/measuring.md.

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

TEST(EpisodesTest, OneLateEvaluationDoesNotSplit) {
  World world = Told({Episode(4, 6, 20)});
  std::vector<RawSample>& firing = world.alerts[0][1].samples;
  firing.erase(firing.begin() + 4);
  EXPECT_EQ(Measured(world).alerts(0).episodes(), 1u);
}

TEST(EpisodesTest, OtherLabelsAreOtherEpisodesInTheOrderOfTime) {
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

// The record.

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

// Properties, over generated runs.

class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  double Between(double from, double to) {
    return std::uniform_real_distribution<double>(from, to)(random_);
  }
  bool Chance(double share) { return Between(0, 1) < share; }
  int Upto(int most) { return std::uniform_int_distribution<int>(0, most)(random_); }

  std::vector<AlertEpisode> Episodes() {
    std::vector<AlertEpisode> episodes;
    double at = Between(-8, 10);
    for (int n = Upto(4); n > 0; --n) {
      const double pending = std::floor(at) + 0.25;
      const double firing = pending + Upto(3);
      const double resolved = firing + 1 + Upto(8);
      episodes.push_back(Episode(pending, firing, resolved >= 0 ? resolved : -1));
      if (resolved < 0) break;
      at = resolved + Between(0.5, 9);
    }
    return episodes;
  }

 private:
  std::mt19937 random_;
};

void CheckMarks(const v1::Run& run, Nanoseconds least) {
  std::map<std::string, SystemTime> firing;
  SystemTime last{};
  for (const v1::Mark& mark : run.marks()) {
    EXPECT_GE(FromProto(mark.at()), last) << "in the order of their instants";
    last = FromProto(mark.at());
    if (mark.kind() == v1::MARK_KIND_ALERT_FIRING) firing.emplace(mark.subject(), last);
    if (mark.kind() == v1::MARK_KIND_ALERT_RESOLVED) {
      EXPECT_EQ(firing.count(mark.subject()), 1u) << "nothing resolves that did not fire";
    }
    if (mark.source() == v1::MARK_SOURCE_PROMETHEUS_SAMPLE) {
      EXPECT_GE(FromProto(mark.uncertainty()), least) << mark.ShortDebugString();
    }
  }
}

void CheckAlert(const v1::AlertResult& alert) {
  EXPECT_EQ(alert.stages().empty(), alert.outcome() != v1::DETECTION_OUTCOME_DETECTED ||
                                        FromProto(alert.time_to_detect().value()).count() == 0);
  Nanoseconds until_firing{0};
  Nanoseconds until_notified{0};
  for (const v1::Stage& stage : alert.stages()) {
    EXPECT_GT(FromProto(stage.value()).count(), 0);
    until_notified += FromProto(stage.value());
    if (stage.kind() != v1::STAGE_KIND_GROUPING && stage.kind() != v1::STAGE_KIND_DELIVERY) {
      until_firing += FromProto(stage.value());
    }
  }
  if (alert.outcome() != v1::DETECTION_OUTCOME_DETECTED) return;
  EXPECT_GE(alert.episodes(), 1u);
  EXPECT_FALSE(alert.time_to_detect().censored());
  EXPECT_EQ(until_firing, FromProto(alert.time_to_detect().value())) << alert.DebugString();
  if (!alert.has_time_to_notify()) return;
  EXPECT_GE(FromProto(alert.time_to_notify().value()), FromProto(alert.time_to_detect().value()));
  EXPECT_EQ(until_notified, FromProto(alert.time_to_notify().value())) << alert.DebugString();
}

void CheckMeasures(const v1::Run& run) {
  std::vector<v1::Measure> measures = {run.time_to_detect(), run.time_to_notify(),
                                       run.time_to_recover(), run.time_to_acknowledge(),
                                       run.time_to_mitigate()};
  for (const v1::AlertResult& alert : run.alerts()) {
    measures.push_back(alert.time_to_detect());
    measures.push_back(alert.time_to_notify());
  }
  for (const v1::IndicatorResult& indicator : run.indicators()) {
    measures.push_back(indicator.time_to_recover());
    measures.push_back(indicator.time_to_recover_from_end());
  }
  for (const v1::Measure& measure : measures) {
    EXPECT_GE(FromProto(measure.value()).count(), 0);
    EXPECT_GE(FromProto(measure.uncertainty()).count(), 0);
  }
}

class PropertyTest : public testing::TestWithParam<unsigned> {};

TEST_P(PropertyTest, MeasuringTheStoredRunAgainGivesTheSame) {
  Generator chance(GetParam());
  v1::Experiment experiment = OneIndicator(chance.Between(0, 6));
  World world;
  for (int i = chance.Upto(2); i >= 0; --i) {
    v1::Detection& detection = *experiment.add_detection();
    detection.set_alert(i == 0 ? "ShopSlow" : "Alert" + std::to_string(i));
    detection.set_expect(static_cast<v1::Expectation>(chance.Upto(3)));
    if (chance.Chance(0.5)) {
      *detection.mutable_within() = ToProto(milliseconds(100 + 100 * chance.Upto(200)));
    }
    world.alerts.push_back(AlertsOf(chance.Episodes(), 60));
  }
  std::string pattern;
  for (int i = 0; i < 90; ++i) {
    const bool fault = i > 30 && i < 50;
    pattern += chance.Chance(0.03) ? '.' : chance.Chance(fault ? 0.6 : 0.02) ? '-' : '+';
  }
  world.indicator = Samples(-30 + chance.Between(0, 1), pattern);
  world.rule.pending_for = seconds(chance.Upto(3));
  if (chance.Chance(0.5)) world.rule.scrape_interval = seconds(1);
  if (chance.Chance(0.2)) world.rule.query_offset = milliseconds(300);
  if (chance.Chance(0.5)) {
    const double from = chance.Between(-10, 30);
    world.blind = {{At(from), At(from + chance.Between(3, 12))}};
  }
  v1::Run run = RunOf(experiment, chance.Between(0, 0.2));
  if (chance.Chance(0.5)) {
    v1::Mark& mark = *run.add_marks();
    mark.set_kind(chance.Chance(0.5) ? v1::MARK_KIND_ACKNOWLEDGED : v1::MARK_KIND_MITIGATED);
    *mark.mutable_at() = ToProto(At(chance.Between(0, 30)));
  }
  Shelf shelf;
  auto record = std::make_unique<EvidenceRecord>(run);
  const Nanoseconds least = milliseconds(2);
  const double end = chance.Between(20, 50);
  double asked = -30;
  for (double at = -5; at < end; at += chance.Between(0.5, 3)) {
    std::vector<v1::Series> samples;
    world.uncertainty = least + milliseconds(chance.Upto(6));
    world.off = milliseconds(chance.Upto(12) - 6);
    const bool down = !world.blind.empty() && At(at) > world.blind[0].from &&
                      At(at) < world.blind[0].to && chance.Chance(0.7);
    ProbeAnswer answer = world.Ask(At(asked - 5), At(at));
    if (down) {
      answer.status = absl::UnavailableError("connection refused");
      answer.blind.clear();
      for (auto& part : answer.indicators) part = {answer.status, {}, {}, {}};
      for (auto& part : answer.alerts) {
        part = {};
        part.status = answer.status;
      }
    }
    record->Take(answer, At(asked - 5), samples);
    if (!down) asked = at;
    if (chance.Chance(0.2)) {
      AlertNotice notice = Notice(std::floor(at) + 0.25, at + 0.3, chance.Chance(0.7));
      if (chance.Chance(0.3)) notice.ends_at = At(at);
      record->Take({notice});
    }
    record->Measure(At(at), /*final=*/false);
    shelf.Put(samples);
    if (chance.Chance(0.1)) {  // the controller is killed, and started again
      record.reset();
      v1::Run stored;
      v1::Run bare = run;
      bare.clear_series();
      ASSERT_TRUE(stored.ParseFromString(bare.SerializeAsString()));
      run = shelf.Load(stored);
      record = std::make_unique<EvidenceRecord>(run);
    }
  }
  record->Measure(At(end), /*final=*/true);
  v1::Run stored = shelf.Load(run);
  v1::Run again = stored;
  ASSERT_TRUE(MeasureAgain(again).ok());
  EXPECT_EQ(Bytes(again), Bytes(stored)) << stored.DebugString() << again.DebugString();
  CheckMarks(run, least);
  CheckMeasures(run);
  for (const v1::AlertResult& alert : run.alerts()) CheckAlert(alert);
}

INSTANTIATE_TEST_SUITE_P(Seeds, PropertyTest, testing::Range(1u, 401u));

}  // namespace
}  // namespace firedrill::controller
