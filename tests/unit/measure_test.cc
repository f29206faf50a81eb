// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controller/measure/record.h"
#include "proto/support/text.h"
#include "tests/unit/measure_evidence.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Evidence WithImpact() {
  Evidence evidence;
  evidence.instants.first_impact = Instant{kImpact};
  evidence.instants.ended = Instant{At(9.5)};
  evidence.now = At(20);
  return evidence;
}

IndicatorEvidence IndicatorOf(const std::string& pattern) {
  IndicatorEvidence indicator;
  indicator.samples = Samples(-3, pattern);
  return indicator;
}

TEST(MeasureTest, WithoutImpactThereIsNothingToMeasure) {
  v1::Experiment experiment = OneIndicator();
  experiment.add_detection()->set_alert("ShopSlow");
  Evidence evidence;
  evidence.now = At(20);
  evidence.indicators = {IndicatorOf("+++++-----++++++++++")};
  EXPECT_EQ(MeasureRun(experiment, evidence).recovery, v1::RECOVERY_OUTCOME_UNSPECIFIED);
  evidence.final = true;
  const Measures measures = MeasureRun(experiment, evidence);
  EXPECT_EQ(measures.recovery, v1::RECOVERY_OUTCOME_UNKNOWN);
  EXPECT_EQ(measures.detection, v1::DETECTION_OUTCOME_UNKNOWN);
  EXPECT_FALSE(measures.time_to_recover);
  EXPECT_TRUE(measures.marks.empty());
}

v1::Mark& AddMark(v1::Run& run, v1::MarkKind kind, const std::string& injection, double at,
                  double uncertainty) {
  v1::Mark& mark = *run.add_marks();
  mark.set_kind(kind);
  mark.set_subject(injection);
  *mark.mutable_at() = ToProto(At(at));
  *mark.mutable_uncertainty() = ToProto(Nanoseconds(std::llround(uncertainty * 1e9)));
  return mark;
}

TEST(MeasureTest, TheFirstImpactAndTheLastEndSpanEveryOneThatTheyMayBe) {
  v1::Run run;
  AddMark(run, v1::MARK_KIND_FIRST_IMPACT, "a", 0, 0.25);
  AddMark(run, v1::MARK_KIND_FIRST_IMPACT, "b", 0.5, 2);    // may have been at -1.5
  AddMark(run, v1::MARK_KIND_FIRST_IMPACT, "c", 60, 0.25);  // was not
  AddMark(run, v1::MARK_KIND_ENDED, "a", 70, 0.25);
  AddMark(run, v1::MARK_KIND_ENDED, "b", 69, 3);  // may have been at 72
  for (const char* id : {"a", "b"}) {
    v1::Injection& injection = *run.add_injections();
    injection.set_id(id);
    injection.set_state(v1::INJECTION_STATE_ENDED);
  }
  RunInstants instants = InstantsOf(run);
  EXPECT_EQ(instants.first_impact->at, At(0));
  EXPECT_EQ(instants.first_impact->uncertainty, milliseconds(1500));
  ASSERT_TRUE(instants.ended);
  EXPECT_EQ(instants.ended->at, At(70));
  EXPECT_EQ(instants.ended->uncertainty, seconds(2));
  run.mutable_marks(0)->mutable_at()->set_seconds(kImpact.time_since_epoch() / seconds(1) - 10);
  EXPECT_EQ(InstantsOf(run).first_impact->uncertainty, milliseconds(250)) << "surely before it";
}

TEST(MeasureTest, AnEndThatNobodyToldOfIsUnknown) {
  v1::Run run;
  AddMark(run, v1::MARK_KIND_FIRST_IMPACT, "a", 0, 0);
  AddMark(run, v1::MARK_KIND_ENDED, "a", 10, 0);
  for (const char* id : {"a", "b", "c"}) {
    v1::Injection& injection = *run.add_injections();
    injection.set_id(id);
    injection.set_state(v1::INJECTION_STATE_ENDED);
  }
  run.mutable_injections(2)->set_state(v1::INJECTION_STATE_FAILED);  // never applied
  EXPECT_TRUE(InstantsOf(run).end_unknown);
  EXPECT_FALSE(InstantsOf(run).ended) << "a's is not that of the whole";
  AddMark(run, v1::MARK_KIND_ENDED, "b", 12, 0);
  EXPECT_FALSE(InstantsOf(run).end_unknown);
  EXPECT_EQ(InstantsOf(run).ended->at, At(12));
  run.mutable_injections(1)->set_state(v1::INJECTION_STATE_ACTIVE);
  EXPECT_FALSE(InstantsOf(run).end_unknown) << "it is still to come";
}

TEST(MeasureTest, CutShortASummaryKeepsWhatItWasWatchedFor) {
  v1::Experiment experiment = OneIndicator();
  *experiment.add_steady_state() = experiment.steady_state(0);
  Evidence evidence = WithImpact();
  evidence.indicators = {IndicatorOf("+++++------"), IndicatorOf("+++++++++++")};
  evidence.now = At(8);
  evidence.instants.ended = Instant{At(7.5)};
  evidence.final = evidence.cut_short = true;
  const Measures measures = MeasureRun(experiment, evidence);
  EXPECT_EQ(measures.recovery, v1::RECOVERY_OUTCOME_UNKNOWN);
  ASSERT_TRUE(measures.time_to_recover);
  EXPECT_TRUE(measures.time_to_recover->censored());
  EXPECT_EQ(Length(*measures.time_to_recover), 8);
}

TEST(MeasureTest, SummaryIsTheEarliestAlertAndTheLatestIndicator) {
  v1::Experiment experiment = OneIndicator();
  *experiment.add_steady_state() = experiment.steady_state(0);
  experiment.add_detection()->set_alert("Slow");
  experiment.add_detection()->set_alert("Down");
  experiment.add_detection()->set_alert("Quiet");
  experiment.mutable_detection(2)->set_expect(v1::EXPECTATION_SILENT);
  Evidence evidence = WithImpact();
  evidence.indicators = {IndicatorOf("+++++---+++++++++++++++"),
                         IndicatorOf("+++++--------++++++++++")};
  evidence.alerts.resize(3);
  evidence.alerts[0].series = AlertsOf({Episode(4, 6)});
  evidence.alerts[1].series = AlertsOf({Episode(2, 3)});
  evidence.final = true;
  const Measures measures = MeasureRun(experiment, evidence);
  ASSERT_TRUE(measures.time_to_detect && measures.time_to_recover);
  EXPECT_EQ(Length(*measures.time_to_detect), 3);
  EXPECT_EQ(measures.time_to_detect->subject(), "Down");
  EXPECT_EQ(Length(*measures.time_to_recover), 10);
  EXPECT_EQ(measures.recovery, v1::RECOVERY_OUTCOME_AFTER_END);
  EXPECT_EQ(measures.detection, v1::DETECTION_OUTCOME_DETECTED);
  EXPECT_TRUE(measures.settled);
  for (std::size_t i = 1; i < measures.marks.size(); ++i) {
    EXPECT_LE(FromProto(measures.marks[i - 1].at()), FromProto(measures.marks[i].at()));
  }
}

TEST(MeasureTest, OneAlertThatFiredIsTheTimeThoughAnotherIsCensored) {
  v1::Experiment experiment = OneIndicator();
  experiment.add_detection()->set_alert("Missed");
  experiment.add_detection()->set_alert("Fired");
  Evidence evidence = WithImpact();
  evidence.final = true;
  evidence.alerts.resize(2);
  evidence.alerts[1].series = AlertsOf({Episode(4, 6)});
  const Measures measures = MeasureRun(experiment, evidence);
  EXPECT_EQ(measures.detection, v1::DETECTION_OUTCOME_MISSED);
  ASSERT_TRUE(measures.time_to_detect);
  EXPECT_FALSE(measures.time_to_detect->censored());
  EXPECT_EQ(Length(*measures.time_to_detect), 6);
}

TEST(MeasureTest, OneThatNeverRecoveredCensorsTheSummary) {
  v1::Experiment experiment = OneIndicator();
  *experiment.add_steady_state() = experiment.steady_state(0);
  Evidence evidence = WithImpact();
  evidence.final = true;
  evidence.indicators = {IndicatorOf("+++++---+++++++++++++++"),
                         IndicatorOf("+++++------------------")};
  const Measures measures = MeasureRun(experiment, evidence);
  EXPECT_EQ(measures.recovery, v1::RECOVERY_OUTCOME_NOT_RECOVERED);
  ASSERT_TRUE(measures.time_to_recover);
  EXPECT_TRUE(measures.time_to_recover->censored());
}

TEST(MeasureTest, IsSettledOnlyWhenWellBeyondTheEnd) {
  const v1::Experiment experiment = OneIndicator();
  Evidence evidence = WithImpact();
  evidence.now = At(10);
  evidence.indicators = {IndicatorOf("+++++---++++++")};  // well again from 5 s on
  EXPECT_FALSE(MeasureRun(experiment, evidence).settled);
  evidence.now = At(14);
  evidence.indicators = {IndicatorOf("+++++---++++++++++")};
  EXPECT_TRUE(MeasureRun(experiment, evidence).settled);
}

TEST(MeasureTest, SaysUntilWhenAHoldMustBeWatched) {
  const v1::Experiment experiment = OneIndicator();
  Evidence evidence = WithImpact();
  evidence.now = At(12.5);
  evidence.indicators = {IndicatorOf("+++++---------++")};  // well again from 11 s on
  const Measures measures = MeasureRun(experiment, evidence);
  EXPECT_FALSE(measures.settled);
  ASSERT_TRUE(measures.holding_until);
  EXPECT_EQ(*measures.holding_until, At(14));
}

TEST(MeasureTest, LowestIsTheWorstOnTheBadSide) {
  v1::Experiment experiment = OneIndicator();
  Evidence evidence = WithImpact();
  evidence.indicators = {IndicatorOf("+++++--f+++++++++++++++")};
  EXPECT_EQ(MeasureRun(experiment, evidence).indicators[0].lowest(), 0.1);
  experiment.mutable_steady_state(0)->mutable_expect()->set_operator_(v1::OPERATOR_LESS);
  experiment.mutable_steady_state(0)->mutable_expect()->set_value(2);
  EXPECT_EQ(MeasureRun(experiment, evidence).indicators[0].lowest(), 1);
}

TEST(MeasureTest, WritingReplacesOnlyWhatIsMeasured) {
  v1::Run run;
  run.add_marks()->set_kind(v1::MARK_KIND_ENDED);
  *run.mutable_marks(0)->mutable_at() = ToProto(At(9.5));
  run.add_marks()->set_kind(v1::MARK_KIND_RECOVERED);
  *run.mutable_marks(1)->mutable_at() = ToProto(At(1));
  Evidence evidence = WithImpact();
  evidence.indicators = {IndicatorOf("+++++--------++++++++++")};
  const Measures measures = MeasureRun(OneIndicator(), evidence);
  WriteMeasures(measures, run);
  const std::string once = run.SerializeAsString();
  WriteMeasures(measures, run);
  EXPECT_EQ(run.SerializeAsString(), once);
  ASSERT_EQ(run.marks_size(), 3);
  EXPECT_EQ(run.marks(0).kind(), v1::MARK_KIND_SLO_BREACHED);
  EXPECT_EQ(run.marks(1).kind(), v1::MARK_KIND_ENDED);
  EXPECT_EQ(run.marks(2).kind(), v1::MARK_KIND_RECOVERED);
  EXPECT_EQ(run.recovery(), v1::RECOVERY_OUTCOME_AFTER_END);
}

TEST(MeasureTest, InstantsComeFromMarksAndInjections) {
  v1::Run run;
  const auto mark = [&run](v1::MarkKind kind, double at) {
    run.add_marks()->set_kind(kind);
    *run.mutable_marks(run.marks_size() - 1)->mutable_at() = ToProto(At(at));
  };
  mark(v1::MARK_KIND_FIRST_IMPACT, 2);
  mark(v1::MARK_KIND_FIRST_IMPACT, 1);
  mark(v1::MARK_KIND_ENDED, 7);
  mark(v1::MARK_KIND_ENDED, 5);
  mark(v1::MARK_KIND_MITIGATED, 4);
  run.add_injections()->set_state(v1::INJECTION_STATE_ENDED);
  run.add_injections()->set_state(v1::INJECTION_STATE_ACTIVE);
  RunInstants instants = InstantsOf(run);
  EXPECT_EQ(instants.first_impact->at, At(1));
  EXPECT_EQ(instants.responder->at, At(4));
  EXPECT_FALSE(instants.ended);  // one still lives
  EXPECT_TRUE(instants.event);
  run.mutable_injections(1)->set_state(v1::INJECTION_STATE_FAILED);
  *run.mutable_injections(0)->mutable_duration() = ToProto(seconds(5));
  instants = InstantsOf(run);
  EXPECT_EQ(instants.ended->at, At(7));
  EXPECT_FALSE(instants.event);
}

TEST(MeasureTest, MergedSamplesKeepWhatPrometheusLost) {
  std::vector<RawSample> samples = Samples(0, "+++--");
  EXPECT_TRUE(MergeSamples({}, milliseconds(20), samples).empty());
  EXPECT_EQ(samples.size(), 5u);
  std::vector<RawSample> fresh = Samples(3, "-+++");
  for (RawSample& sample : fresh) sample.at -= milliseconds(1);  // the alignment was refined
  const std::vector<RawSample> news = MergeSamples(fresh, milliseconds(20), samples);
  ASSERT_EQ(samples.size(), 7u);
  EXPECT_EQ(samples[2].at, At(2));
  EXPECT_EQ(samples[3].at, At(3)) << "stays where it was told";
  EXPECT_EQ(samples[4].at, At(4));
  EXPECT_EQ(samples[4].value, 1) << "its value is known better now";
  ASSERT_EQ(news.size(), 3u);
  EXPECT_EQ(news[0].at, At(4));
  EXPECT_EQ(news[1].at, At(4.999));
  // What comes late is put in its place.
  EXPECT_EQ(MergeSamples({{At(1.5), 0.5}}, milliseconds(20), samples).size(), 1u);
  EXPECT_EQ(samples[2].at, At(1.5));
}

TEST(MeasureTest, NanHoldsNothing) {
  v1::Comparison comparison;
  comparison.set_value(1);
  for (int op = v1::Operator_MIN; op <= v1::Operator_MAX; ++op) {
    comparison.set_operator_(static_cast<v1::Operator>(op));
    EXPECT_FALSE(Holds(comparison, std::numeric_limits<double>::quiet_NaN()));
  }
  comparison.set_operator_(v1::OPERATOR_GREATER_OR_EQUAL);
  EXPECT_TRUE(Holds(comparison, 1));
  EXPECT_EQ(FormatComparison(comparison), ">= 1");
}

}  // namespace
}  // namespace firedrill::controller
